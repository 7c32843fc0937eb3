"""`EmotionPredictor`: conversations in, a label with its probabilities for each turn out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from os import PathLike
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from dialoguellm_release.corpora.cells import Fault, check_unicode, is_blank, one_line
from dialoguellm_release.dataset.records import line_of, shown_speakers
from dialoguellm_release.errors import DataError, Problem
from dialoguellm_release.predict.trained_model import (
    Answerer,
    LabelScores,
    LocalModel,
    RemoteModel,
    TaskChoice,
    calibration_of,
    choose_task,
    read_model,
)
from dialoguellm_release.prompts import Prompt, load_prompt
from dialoguellm_release.schemas.labels import CorpusName, Label
from dialoguellm_release.schemas.record import Record
from dialoguellm_release.scoring.scorers import softmax
from dialoguellm_release.serve.client import ServedModel

AT_ONCE = 2_048
"""Turns that are answered together: batches are made of those of similar length."""

EMPTY = "the turn has no text"


@dataclass(frozen=True)
class Turn:
    """One turn of a conversation.

    Attributes:
        text: What is said.
        speaker: Who says it; None where it is not known.
        start_s: When it begins in a recording, in seconds; None where there is none.
        end_s: When it ends.

    Example:
        >>> Turn("They said yes!", speaker="Alex").speaker
        'Alex'
    """

    text: str
    speaker: str | None = None
    start_s: float | None = None
    end_s: float | None = None


@dataclass(frozen=True)
class EmotionPrediction:
    """The emotion of one turn.

    Attributes:
        label: The likeliest label; None where there is no answer.
        probabilities: Of each label, in the order of the label space; empty where there are none, as of a
            server that gives text alone.
        margin: Probability of the likeliest label minus that of the second; None without probabilities.
        reason: Why there is no answer; None where there is one.

    Example:
        >>> EmotionPrediction("anger", {"anger": 0.75, "neutral": 0.25}, margin=0.5).label
        'anger'
    """

    label: Label | None
    probabilities: dict[Label, float]
    margin: float | None
    reason: str | None = None


class SoFar:
    """A conversation up to a turn: its last lines and speakers. Small, as thousands are held at once."""

    __slots__ = ("_choice", "_lines", "_names", "_prompt")

    def __init__(self, choice: TaskChoice, prompt: Prompt) -> None:
        self._choice, self._prompt = choice, prompt
        self._lines: tuple[str, ...] = ()
        self._names: dict[str, None] = {}

    def record_of(self, turn: Turn, where: str) -> Record | None:
        """The next turn as the model is asked; None for one without text, which is no context either."""
        if is_blank(turn.text):
            return None
        shown, k = self._choice.shown, self._choice.context_k
        text, speaker = one_line(turn.text), self._speaker(turn.speaker)
        context, self._lines = self._lines, (*self._lines, line_of(speaker, text))[-k:] if k else ()
        record = Record(
            id="input/test/0/0",
            instruction=self._prompt.instruction(shown, has_video=False, has_context=bool(context)),
            video_description=None,
            context=context,
            input=text,
            output=shown[0],  # not known, and in no prompt
            label=shown[0],
            source_label=shown[0],
            other_labels=(),
            corpus="input",
            split="test",
            dialogue_id="0",
            utterance_index=0,
            speaker=speaker,
            start_s=None,
            end_s=None,
            license="none",
            leaks=None,
        )
        return record.model_copy(update={"id": where})

    def _speaker(self, name: str | None) -> str | None:
        """How the prompt names the speaker of the next turn."""
        name = one_line(name or "") or None
        if name is None or self._choice.speakers == "named":
            return name
        self._names[name] = None
        return shown_speakers([*self._names, name], self._choice.speakers)[-1]


class EmotionPredictor:
    """Labels the turns of conversations with a trained model.

    Args:
        answerer: Compares the labels.
        prompt: The prompt of the training.
        choice: The labels, and what a prompt shows.
        temperature: Of the calibration; None where the model is not calibrated.
        calibrated_on: The corpus that it was fitted on.
        identity: What else decides the predictions, by what it is.

    Attributes:
        labels: Those that a prediction may be, in order.
        identity: Everything that decides the predictions.
        temperature: As given.
        calibrated_on: As given.
        counts: Turns so far: `turns`, and of these `without label`, `shortened` (context left out) and `cut`.
    """

    def __init__(
        self,
        answerer: Answerer,
        prompt: Prompt,
        choice: TaskChoice,
        temperature: float | None = None,
        calibrated_on: CorpusName | None = None,
        identity: Mapping[str, str] | None = None,
    ) -> None:
        self.labels = choice.labels
        self.temperature = temperature
        self.calibrated_on = calibrated_on
        self.choice = choice
        self.counts: Counter[str] = Counter()
        self.identity: dict[str, JsonValue] = {
            **(identity or {}),
            "prompt": prompt.sha256,
            "labels": list(choice.labels),
            "instruction labels": list(choice.shown),
            "context_k": choice.context_k,
            "temperature": temperature,
        }
        self._answerer = answerer
        self._prompt = prompt

    @classmethod
    def from_pretrained(
        cls,
        adapter: str | PathLike[str],
        *,
        revision: str | None = None,
        backbone: str | PathLike[str] | None = None,
        labels: Sequence[Label] | None = None,
        corpus: str | None = None,
        context_k: int | None = None,
        batch_size: int = 16,
        device: str | None = None,
    ) -> EmotionPredictor:
        """Loads a trained model, with prompt, labels and context as its folder says.

        Args:
            adapter: Folder or Hub id of an adapter or of a merged model.
            revision: Of the repository on the Hub; None is `main`.
            backbone: Folder of the base of the adapter; None takes it from the Hub, at the commit that the
                adapter was trained on.
            labels: Predictions are one of these; None allows the whole label space.
            corpus: Whose label space, for a model that was trained with several.
            context_k: Turns of context in a prompt; None is that of the training.
            batch_size: Turns in one forward pass.
            device: As torch names it; None takes a GPU where there is one.

        Returns:
            The predictor.

        Raises:
            DataError: Model or base are not available, damaged or do not belong together; a label is outside
                the label space; or several label spaces are possible.
            MissingExtraError: The extra `score` is not installed.

        Example:
            >>> predictor = EmotionPredictor.from_pretrained("dialoguellm/llama-2-7b")  # doctest: +SKIP
            >>> predictor(["The letter came.", "They said yes!"])[1].label  # doctest: +SKIP
            'happiness'
        """
        model = read_model(Path(adapter) if isinstance(adapter, PathLike) else adapter, revision)
        choice = choose_task(model, labels, corpus, context_k)
        base = None if backbone is None else Path(backbone)
        answerer = LocalModel(model, choice, base, batch_size, device)
        fitted = calibration_of(model, choice, answerer.scorer)
        identity = {"model": model.manifest.content_sha256, "device": answerer.device}
        if fitted is None:
            return cls(answerer, model.prompt, choice, identity=identity)
        return cls(answerer, model.prompt, choice, fitted.temperature, fitted.corpus, identity)

    @classmethod
    def from_served(
        cls,
        served: ServedModel,
        adapter: str | PathLike[str] | None = None,
        *,
        labels: Sequence[Label] | None = None,
        corpus: str | None = None,
        context_k: int | None = None,
        prompt: str = "dialogue-v1",
        cache: str | PathLike[str] = "build/cache",
    ) -> EmotionPredictor:
        """Asks a model behind an OpenAI-compatible server.

        Args:
            served: The model and its server.
            adapter: The folder or Hub id of what is served, for its prompt, labels and context; None for a
                model that was not trained here.
            labels: As in `from_pretrained`; without an adapter, the labels to choose from.
            corpus: As in `from_pretrained`.
            context_k: As in `from_pretrained`; needed without an adapter.
            prompt: Name of a bundled prompt or a path, without an adapter.
            cache: Keeps each answer.

        Returns:
            The predictor.

        Raises:
            DataError: As `from_pretrained`.
            MissingExtraError: The extra `served` is not installed.

        Example:
            >>> served = ServedModel("http://127.0.0.1:8000/v1", "my-model")  # doctest: +SKIP
            >>> EmotionPredictor.from_served(served, "dialoguellm/llama-2-7b")  # doctest: +SKIP
        """
        model = None if adapter is None else read_model(str(adapter))
        choice = choose_task(model, labels, corpus, context_k)
        asked = load_prompt(prompt) if model is None else model.prompt
        identity = {"served model": served.model, "server address": served.sha256, "server API": served.api}
        return cls(RemoteModel(served, asked, choice, Path(cache)), asked, choice, identity=identity)

    def __call__(self, turns: Sequence[str | Turn | Mapping[str, Any]]) -> list[EmotionPrediction]:
        """The emotion of each turn of one conversation, in its order."""
        (found,) = self.predict([turns])
        return found

    def predict(
        self, conversations: Iterable[Sequence[str | Turn | Mapping[str, Any]]]
    ) -> Iterator[list[EmotionPrediction]]:
        """The emotion of each turn of many conversations, one conversation after the other.

        Args:
            conversations: Each a sequence of turns: texts, `Turn`s, or mappings with `text` and, where known,
                `speaker`, `start_s` and `end_s`; further keys are ignored.

        Yields:
            For each conversation its predictions, in the order and number of its turns.

        Raises:
            DataError: Something is no conversation or no turn.
        """
        waiting, size = list[list[Record | None]](), 0
        for number, turns in enumerate(conversations):
            if isinstance(turns, str | bytes | Turn | Mapping):
                what, got = "one turn is not a conversation", repr(turns)[:200]
                problem = Problem("turns", what, "a list of turns", got, code="predict.no_conversation")
                raise DataError(problem)
            so_far = self._begin()
            named = ((f"conversation {number}, turn {place}", one) for place, one in enumerate(turns))
            waiting.append([so_far.record_of(turn_of(turn), where) for where, turn in named])
            size += len(waiting[-1])
            if size >= AT_ONCE:
                yield from self._answered(waiting)
                waiting, size = [], 0
        yield from self._answered(waiting)

    def _answered(self, waiting: list[list[Record | None]]) -> Iterator[list[EmotionPrediction]]:
        found = iter(self._answer([*chain(*waiting)]))
        for records in waiting:
            yield [*islice(found, len(records))]

    def _begin(self) -> SoFar:
        """A conversation without a turn."""
        return SoFar(self.choice, self._prompt)

    def _resume(self, records: Iterable[Record | None]) -> None:
        """Begins as the run did that is resumed, whose first records these were."""
        if isinstance(self._answerer, RemoteModel):
            self._answerer.settle([record for record in records if record is not None])

    def _answer(self, records: Sequence[Record | None]) -> list[EmotionPrediction]:
        """The predictions for records, which are counted; None stands for a turn without text."""
        asked = [record for record in records if record is not None]
        answers = iter(self._answerer.answers(asked) if asked else ())
        found = []
        for record in records:
            scores = LabelScores(None, reason=EMPTY) if record is None else next(answers)
            self.counts["turns"] += 1
            self.counts["without label"] += scores.log_probs is None and scores.label is None
            self.counts["shortened"] += scores.is_shortened
            self.counts["cut"] += scores.is_cut
            found.append(self._prediction(scores))
        return found

    def _prediction(self, scores: LabelScores) -> EmotionPrediction:
        if scores.log_probs is None:
            return EmotionPrediction(scores.label, {}, None, scores.reason)
        values = scores.log_probs
        if self.temperature is not None:
            values = tuple(value / self.temperature for value in values)
        shares = softmax(values)
        best, second = sorted(shares, reverse=True)[:2]
        label = self.labels[values.index(max(values))]
        return EmotionPrediction(label, dict(zip(self.labels, shares, strict=True)), best - second)


def turn_of(value: str | Turn | Mapping[str, Any]) -> Turn:
    """A turn in any of its forms."""
    if isinstance(value, str):
        value = Turn(value)
    elif isinstance(value, Mapping) and isinstance(value.get("text"), str):
        speaker = value.get("speaker")
        if speaker is None or isinstance(speaker, str):
            value = Turn(value["text"], speaker, value.get("start_s"), value.get("end_s"))
    if isinstance(value, Turn) and isinstance(value.text, str):
        try:
            check_unicode(value.text + (value.speaker or ""), "a turn")
        except Fault as fault:
            raise DataError(fault.at("turns")) from fault
        return value
    expected = "a text, a Turn, or a mapping with text and perhaps speaker, both str"
    raise DataError(Problem("turns", "not a turn", expected, repr(value)[:200], code="predict.no_turn"))
