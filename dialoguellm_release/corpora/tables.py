"""CSV tables: the wanted columns of each row, with the line on which it begins."""

from __future__ import annotations

import csv
import difflib
import io
from collections.abc import Iterator
from operator import itemgetter

from dialoguellm_release.corpora.faults import Fault
from dialoguellm_release.corpora.files import CorpusFolder

Row = tuple[str, ...]


def read_table(folder: CorpusFolder, name: str, columns: tuple[str, ...]) -> Iterator[tuple[int, Row]]:
    """The line number and the cells of the wanted columns of each row; what is wrong is noted.

    Args:
        columns: Names of at least two columns; others may stand in the file.
    """
    text = folder.read_text(name)
    if text is None:
        return
    rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    line = 1
    try:
        header = next(rows)
        for fault in _header_faults(header, columns):
            folder.note(fault, name, line)
        if not set(columns) <= set(header):
            return
        cells = itemgetter(*(header.index(column) for column in columns))
        width = len(header)
        line = rows.line_num + 1
        for row in rows:
            if len(row) == width:
                yield line, cells(row)
            elif row:
                folder.note(_width_fault(row, width), name, line)
            line = rows.line_num + 1
    except csv.Error as error:
        what = f"not CSV in the row that begins here: {error}"
        fix = "look for a quote that does not close, or fetch the file again: it may be cut off"
        folder.note(Fault(what, fix=fix), name, line)


def _header_faults(header: list[str], columns: tuple[str, ...]) -> Iterator[Fault]:
    for column in columns:
        if column in header:
            continue
        near = difflib.get_close_matches(column, header, n=1)
        yield Fault(
            f"no column {column}" + (f"; is it {near[0]}?" if near else ""),
            expected=",".join(columns),
            got=",".join(header),
            fix="give the file its published header",
        )


def _width_fault(row: list[str], width: int) -> Fault:
    return Fault(
        "the number of cells differs from the header's",
        expected=f"{width} cells",
        got=f"{len(row)} cells",
        fix="fetch the file again: it may be cut off or edited",
    )
