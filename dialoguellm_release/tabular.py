"""Tables in files: the rows of CSV, TSV, JSON, JSON Lines and Parquet, each with its line or row number."""

from __future__ import annotations

import codecs
import csv
import difflib
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, TextIO

from dialoguellm_release.errors import DataError, Problem

SUFFIXES = (".csv", ".tsv", ".jsonl", ".json", ".parquet")
SEPARATORS = (",", ";", "\t", "|")
ROWS_AT_ONCE = 4_096

_SEPARATOR_LINE = re.compile(r"sep=(.)(?:\r\n?|\n|$)")
"""What Excel writes before the header, and reads."""


class TableRow(NamedTuple):
    """A row of a table."""

    where: str  # file and line (row for JSON and Parquet), as a message shows it
    line: int  # the number of that line or row, from 1
    # By column; text in a CSV file, any JSON or Parquet value else. What an object in a cell holds is
    # also there by `column.key`.
    cells: Mapping[str, Any]


def read_rows(
    path: Path, columns: Sequence[str] = (), encoding: str | None = None, separator: str | None = None
) -> list[TableRow]:
    """The rows of a table that has at least some columns.

    A byte-order mark and empty lines are skipped; line numbers count them.
    """
    where, suffix = str(path), path.suffix.lower()
    if _is_archive(path):
        fix = "unpack it and name the file inside; save a workbook as CSV in UTF-8"
        raise DataError(Problem(where, "is an archive or a workbook", fix=fix, code="table.archive"))
    if suffix not in SUFFIXES:
        raise DataError(_unknown_format(where))
    if not path.is_file():
        raise DataError(Problem(where, "no such file", fix="check its path", code="table.not_found"))
    try:
        content = path.read_bytes()
        text = content if suffix == ".parquet" else content.decode(encoding_of(content, encoding))
    except OSError as error:
        what = f"cannot be read: {error.strerror}"
        raise DataError(Problem(where, what, code="table.unreadable")) from error
    except UnicodeDecodeError as error:
        what = f"not text in {(encoding or 'utf-8').upper()}"
        got = f"byte {error.object[error.start]:#04x} at offset {error.start:,}"
        fix = "save it as UTF-8, or state its encoding, as in cp1252"
        raise DataError(Problem(where, what, got=got, fix=fix, code="table.encoding")) from error
    found = list(parse_rows(path, text, columns, separator))
    if problems := [one for one in found if isinstance(one, Problem)]:
        raise DataError(problems)
    return [one for one in found if isinstance(one, TableRow)]


def _is_archive(path: Path) -> bool:
    """Whether a file begins as zip files, which workbooks are, and gzip files do."""
    with suppress(OSError), path.open("rb") as file:
        return file.read(4).startswith((b"PK\x03\x04", b"\x1f\x8b"))
    return False


