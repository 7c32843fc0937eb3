"""Output that grows: rows in a partial file beside it, with what they were made from, until it is whole."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, JsonValue, ValidationError

from dialoguellm_release.errors import DataError, Problem
from dialoguellm_release.folders import write_text
from dialoguellm_release.render.predictions import FIXED_COLUMNS, LIMITS_OF_USE, columns_of
from dialoguellm_release.schemas.base import Count, Schema

OutputFormat = Literal["csv", "jsonl", "parquet"]
ROWS_AT_ONCE = 8_192


class PartialState(Schema):
    """What a partial file holds.

    Attributes:
        inputs: From what and how it is made; it is continued only with the same.
        rows: That are in it.
        bytes: Of these rows; what follows them was cut off.
        counts: Of the turns so far, by what became of them.
    """

    inputs: dict[str, JsonValue]
    rows: Count = 0
    bytes: Count = 0
    counts: dict[str, Count] = Field(default_factory=dict)


def output_format(out: Path) -> OutputFormat:
    """The format of an output, by the ending of its name.

    Raises:
        DataError: It has another one.
    """
    match out.suffix.lower():
        case ".csv":
            return "csv"
        case ".jsonl":
            return "jsonl"
        case ".parquet":
            return "parquet"
    expected = "a name that ends in .csv, .jsonl or .parquet"
    raise DataError(Problem(str(out), "unknown format of predictions", expected, code="predict.out_format"))


class PartialOutput:
    """An output in the making. For Parquet, which cannot be continued, the rows wait as JSON Lines.

    Args:
        out: The output.
        labels: Whose probabilities a row has.
        inputs: From what and how it is made.
        unfinished: What to do with rows of an earlier run: `refuse`, `resume` or `discard` them.

    Raises:
        DataError: An earlier run left rows that are refused, or were made from something else.
    """

    def __init__(
        self,
        out: Path,
        labels: Sequence[str],
        inputs: Mapping[str, JsonValue],
        unfinished: Literal["refuse", "resume", "discard"],
    ) -> None:
        self.out, self._labels = out, labels
        self._form = output_format(out)
        self._rows = out.with_name(f".{out.name}.partial")
        self._state_file = out.with_name(f".{out.name}.partial.json")
        found = self._found() if unfinished != "discard" else None
        if found is not None and unfinished == "refuse":
            fix = "continue it with --resume, or begin again with --replace"
            what = f"an earlier run left {found.rows:,} predictions here"
            raise DataError(Problem(str(out), what, fix=fix, code="predict.unfinished"))
        if found is not None and found.inputs != inputs:
            raise DataError(list(_differences(out, found.inputs, inputs)))
        self.state = found or PartialState(inputs=dict(inputs))
        with self._rows.open("ab") as file:
            file.truncate(self.state.bytes)

    def add(self, rows: Sequence[Mapping[str, Any]], counts: Mapping[str, int]) -> None:
        """Makes rows durable, and after them the state that says so.

        Raises:
            DataError: The disk is full or fails; what was added before is kept.
        """
        text = lines_of(rows, self._labels, "csv" if self._form == "csv" else "jsonl")
        if self._form == "csv" and not self.state.rows:
            text = csv_line(columns_of(self._labels)) + text
        with self._writing():
            with self._rows.open("ab") as file:
                file.write(text.encode())
                file.flush()
                os.fsync(file.fileno())
                size = file.tell()
            done = {"rows": self.state.rows + len(rows), "bytes": size, "counts": dict(counts)}
            state = self.state.model_copy(update=done)
            write_text(self._state_file, state.model_dump_json() + "\n")
        self.state = state

    def finish(self) -> None:
        """Puts the output in its place, whole.

        Raises:
            DataError: As `add`.
        """
        made = self.out.with_name(f".{self.out.name}.made")
        with self._writing():
            try:
                if self._form == "parquet":
                    _write_parquet(self._rows, made, self._labels)
                    made.replace(self.out)
                    self._rows.unlink()
                else:
                    self._rows.replace(self.out)
            finally:
                made.unlink(missing_ok=True)
            self._state_file.unlink()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Failures of the disk as problems that say what is kept."""
        try:
            yield
        except OSError as error:
            rows, what = self.state.rows, f"cannot be written: {error.strerror or error}"
            fix = "free some space" + (", then run the same command with --resume" if rows else "")
            problem = Problem(str(self.out), what, fix=fix, code="predict.not_written")
            kept = f"{rows:,} predictions are kept" if rows else "nothing was written"
            raise DataError(problem, outcome=kept) from error

    def drop_if_empty(self) -> None:
        """Removes the files of a run that made nothing."""
        if not self.state.rows:
            with suppress(OSError):
                self._rows.unlink(missing_ok=True)
                self._state_file.unlink(missing_ok=True)

    def _found(self) -> PartialState | None:
        """The state of an earlier run; None where there is none that made something."""
        try:
            state = PartialState.model_validate_json(self._state_file.read_bytes())
            return state if state.rows and self._rows.stat().st_size >= state.bytes else None
        except (OSError, ValidationError):
            return None


def _differences(
    out: Path, ours: Mapping[str, JsonValue], theirs: Mapping[str, JsonValue]
) -> Iterator[Problem]:
    for name in sorted({*ours, *theirs}):
        if ours.get(name) != theirs.get(name):
            what, fix = f"the earlier run had another {name}", "use the same, or begin again with --replace"
            before, now = (json.dumps(one.get(name), ensure_ascii=False) for one in (ours, theirs))
            yield Problem(str(out), what, before, now, fix, code="predict.other_inputs")


def lines_of(rows: Sequence[Mapping[str, Any]], labels: Sequence[str], form: Literal["csv", "jsonl"]) -> str:
    """Rows as lines of a format."""
    names = columns_of(labels)
    if form == "csv":
        return "".join(csv_line([row.get(name) for name in names]) for row in rows)
    return "".join(
        json.dumps({name: row.get(name) for name in names}, ensure_ascii=False) + "\n" for row in rows
    )


def csv_line(cells: Sequence[Any]) -> str:
    """One line of CSV."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue()


def _write_parquet(lines: Path, out: Path, labels: Sequence[str]) -> None:
    """The rows of JSON Lines as Parquet, a row group at a time."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    types = {"line": pa.int64(), "turn": pa.int64(), "start_s": pa.float64(), "end_s": pa.float64()}
    types |= {"margin": pa.float64()}
    text, share = pa.string(), pa.float64()
    fields = [
        (name, types.get(name, text if name in FIXED_COLUMNS else share)) for name in columns_of(labels)
    ]
    schema = pa.schema(fields, metadata={"limits_of_use": LIMITS_OF_USE})
    with lines.open(encoding="utf-8") as file, pq.ParquetWriter(out, schema, compression="zstd") as writer:
        waiting = list[Any]()
        for line in file:
            waiting.append(json.loads(line))
            if len(waiting) == ROWS_AT_ONCE:
                writer.write_table(pa.Table.from_pylist(waiting, schema=schema))
                waiting = []
        writer.write_table(pa.Table.from_pylist(waiting, schema=schema))
