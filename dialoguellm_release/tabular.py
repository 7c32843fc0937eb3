"""Tables in files: the rows of CSV, JSON Lines and Parquet, each with its line or row number."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dialoguellm_release.errors import DataError, Problem


@dataclass(frozen=True)
class TableRow:
    """A row of a table.

    Attributes:
        where: File and line (row for Parquet), as a message shows it.
        cells: By column; text in a CSV file, any JSON or Parquet value else.
    """

    where: str
    cells: Mapping[str, Any]


def read_rows(path: Path, columns: Sequence[str]) -> list[TableRow]:
    """The rows of a table that has at least some columns.

    A byte-order mark and empty lines are skipped; line numbers count them.

    Args:
        path: CSV with a header, JSON Lines or Parquet, by its suffix.
        columns: Names that every row must have; a cell may be empty or null.

    Raises:
        DataError: The file is missing, is not of its format, or lacks columns; or rows have another number
            of cells than the header. All problems at once, with their lines.
    """
    readers: dict[str, Callable[[Path, Sequence[str]], Iterator[TableRow | Problem]]] = {
        ".csv": _csv_rows,
        ".jsonl": _json_rows,
        ".parquet": _parquet_rows,
    }
    reader = readers.get(path.suffix.lower())
    if reader is None:
        expected = f"a name that ends in {', '.join(readers)}"
        raise DataError(Problem(str(path), "unknown format of a table", expected, code="table.format"))
    if not path.is_file():
        raise DataError(Problem(str(path), "no such file", code="table.not_found"))
    found = list(reader(path, columns))
    problems = [one for one in found if isinstance(one, Problem)]
    if problems:
        raise DataError(problems)
    return [one for one in found if isinstance(one, TableRow)]


def _text(path: Path) -> str | Problem:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        got = f"byte {error.object[error.start]:#04x} at offset {error.start:,}"
        return Problem(str(path), "not text in UTF-8", got=got, fix="save it as UTF-8", code="table.encoding")


def _csv_rows(path: Path, columns: Sequence[str]) -> Iterator[TableRow | Problem]:
    text = _text(path)
    if isinstance(text, Problem):
        yield text
        return
    rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    line = 1
    try:
        header = next((row for row in rows if row), [])
        problem = _column_problem(f"{path}:{max(rows.line_num, 1)}", header, columns)
        if problem is not None:
            yield problem
            return
        line = rows.line_num + 1
        for row in rows:
            if len(row) == len(header):
                yield TableRow(f"{path}:{line}", dict(zip(header, row, strict=True)))
            elif row:
                yield Problem(
                    f"{path}:{line}",
                    "the number of cells differs from the header",
                    expected=f"{len(header)}: {', '.join(header)}",
                    got=f"{len(row)}: {', '.join(row)}",
                    code="table.width",
                )
            line = rows.line_num + 1
    except csv.Error as error:
        what = f"not CSV in the row that begins here: {error}"
        yield Problem(f"{path}:{line}", what, fix="close the quotes of this row", code="table.csv")


def _json_rows(path: Path, columns: Sequence[str]) -> Iterator[TableRow | Problem]:
    text = _text(path)
    if isinstance(text, Problem):
        yield text
        return
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        where = f"{path}:{number}"
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            yield Problem(where, f"not JSON: {error}", fix="one JSON object a line", code="table.json")
            continue
        if not isinstance(row, dict):
            yield Problem(where, "not a JSON object", got=line.strip()[:80], code="table.json")
            continue
        yield _column_problem(where, list(row), columns) or TableRow(where, row)


def _parquet_rows(path: Path, columns: Sequence[str]) -> Iterator[TableRow | Problem]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        names = pq.read_schema(path).names
        problem = _column_problem(str(path), names, columns)
        if problem is not None:
            yield problem
            return
        rows = pq.read_table(path, columns=list(columns)).to_pylist()
    except (pa.ArrowException, OSError, ValueError) as error:
        what = f"not a Parquet file: {' '.join(str(error).split())[:200]}"
        yield Problem(str(path), what, fix="write the file again", code="table.parquet")
        return
    for number, row in enumerate(rows, start=1):
        yield TableRow(f"{path}, row {number}", row)


def _column_problem(where: str, got: Sequence[str], columns: Sequence[str]) -> Problem | None:
    missing = [name for name in columns if name not in got]
    repeated = [name for name in columns if got.count(name) > 1]
    if not missing and not repeated:
        return None
    what = f"lacks {' and '.join(missing)}" if missing else f"has the column {' and '.join(repeated)} twice"
    return Problem(where, what, ", ".join(columns), ", ".join(map(str, got)), code="table.columns")
