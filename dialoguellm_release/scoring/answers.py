"""What a model gives for a prompt, what is made of it, and how it is asked: the seam of every backend."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from dialoguellm_release.encoding import EncodedPrompt
from dialoguellm_release.schemas.labels import Label


@dataclass(frozen=True)
class Reply:
    """What a model gave for one prompt.

    Attributes:
        log_probs: A log-probability per label of the label space; None where the model wrote text.
        text: The text that it wrote; None where it compared labels.
    """

    log_probs: tuple[float, ...] | None = None
    text: str | None = None


@dataclass(frozen=True)
class Batch:
    """Prompts that are answered together.

    Attributes:
        places: Of the prompts, in the list that was planned.
        shared: How many first tokens they have in common with each other, at least.
    """

    places: tuple[int, ...]
    shared: int = 0


class Scorer(Protocol):
    """A function from encoded prompts to replies, in batches, so that what is made can be kept at once."""

    def plan(self, prompts: Sequence[EncodedPrompt]) -> list[Batch]:
        """The prompts in batches; the same prompts give the same batches."""

    def replies(self, prompts: Sequence[EncodedPrompt], batch: Batch) -> list[Reply]:
        """The replies to one batch of the planned prompts, in the order of its places."""


@dataclass(frozen=True)
class Answer:
    """What a system says of one record.

    Attributes:
        label: The prediction; None where it names no label of the label space, or is left to chance.
        is_drawn: Whether the label is drawn at random, with chances that the whole run shares.
        scores: A probability per label of the label space; None where the system gives none.
        text: What a model wrote; None where it wrote nothing.
    """

    label: Label | None
    is_drawn: bool = False
    scores: tuple[float, ...] | None = None
    text: str | None = None
