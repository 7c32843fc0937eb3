"""A file of conversations becomes rows of predictions, which are kept as soon as they are there."""

from __future__ import annotations

import csv
import io
import json
import os
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, JsonValue, ValidationError

from dialoguellm_release.errors import DataError, Problem, ReleaseError
from dialoguellm_release.folders import alone, write_text
from dialoguellm_release.predict.predictor import AT_ONCE, EmotionPrediction, EmotionPredictor, SoFar
from dialoguellm_release.predict.reading import MAX_OPEN, ConversationFile, InputTurn, warning_of_scripts
from dialoguellm_release.progress import progress, say
from dialoguellm_release.render.predictions import (
    FIXED_COLUMNS,
    LIMITS_OF_USE,
    columns_of,
    probability_column,
)
from dialoguellm_release.schemas.base import Count, Schema
from dialoguellm_release.schemas.record import Record

OUTPUTS = (".csv", ".jsonl", ".parquet")
PredictedRow = dict[str, Any]
Unfinished = Literal["refuse", "resume", "discard"]


def warnings_of(source: ConversationFile, predictor: EmotionPredictor) -> tuple[str, ...]:
    """What a reader of the predictions of a file has to know, which is also said on stderr."""
    scripts = warning_of_scripts(source.letters, predictor.choice.languages)
    if predictor.temperature is None:
        sureness = "the probabilities are not calibrated: 0.9 does not mean right nine times in ten"
    else:
        sureness = f"the probabilities are calibrated on {predictor.calibrated_on}: other texts may differ"
    warnings = (scripts, sureness) if scripts else (sureness,)
    for text in warnings:
        say(f"warning: {text}")
    return warnings


def predicted_rows(
    source: ConversationFile, predictor: EmotionPredictor, skip: int = 0
) -> Iterator[list[PredictedRow]]:
    """The rows of a file in pieces, in its order; the first `skip` turns are context alone."""
    # Those that turns may still come of; the one without a turn for longest goes first.
    open_conversations = OrderedDict[str, tuple[SoFar, int]]()

    def placed(one: InputTurn | Problem) -> tuple[InputTurn, int, Record | None]:
        if isinstance(one, Problem):
            raise DataError(one)
        so_far, number = open_conversations.pop(one.conversation, (predictor._begin(), 0))
        open_conversations[one.conversation] = so_far, number + 1
        if len(open_conversations) > MAX_OPEN:
            open_conversations.popitem(last=False)
        return one, number, so_far.record_of(one.turn, f"{source.name}:{one.line}")

    turns, resumes = map(placed, source.turns()), skip > 0
    while piece := list(islice(turns, AT_ONCE)):
        if resumes:
            predictor._resume(record for _, _, record in piece)
            resumes = False
        asked, skip = piece[skip:], max(0, skip - len(piece))
        if asked:
            predictions = predictor._answer([record for _, _, record in asked])
            yield [
                _row(one, number, prediction)
                for (one, number, _), prediction in zip(asked, predictions, strict=True)
            ]


def _row(one: InputTurn, number: int, prediction: EmotionPrediction) -> PredictedRow:
    return {
        "line": one.line,
        "conversation": one.conversation,
        "turn": number,
        "speaker": one.turn.speaker,
        "text": one.turn.text,
        "start_s": one.turn.start_s,
        "end_s": one.turn.end_s,
        "label": prediction.label,
        "margin": prediction.margin,
        "reason": prediction.reason,
        **{probability_column(label): share for label, share in prediction.probabilities.items()},
    }


@dataclass(frozen=True)
class PredictedFile:
    """What came of a file.

    Attributes:
        out: The file with the predictions.
        turns: Rows of it, one for each turn of the input.
        counts: Of these turns, `without label` (the column `reason` says why), `shortened` (context was left
            out to fit the model) and `cut` (the end of the turn was).
        temperature: That the probabilities were calibrated with; None where they are not.
        calibrated_on: The corpus that it was fitted on.
        warnings: What a reader of the predictions has to know.
    """

    out: Path
    turns: int
    counts: dict[str, int]
    temperature: float | None
    calibrated_on: str | None
    warnings: tuple[str, ...]


def write_predictions(
    source: ConversationFile, predictor: EmotionPredictor, out: Path, unfinished: Unfinished
) -> PredictedFile:
    """Predicts a file into another one, which appears when it is whole."""
    warnings = warnings_of(source, predictor)
    inputs: dict[str, JsonValue] = {
        "input": {"sha256": source.sha256, "format": source.format},
        "columns": dict(source.columns),
        **predictor.identity,
    }
    with alone(out.with_name(f".{out.name}.lock"), out):
        partial = PartialOutput(out, predictor.labels, inputs, unfinished)
        predictor.counts.clear()
        predictor.counts.update(partial.state.counts)
        done = partial.state.rows
        try:
            with progress("predict", source.count, start=done) as advance:
                for rows in predicted_rows(source, predictor, done):
                    partial.add(rows, predictor.counts)
                    advance(len(rows))
            partial.finish(predictor)
        except KeyboardInterrupt:
            if partial.state.rows:
                say(partial.kept)
            raise
        except ReleaseError as error:
            if partial.state.rows:
                error.outcome = partial.kept
            raise
        finally:
            partial.drop_if_empty()
    counts = {name: count for name, count in predictor.counts.items() if name != "turns"}
    calibrated = predictor.temperature, predictor.calibrated_on
    return PredictedFile(out, predictor.counts["turns"], counts, *calibrated, warnings)