def encoding_of(content: bytes, stated: str | None = None) -> str:
    """The encoding of a text: the stated one, else that of its byte-order mark, else UTF-8."""
    if stated and codecs.lookup(stated).name != "utf-8":
        return stated
    if stated is None and content[:4] in (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE):
        return "utf-32"
    is_utf16 = stated is None and content[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
    return "utf-16" if is_utf16 else "utf-8-sig"


def separator_of(header: str, suffix: str) -> str:
    """The separator that is most frequent outside the quotes of a header; else that of the suffix.

    >>> separator_of('text;"label, in words"', ".csv")
    ';'
    """
    if stated := _SEPARATOR_LINE.match(header):
        return stated[1]
    bare = re.sub(r'"[^"]*"', "", header)
    usual = "\t" if suffix == ".tsv" else ","
    return max((usual, *SEPARATORS), key=bare.count)


def unusual_separator(path: Path, encoding: str | None) -> Any:
    """The separator of a CSV or TSV where it is not that of the suffix."""
    suffix = path.suffix.lower()
    if suffix in (".csv", ".tsv") and path.is_file():
        content = path.read_bytes()
        lines = content.decode(encoding_of(content, encoding), errors="replace").splitlines()
        found = separator_of(next((line for line in lines if line.strip()), ""), suffix)
        return found if found != {".csv": ",", ".tsv": "\t"}[suffix] else None
    return None


def parse_rows(
    path: Path, content: str | bytes, columns: Sequence[str], separator: str | None = None
) -> Iterator[TableRow | Problem]:
    """The rows of a table whose content was read, and what is wrong in it, in the order of the file."""
    suffix = path.suffix.lower()
    if isinstance(content, bytes):
        yield from _parquet_rows(str(path), io.BytesIO(content), columns)
    elif suffix == ".jsonl":
        yield from _json_lines(str(path), content.split("\n"), columns)
    elif suffix == ".json":
        yield from _json_table(str(path), content, columns)
    elif suffix in SUFFIXES:
        usual = "\t" if suffix == ".tsv" else ","
        # StringIO would take four bytes for each character.
        lines = io.TextIOWrapper(io.BytesIO(content.encode()), "utf-8", newline="")
        yield from _csv_rows(str(path), lines, columns, separator or usual)
    else:
        yield _unknown_format(str(path))


def stream_rows(
    path: Path, suffix: str, where: str, columns: Sequence[str] = ()
) -> Iterator[TableRow | Problem]:
    """The rows of a table in a file of a stated suffix, one after the other; JSON alone is held whole."""
    with path.open("rb") as file:
        if suffix == ".parquet":
            yield from _parquet_rows(where, file, columns)
            return
        encoding = encoding_of(file.read(4))
    with path.open(encoding=encoding, newline="\n" if suffix == ".jsonl" else "") as text:
        if suffix == ".jsonl":
            yield from _json_lines(where, text, columns)
        elif suffix == ".json":
            yield from _json_table(where, text.read(), columns)
        else:
            separator = separator_of(text.readline(), suffix)
            text.seek(0)
            yield from _csv_rows(where, text, columns, separator)


def _unknown_format(where: str) -> Problem:
    expected = f"a name that ends in {', '.join(SUFFIXES)}"
    return Problem(where, "unknown format of a table", expected, code="table.format")


def _csv_rows(
    path: str, lines: TextIO, columns: Sequence[str], delimiter: str
) -> Iterator[TableRow | Problem]:
    first = lines.readline()
    stated = _SEPARATOR_LINE.match(first)
    skipped = 1 if stated else 0
    every = lines if stated else chain([first], lines)
    is_spaced = first.count(f"{delimiter} ") == first.count(delimiter) > 0
    rows = csv.reader(
        every, strict=True, delimiter=stated[1] if stated else delimiter, skipinitialspace=is_spaced
    )
    line = 1
    try:
        header = next((row for row in rows if row), [])
        problems = _column_problems(f"{path}:{max(rows.line_num, 1) + skipped}", header, columns)
        yield from problems
        if problems:
            return
        line = rows.line_num + skipped + 1
        for row in rows:
            if row and (row == header != row[:1] or row[0].startswith("\ufeff")):
                what = "a second header, or byte-order mark, inside the file: are these two files in one?"
                fix = "remove it, or name the files one by one"
                yield Problem(f"{path}:{line}", what, fix=fix, code="table.second_header")
            elif delimiter == "\t" and any("\t" in cell and "\n" in cell for cell in row):
                what = "a quote opens a cell that goes on over several rows"
                fix = "write each quote inside a text twice, and quotes around the text"
                yield Problem(f"{path}:{line}", what, fix=fix, code="table.csv")
            elif len(row) == len(header):
                yield TableRow(f"{path}:{line}", line, dict(zip(header, row, strict=True)))
            elif row:
                what, expected = "the number of cells differs from the header's", f"{len(header)} cells"
                got, fix = f"{len(row)} cells", "mend the row, or get the file again: it may be cut off"
                yield Problem(f"{path}:{line}", what, expected, got, fix, code="table.width")
            line = rows.line_num + skipped + 1
    except csv.Error as error:
        what, code = f"not CSV in the row that begins here: {error}", "table.csv"
        fix = "close the quotes of this row, or get the file again: it may be cut off"
        if "field limit" in str(error):
            what, code = "a cell of the row that begins here is too long", "table.long_cell"
            fix = "close the quotes of this row, or shorten the cell"
        most = f"at most {csv.field_size_limit():,} characters" if code == "table.long_cell" else None
        yield Problem(f"{path}:{line}", what, most, fix=fix, code=code)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object; of a name that it has twice, `json` would keep the last value alone."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = sorted({name for name in names if names.count(name) > 1})
        raise ValueError(f"an object has {', '.join(twice)} twice")
    return found


def flat(cells: Mapping[str, Any]) -> dict[str, Any]:
    """The cells, and what objects among them hold by `column.key`."""
    inner = {
        f"{name}.{key}": value
        for name, cell in cells.items()
        if isinstance(cell, dict)
        for key, value in cell.items()
    }
    return {**inner, **cells}


def _json_lines(path: str, lines: Iterable[str], columns: Sequence[str]) -> Iterator[TableRow | Problem]:
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        where = f"{path}:{number}"
        try:
            row = json.loads(line, object_pairs_hook=_unique)
        except (ValueError, RecursionError) as error:
            yield Problem(where, f"not JSON: {error}", fix="one JSON object a line", code="table.json")
            continue
        yield from _json_row(where, number, row, columns)


def _json_table(path: str, text: str, columns: Sequence[str]) -> Iterator[TableRow | Problem]:
    """The rows of a list of objects, or of an object with a list for each column."""
    try:
        document = json.loads(text, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        fix = "get the file again: it may be cut off; with one object a line its name ends in .jsonl"
        yield Problem(path, f"not JSON: {error}", fix=fix, code="table.json")
        return
    if isinstance(document, dict):
        keys = next((list(one) for one in document.values() if isinstance(one, dict)), None)
        lists = [
            list(one.values()) if isinstance(one, dict) and list(one) == keys else one
            for one in document.values()
        ]
        lengths = [len(one) if isinstance(one, list) else -1 for one in lists]
        if len(set(lengths)) != 1 or lengths[0] < 0:
            counts = zip(lengths, document, strict=True)
            got = ", ".join(f"{count} {name}" for count, name in counts if count >= 0) or "no list"
            expected = "a list of objects, or an object with one list for each column, all of one length"
            yield Problem(path, "not a table in JSON", expected, got, code="table.json")
            return
        document = [dict(zip(document, cells, strict=True)) for cells in zip(*lists, strict=True)]
    for number, row in enumerate(document if isinstance(document, list) else [document], start=1):
        yield from _json_row(f"{path}, row {number}", number, row, columns)


def _json_row(where: str, number: int, row: Any, columns: Sequence[str]) -> Iterator[TableRow | Problem]:
    if not isinstance(row, dict):
        yield Problem(where, "not a JSON object", got=json.dumps(row)[:80], code="table.json")
        return
    cells = flat(row)
    problems = _column_problems(where, list(cells), columns)
    yield from problems
    if not problems:
        yield TableRow(where, number, cells)


def _parquet_rows(path: str, source: BinaryIO, columns: Sequence[str]) -> Iterator[TableRow | Problem]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(source) as file:
            wanted = [one if one in file.schema_arrow.names else one.partition(".")[0] for one in columns]
            problems = _column_problems(path, file.schema_arrow.names, wanted)
            yield from problems
            chosen = list(dict.fromkeys(wanted)) or None
            batches = () if problems else file.iter_batches(ROWS_AT_ONCE, columns=chosen)
            for number, row in enumerate((row for batch in batches for row in batch.to_pylist()), start=1):
                yield TableRow(f"{path}, row {number}", number, flat(row))
    except (pa.ArrowException, OSError, ValueError) as error:
        what = f"not a Parquet file: {' '.join(str(error).split())[:200]}"
        yield Problem(path, what, fix="write the file again", code="table.parquet")


def _column_problems(where: str, header: Sequence[str], columns: Sequence[str]) -> list[Problem]:
    """One problem for each column that is missing or ambiguous."""
    problems = []
    for column in columns:
        if header.count(column) == 1:
            continue
        what, fix = f"has the column {column} twice", "rename one of them"
        if column not in header:
            near = difflib.get_close_matches(column, header, n=1)
            what = f"no column {column}" + (f"; is it {near[0]}?" if near else "")
            fix = "give the file the expected header"
        problems.append(Problem(where, what, ",".join(columns), ",".join(header), fix, code="table.columns"))
    return problems


def class_names(path: Path, column: str) -> list[str]:
    """The names of the class labels of a column of a Parquet file that `datasets` wrote; else none."""
    if path.suffix.lower() != ".parquet":
        return []
    import pyarrow.parquet as pq

    metadata, key = pq.read_schema(path).metadata or {}, column.rpartition(".")[2]
    nodes: list[tuple[str, Any]] = [("", json.loads(metadata.get(b"huggingface", b"{}")))]
    while nodes:
        name, node = nodes.pop()
        if isinstance(node, dict):
            if name == key and node.get("_type") == "ClassLabel":
                return list(node.get("names", []))
            # A list of labels has its feature below itself.
            nodes += [(name if one == "feature" else one, inner) for one, inner in node.items()]
    return []
