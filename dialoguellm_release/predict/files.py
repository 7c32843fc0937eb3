"""A file of conversations becomes rows of predictions, in pieces that are kept as soon as they are there."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from pydantic import JsonValue

from dialoguellm_release.corpora.cells import is_blank
from dialoguellm_release.errors import DataError, Problem
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


def survey(source: ConversationFile, languages: Sequence[str]) -> tuple[int, str | None]:
    """How many turns a file has, and a warning where they are in no script of the languages.

    Why a reading of its own: everything that is wrong with a file is known before a model is asked.

    Raises:
        DataError: Something is wrong with it, or it has no turn with text.
    """
    turns, has_text, scripts, problems = 0, False, ScriptCount(), list[Problem]()
    for one in source.turns():
        if isinstance(one, Problem):
            problems.append(one)
            if len(problems) == MAX_PROBLEMS:
                break
            continue
        turns += 1
        has_text = has_text or not is_blank(one.turn.text)
        scripts.add(one.turn.text)
    if problems:
        raise DataError(problems)
    if not has_text:
        raise DataError(Problem(source.name, "has no turn with text", code="predict.empty_file"))
    return turns, scripts.warning(languages)


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
    turns, script_warning = survey(source, predictor.choice.languages)
    warnings = warn(script_warning, predictor)
    inputs: dict[str, JsonValue] = {
        "input": {"sha256": source.sha256, "format": source.format},
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
            with progress("predict", turns, start=done) as advance:
                for rows in predicted_rows(source, predictor, done):
                    partial.add(rows, predictor.counts)
                    advance(len(rows))
            partial.finish()
        except KeyboardInterrupt:
            if partial.state.rows:
                say(f"{partial.state.rows:,} predictions are kept; go on with --resume")
            raise
        finally:
            partial.drop_if_empty()
    counts = {name: count for name, count in predictor.counts.items() if name != "turns"}
    return PredictedFile(out, predictor.counts["turns"], counts, predictor.temperature, warnings)


def warn(script_warning: str | None, predictor: EmotionPredictor) -> tuple[str, ...]:
    """Says on stderr what a reader of the predictions has to know."""
    warnings = [script_warning] if script_warning else []
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
