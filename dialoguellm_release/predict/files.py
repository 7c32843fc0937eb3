"""A file of conversations becomes rows of predictions, in pieces that are kept as soon as they are there."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from pydantic import JsonValue

from dialoguellm_release.corpora.cells import is_blank
from dialoguellm_release.errors import DataError, Problem, ReleaseError
from dialoguellm_release.folders import alone
from dialoguellm_release.predict.language import ScriptCount
from dialoguellm_release.predict.partial import PartialOutput
from dialoguellm_release.predict.predictor import AT_ONCE, EmotionPrediction, EmotionPredictor, SoFar
from dialoguellm_release.predict.reading import ConversationFile, InputTurn
from dialoguellm_release.progress import progress, say
from dialoguellm_release.render.predictions import probability_column

MAX_OPEN = 10_000
"""Conversations whose last turns are held at once; rows of more than these may not be mixed in a table."""

MAX_PROBLEMS = 100
PredictedRow = dict[str, Any]


@dataclass(frozen=True)
class Survey:
    """What a first reading of a file found.

    Attributes:
        empty: Turns without text.
        script_warning: None where the texts may be in a language of the model.
    """

    turns: int
    conversations: int
    empty: int
    script_warning: str | None


def survey(source: ConversationFile, languages: Sequence[str]) -> Survey:
    """Reads a file to its end, so that everything that is wrong with it is known before a model is asked.

    Raises:
        DataError: Something is wrong with it, or it has no turn with text.
    """
    counts, scripts, problems = Counter[str](), ScriptCount(), list[Problem]()
    last = None
    for one in source.turns():
        if isinstance(one, Problem):
            problems.append(one)
            if len(problems) == MAX_PROBLEMS:
                break
            continue
        counts["turns"] += 1
        counts["conversations"] += one.conversation != last
        counts["empty"] += is_blank(one.turn.text)
        last = one.conversation
        scripts.add(one.turn.text)
    if problems:
        raise DataError(problems)
    if counts["turns"] == counts["empty"]:
        raise DataError(Problem(source.name, "has no turn with text", code="predict.empty_file"))
    warning = scripts.warning(languages)
    return Survey(counts["turns"], counts["conversations"], counts["empty"], warning)


def predicted_rows(
    source: ConversationFile, predictor: EmotionPredictor, skip: int = 0
) -> Iterator[list[PredictedRow]]:
    """The rows of a file in pieces, in its order; the first `skip` turns are context alone."""
    so_far, turns, done = _OpenConversations(predictor), _turns(source), 0
    while piece := list(islice(turns, AT_ONCE)):
        placed = [(one, *so_far.add(one)) for one in piece]
        done += len(piece)
        if done > skip:
            asked = placed[max(0, len(piece) - (done - skip)) :]
            predictions = predictor.answer([record for _, _, record in asked])
            yield [
                _row(one, number, prediction)
                for (one, number, _), prediction in zip(asked, predictions, strict=True)
            ]


class _OpenConversations:
    """The conversations that turns may still come of, the one without a turn for longest goes first."""

    def __init__(self, predictor: EmotionPredictor) -> None:
        self._predictor = predictor
        self._open: OrderedDict[str, tuple[SoFar, int]] = OrderedDict()

    def add(self, one: InputTurn) -> tuple[int, Any]:
        """The number of a turn in its conversation, from 0, and its record."""
        so_far, number = self._open.pop(one.conversation, (SoFar(self._predictor.choice), 0))
        self._open[one.conversation] = so_far, number + 1
        if len(self._open) > MAX_OPEN:
            self._open.popitem(last=False)
        return number, self._predictor.record_of(one.turn, so_far)


def _turns(source: ConversationFile) -> Iterator[InputTurn]:
    for one in source.turns():
        if isinstance(one, Problem):
            raise DataError(one)
        yield one


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
        warnings: What a reader of the predictions has to know.
    """

    out: Path
    turns: int
    counts: dict[str, int]
    temperature: float | None
    warnings: tuple[str, ...]


def write_predictions(
    source: ConversationFile,
    predictor: EmotionPredictor,
    out: Path,
    unfinished: Literal["refuse", "resume", "discard"],
) -> PredictedFile:
    """Predicts a file into another one, which appears when it is whole.

    Raises:
        DataError: Input or output cannot be used, or an earlier run is in the way.
    """
    found = survey(source, predictor.choice.languages)
    warnings = warn(found, predictor)
    inputs: dict[str, JsonValue] = {
        "input": {"name": source.path.name, "sha256": source.sha256, "format": source.format},
        "columns": dict(source.columns),
        **predictor.identity,
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    with alone(out.with_name(f".{out.name}.lock"), out):
        partial = PartialOutput(out, predictor.labels, inputs, unfinished)
        predictor.counts.clear()
        predictor.counts.update(partial.state.counts)
        done = partial.state.rows
        try:
            with progress("predict", found.turns, start=done) as advance:
                for rows in predicted_rows(source, predictor, done):
                    partial.add(rows, predictor.counts)
                    advance(len(rows))
            partial.finish()
        except OSError as error:
            raise _not_written(out, partial.state.rows, error) from error
        finally:
            partial.drop_if_empty()
    counts = {name: count for name, count in predictor.counts.items() if name != "turns"}
    return PredictedFile(out, predictor.counts["turns"], counts, predictor.temperature, warnings)


def warn(found: Survey, predictor: EmotionPredictor) -> tuple[str, ...]:
    """Says on stderr what a reader of the predictions has to know."""
    warnings = [found.script_warning] if found.script_warning else []
    if predictor.temperature is None:
        warnings.append("the probabilities are not calibrated: 0.9 does not mean right nine times in ten")
    for text in warnings:
        say(f"warning: {text}")
    return tuple(warnings)


def counted(predictor: EmotionPredictor) -> str:
    """What became of the turns, in a line."""
    counts = predictor.counts
    parts = {
        "without a label": counts["without label"],
        "with less context, to fit the model": counts["shortened"],
        "cut off at their end, to fit the model": counts["cut"],
    }
    return ", ".join([f"{counts['turns']:,} turns", *(f"{n:,} {what}" for what, n in parts.items() if n)])


def _not_written(out: Path, rows: int, error: OSError) -> ReleaseError:
    kept = f"{rows:,} predictions are kept" if rows else "nothing was kept"
    fix = "free some space, then run the same command with --resume" if rows else "free some space"
    problem = Problem(str(out), f"cannot be written: {error.strerror}", fix=fix, code="predict.not_written")
    return DataError(problem, outcome=kept)
