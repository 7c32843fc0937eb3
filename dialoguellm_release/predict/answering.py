"""Who answers: a model here, asked as `score run` does, or one on a server, as `score served` does."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from dialoguellm_release.backbones.context_window import context_window
from dialoguellm_release.encoding import EncodedPrompt, Encoder
from dialoguellm_release.errors import DataError, Problem
from dialoguellm_release.predict.trained_model import TaskChoice, TrainedModel, load_model
from dialoguellm_release.prompts import Prompt
from dialoguellm_release.schemas.labels import Label, class_labels
from dialoguellm_release.schemas.record import Record
from dialoguellm_release.scoring.scorers import LikelihoodScorer, chosen_scorer, label_tokens
from dialoguellm_release.scoring.served import ServedAsker
from dialoguellm_release.serve.client import ServedModel


@dataclass(frozen=True)
class LabelScores:
    """What was answered to one record.

    Attributes:
        log_probs: For each label of the run; None where there are none.
        label: Of an answer without probabilities.
        reason: Why there is no answer.
        is_shortened: Whether context was left out to fit.
        is_cut: Whether the turn itself was cut to fit.
    """

    log_probs: tuple[float, ...] | None
    label: Label | None = None
    reason: str | None = None
    is_shortened: bool = False
    is_cut: bool = False


class Answerer(Protocol):
    """Whoever compares the labels for records."""

    def answers(self, records: Sequence[Record]) -> list[LabelScores]:
        """The answer to each record, in their order."""


class LocalModel:
    """A model on this machine.

    Args:
        backbone: Folder of the base of an adapter; None takes it from the Hub.
        batch_size: Prompts in one forward pass.
    """

    def __init__(
        self,
        model: TrainedModel,
        choice: TaskChoice,
        backbone: Path | None,
        batch_size: int,
        device: str | None,
    ) -> None:
        if batch_size < 1:
            raise DataError(
                Problem("batch_size", "is not positive", got=str(batch_size), code="predict.batch_size")
            )
        loaded, tokenizer = load_model(model, backbone, device)
        task = model.task
        spaces = [one.label_space for one in task.corpora.values()] if task else [choice.shown]
        window = context_window(loaded.config.get_text_config())
        lengths = [length for length in (model.max_length, window) if length]
        self.device = str(loaded.device)
        self._encoder = Encoder(model.prompt, tokenizer, min(lengths), class_labels(spaces))
        tokens = label_tokens(self._encoder, choice.labels)
        # Over the whole label space, so that a part of it is asked for as the whole would be.
        self.scorer = chosen_scorer("auto", label_tokens(self._encoder, choice.shown))
        ids = [one[:1] if self.scorer == "first_token" else one for one in tokens.values()]
        self._scorer = LikelihoodScorer(loaded, ids, batch_size)

    def answers(self, records: Sequence[Record]) -> list[LabelScores]:
        """The log-probabilities of the labels; prompts of the same text are asked once."""
        prompts = self._encoder.fit_all(records)
        cut = [len(one.ids) > self._encoder.room for one in prompts]
        prompts = [self._cut(one) if is_cut else one for one, is_cut in zip(prompts, cut, strict=True)]
        distinct = list({prompt.text: prompt for prompt in prompts}.values())
        found: dict[str, tuple[float, ...] | None] = {}
        for batch in self._scorer.plan(distinct):
            replies = self._scorer.replies(distinct, batch)
            for place, reply in zip(batch.places, replies, strict=True):
                found[distinct[place].text] = reply.log_probs
        return [
            LabelScores(found[prompt.text], is_shortened=prompt.is_shortened and not is_cut, is_cut=is_cut)
            for prompt, is_cut in zip(prompts, cut, strict=True)
        ]

    def _cut(self, prompt: EncodedPrompt) -> EncodedPrompt:
        """The prompt with as much of the beginning of its turn as fits, and without context."""
        fewest, most, best = 1, len(prompt.record.input), None
        while fewest <= most:
            kept = (fewest + most) // 2
            shorter = {"input": prompt.record.input[:kept].rstrip(), "context": ()}
            tried = self._encoder.encode(prompt.record.model_copy(update=shorter))
            if len(tried.ids) <= self._encoder.room:
                best, fewest = tried, kept + 1
            else:
                most = kept - 1
        if best is None:
            what = "the instruction alone does not fit into the context window of the model"
            raise DataError(Problem("max_length", what, code="predict.no_room"))
        return best


class RemoteModel:
    """A model on a server, which cuts nothing.

    Args:
        cache: Keeps each answer.
    """

    def __init__(self, served: ServedModel, prompt: Prompt, choice: TaskChoice, cache: Path) -> None:
        self._prompt = prompt
        self._asker = ServedAsker(served, choice.labels, cache)

    def answers(self, records: Sequence[Record]) -> list[LabelScores]:
        """The answers of the server; without log-probabilities, the label that it wrote."""
        texts = [self._prompt.prompt(record) for record in records]
        _, read = self._asker.answers(list(dict.fromkeys(texts)))
        found = []
        for text in texts:
            answer = read[text].answer
            scores = answer.scores and tuple(math.log(one) if one else -math.inf for one in answer.scores)
            found.append(LabelScores(scores, answer.label, read[text].invalid))
        return found
