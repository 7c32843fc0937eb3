"""Tables of native files (CSV, TSV, JSON Lines, Parquet), and the dialogues of their rows."""

from __future__ import annotations

import csv
import difflib
import io
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from operator import attrgetter, itemgetter
from pathlib import Path
from typing import Any

from dialoguellm_release.corpora.files import CorpusFolder
from dialoguellm_release.corpora.notes import Fault
from dialoguellm_release.corpora.text import check_unicode
from dialoguellm_release.errors import DataError, Problem
from dialoguellm_release.schemas.labels import Split
from dialoguellm_release.schemas.record import Dialogue, Utterance

Row = tuple[str, ...]

SUFFIXES = (".csv", ".tsv", ".jsonl", ".parquet")


def read_table(
    folder: CorpusFolder, name: str, columns: tuple[str, ...], lists: Collection[str] = ()
) -> Iterator[tuple[int, Row]]:
    """The line number and the cells of the wanted columns of each row; what is wrong is noted.

    Args:
        columns: Names of columns; the file may have others. A JSON or Parquet null is an empty cell.
        lists: Those of them that may be lists in JSON and Parquet.
    """
    suffix = Path(name).suffix.lower()
    if suffix == ".parquet":
        content = folder.read_bytes(name)
        yield from () if content is None else _parquet_rows(folder, name, content, columns, lists)
        return
    text = folder.read_text(name)
    if text is None:
        return
    if suffix == ".jsonl":
        yield from _json_rows(folder, name, text, columns, lists)
    else:
        yield from _csv_rows(folder, name, text, columns)