def counted(predictor: EmotionPredictor) -> str:
    """What became of the turns, in a line."""
    counts = predictor.counts
    parts = {
        "without a label": counts["without label"],
        "with less context, to fit the model": counts["shortened"],
        "cut off at their end, to fit the model": counts["cut"],
    }
    return ", ".join([f"{counts['turns']:,} turns", *(f"{n:,} {what}" for what, n in parts.items() if n)])


ROWS_AT_ONCE = 8_192


class PartialState(Schema):
    """What a partial file holds.

    Attributes:
        inputs: From what and how it is made; it is continued only with the same.
        bytes: Of these rows; what follows them was cut off.
    """

    inputs: dict[str, JsonValue]
    rows: Count = 0
    bytes: Count = 0
    counts: dict[str, Count] = Field(default_factory=dict)


class PartialOutput:
    """An output in the making. For Parquet, which cannot be continued, the rows wait as JSON Lines."""

    def __init__(
        self, out: Path, labels: Sequence[str], inputs: Mapping[str, JsonValue], unfinished: Unfinished
    ) -> None:
        self.out, self._labels = out, labels
        self._form = out.suffix.lower()
        self._rows = out.with_name(f".{out.name}.partial")
        self._state_file = out.with_name(f".{out.name}.partial.json")
        found = self._found() if unfinished != "discard" else None
        if found is not None and unfinished == "refuse":
            fix = "continue it with --resume, or begin again with --replace"
            what = f"an earlier run left {found.rows:,} predictions here"
            problem = Problem(str(out), what, fix=fix, code="predict.unfinished")
            raise DataError(problem, outcome="they are kept as they are")
        if found is not None and found.inputs != inputs:
            kept = f"the {found.rows:,} predictions of the earlier run are kept as they are"
            raise DataError(list(_differences(out, found.inputs, inputs)), outcome=kept)
        self.state = found or PartialState(inputs=dict(inputs))
        with self._rows.open("ab") as file:
            file.truncate(self.state.bytes)

    @property
    def kept(self) -> str:
        """What is left of a run that stops."""
        return f"{self.state.rows:,} predictions are kept; go on with the same command and --resume"

    def add(self, rows: Sequence[Mapping[str, Any]], counts: Mapping[str, int]) -> None:
        """Makes rows durable, and after them the state that says so."""
        form: Literal["csv", "jsonl"] = "csv" if self._form == ".csv" else "jsonl"
        text = lines_of(rows, self._labels, form, has_header=not self.state.rows)
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

    def finish(self, predictor: EmotionPredictor) -> None:
        """Puts the output in its place, whole."""
        made = self.out.with_name(f".{self.out.name}.made")
        with self._writing():
            try:
                if self._form == ".parquet":
                    _write_parquet(self._rows, made, predictor)
                    made.replace(self.out)
                    self._rows.unlink()
                else:
                    self._rows.replace(self.out)
            finally:
                made.unlink(missing_ok=True)
            self._state_file.unlink()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Failures of the disk as problems."""
        try:
            yield
        except OSError as error:
            what = f"cannot be written: {error.strerror or error}"
            problem = Problem(str(self.out), what, fix="free some space", code="predict.not_written")
            raise DataError(problem) from error

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


def lines_of(
    rows: Sequence[Mapping[str, Any]],
    labels: Sequence[str],
    form: Literal["csv", "jsonl"],
    *,
    has_header: bool = False,
) -> str:
    """Rows as lines of a format, of CSV with or without a header."""
    names = columns_of(labels)
    if form == "jsonl":
        return "".join(
            json.dumps({name: row.get(name) for name in names}, ensure_ascii=False) + "\n" for row in rows
        )
    text = io.StringIO()
    writer = csv.DictWriter(text, names, extrasaction="ignore", lineterminator="\n")
    if has_header:
        writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _write_parquet(lines: Path, out: Path, predictor: EmotionPredictor) -> None:
    """The rows of JSON Lines as Parquet, a row group at a time."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    types = dict.fromkeys(columns_of(predictor.labels), pa.float64()) | dict.fromkeys(
        FIXED_COLUMNS, pa.string()
    )
    types |= {"line": pa.int64(), "turn": pa.int64()}
    types |= dict.fromkeys(("start_s", "end_s", "margin"), pa.float64())
    stated = {"limits_of_use": LIMITS_OF_USE, "calibrated_on": predictor.calibrated_on or "no corpus"}
    schema = pa.schema(list(types.items()), metadata=stated)
    with lines.open(encoding="utf-8") as file, pq.ParquetWriter(out, schema, compression="zstd") as writer:
        rows = map(json.loads, file)
        while some := list(islice(rows, ROWS_AT_ONCE)):
            writer.write_table(pa.Table.from_pylist(some, schema=schema))