def read_header(path: Path) -> list[str]:
    """The names of the columns of a table.

    Raises:
        DataError: The file cannot be read, or is not a table.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        expected = f"a name that ends in {', '.join(SUFFIXES)}"
        raise DataError(
            Problem(str(path), "unknown format of a table", expected, code="corpora.table_format")
        )
    try:
        if suffix == ".parquet":
            import pyarrow.parquet as pq

            return list(pq.read_schema(path).names)
        text = path.read_bytes().decode("utf-8-sig")
        if not text.strip():
            raise DataError(Problem(str(path), "is empty", code="corpora.empty"))
        if suffix == ".jsonl":
            # Not splitlines: a JSON text may hold U+2028 and U+0085.
            first = next(line for line in text.split("\n") if line.strip())
            row = json.loads(first)
            return list(row) if isinstance(row, dict) else []
        rows = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(path.name))
        return next((row for row in rows if row), [])
    except OSError as error:
        what = f"cannot be read: {error.strerror}"
    except UnicodeDecodeError as error:
        what = f"is not UTF-8 at byte {error.start}"
    except (ValueError, csv.Error) as error:
        what = f"is no table: {error}"
    raise DataError(Problem(str(path), what, code="corpora.not_a_table"))


def _delimiter(name: str) -> str:
    return "\t" if name.lower().endswith(".tsv") else ","


def _csv_rows(
    folder: CorpusFolder, name: str, text: str, columns: tuple[str, ...]
) -> Iterator[tuple[int, Row]]:
    rows = csv.reader(io.StringIO(text, newline=""), strict=True, delimiter=_delimiter(name))
    line = 1
    try:
        header = next((row for row in rows if row), [])
        line = rows.line_num
        faults = list(_header_faults(header, columns))
        for fault in faults:
            folder.note(fault, name, line)
        if faults:
            return
        places = [header.index(column) for column in columns]
        cells = itemgetter(*places) if len(places) > 1 else lambda row: (row[places[0]],)
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
        folder.note(Fault(what, fix=fix, code="corpora.not_csv"), name, line)


def _json_rows(
    folder: CorpusFolder, name: str, text: str, columns: tuple[str, ...], lists: Collection[str]
) -> Iterator[tuple[int, Row]]:
    for line, item in enumerate(text.split("\n"), start=1):
        if not item.strip():
            continue
        try:
            row = json.loads(item)
        except (ValueError, RecursionError) as error:
            folder.note(Fault(f"not JSON: {error}", code="corpora.not_json"), name, line)
            continue
        if not isinstance(row, dict):
            folder.note(Fault("not a JSON object", got=item[:80], code="corpora.not_json"), name, line)
            continue
        faults = list(_header_faults(list(row), columns))
        for fault in faults:
            folder.note(fault, name, line)
        if faults:
            continue
        try:
            yield line, _cells(row, columns, lists)
        except Fault as fault:
            folder.note(fault, name, line)


def _parquet_rows(
    folder: CorpusFolder, name: str, content: bytes, columns: tuple[str, ...], lists: Collection[str]
) -> Iterator[tuple[int, Row]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(pa.BufferReader(content)) as file:
            faults = list(_header_faults(file.schema_arrow.names, columns))
            for fault in faults:
                folder.note(fault, name, 1)
            values = [] if faults else file.read(columns=list(columns)).to_pylist()
    except (pa.ArrowException, OSError, ValueError) as error:
        what = f"not a Parquet file: {' '.join(str(error).split())[:200]}"
        folder.note(Fault(what, code="corpora.not_parquet"), name, 1)
        return
    for number, row in enumerate(values, start=1):
        try:
            cells = _cells(row, columns, lists)
        except Fault as fault:
            folder.note(fault, name, number)
            continue
        yield number, cells


def _cells(row: Mapping[str, Any], columns: tuple[str, ...], lists: Collection[str]) -> Row:
    return tuple(_cell(row[column], column, may_be_list=column in lists) for column in columns)


def _cell(value: Any, column: str, *, may_be_list: bool) -> str:
    """A JSON or Parquet value as the text that a CSV cell would have.

    Raises:
        Fault: It is not one value, such as a list, an object or bytes.
    """
    if value is None or value != value:  # NaN is what pandas writes for an empty cell
        return ""
    if isinstance(value, str):
        return check_unicode(value, column)
    if isinstance(value, (bytes, dict)) or (isinstance(value, list) and not may_be_list):
        kind = "bytes" if isinstance(value, bytes) else "an object" if isinstance(value, dict) else "a list"
        raise Fault(
            f"{column} is {kind}",
            expected="text or a number",
            got=repr(value)[:80],
            fix="write one text in each cell",
            code="corpora.not_a_text",
        )
    return json.dumps(value, default=str, ensure_ascii=False)


def _header_faults(header: Sequence[str], columns: tuple[str, ...]) -> Iterator[Fault]:
    for column in columns:
        if header.count(column) > 1:
            got, fix = ",".join(header), "rename one of them"
            yield Fault(f"has the column {column} twice", got=got, fix=fix, code="corpora.column_twice")
        if column in header:
            continue
        near = difflib.get_close_matches(column, header, n=1)
        yield Fault(
            f"no column {column}" + (f"; is it {near[0]}?" if near else ""),
            expected=",".join(columns),
            got=",".join(header),
            fix="give the file its published header",
            code="corpora.no_column",
        )


def _width_fault(row: list[str], width: int) -> Fault:
    return Fault(
        "the number of cells differs from the header's",
        expected=f"{width} cells",
        got=f"{len(row)} cells",
        fix="fetch the file again: it may be cut off or edited",
        code="corpora.wrong_width",
    )


_FIELDS = tuple(Utterance.model_fields)
_values = attrgetter(*_FIELDS)


class DialogueRows:
    """The dialogues of one split in the order in which they begin; each utterance key stands once.

    Utterances stand by their index, which in the public files is the order of the rows too.

    Why: the rows of a dialogue may stand anywhere, so those of the whole split have to be held; as tuples,
    which take a fifth of what the models take.
    """

    def __init__(self, folder: CorpusFolder, split: Split | None) -> None:
        self._folder = folder
        self.split = split
        self._dialogues: dict[str, dict[int, tuple[int, tuple[Any, ...]]]] = {}

    def add(self, dialogue_id: str, utterance: Utterance, line: int) -> None:
        """Adds the utterance of a line.

        Raises:
            Fault: An earlier line has the same key.
        """
        rows = self._dialogues.setdefault(dialogue_id, {})
        if utterance.index in rows:
            first, _ = rows[utterance.index]
            what = f"dialogue {dialogue_id}, utterance {utterance.index} a second time; first on line {first}"
            raise Fault(what, fix="keep one of the two lines", code="corpora.utterance_twice")
        rows[utterance.index] = line, _values(utterance)

    def dialogues(self) -> Iterator[Dialogue]:
        """The dialogues; counts them as what the public file holds."""
        self._folder.notes.public_dialogues[self.split] += len(self._dialogues)
        self._folder.notes.public_utterances[self.split] += sum(map(len, self._dialogues.values()))
        for dialogue_id, rows in self._dialogues.items():
            utterances = (dict(zip(_FIELDS, rows[index][1], strict=True)) for index in sorted(rows))
            yield Dialogue(
                corpus=self._folder.entry.name,
                split=self.split,
                id=dialogue_id,
                utterances=tuple(map(Utterance.model_validate, utterances)),
            )
