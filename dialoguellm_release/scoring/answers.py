"""Replies of a model, the answers that they become, and how free text is read as a label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from dialoguellm_release.corpora.registry import bundled_entry
from dialoguellm_release.encoding import EncodedPrompt
from dialoguellm_release.schemas.corpus import AuthorsScript
from dialoguellm_release.schemas.labels import CorpusName, Label


@dataclass(frozen=True)
class Reply:
    """The reply of a model to one prompt.

    Attributes:
        log_probs: A log-probability for each label of the label space; None where the model wrote text.
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
    """Asks a model in batches, so that each batch can be stored at once."""

    def plan(self, prompts: Sequence[EncodedPrompt]) -> list[Batch]:
        """The prompts in batches; the same prompts give the same batches."""

    def replies(self, prompts: Sequence[EncodedPrompt], batch: Batch) -> list[Reply]:
        """The replies to one batch of the planned prompts, in the order of its places."""


@dataclass(frozen=True)
class Answer:
    """The answer of a system to one record.

    Attributes:
        label: The prediction; None where it names no label of the label space, or is drawn at random.
        is_drawn: Whether the label is drawn at random, with chances that the whole run shares.
        scores: A probability for each label of the label space; None where the system gives none.
        text: What a model wrote; None where it wrote nothing.
    """

    label: Label | None
    is_drawn: bool = False
    scores: tuple[float, ...] | None = None
    text: str | None = None


Drawn = Literal["drawn"]

_WORD_LIST = (
    "happy=happiness happiness=happiness joy=happiness fear=fear scare=fear sad=sadness sadness=sadness "
    "disgust=disgust disgusting=disgust hate=disgust surprise=surprise anger=anger angry=anger rage=anger "
    "neutral=neutral amazed=surprise surprising=surprise amazing=surprise 0=neutral"
)
_WORDS: dict[str, Label] = {
    word: label for word, _, label in (one.partition("=") for one in _WORD_LIST.split())
}
"""The words that every script of the authors looks for, in this order."""

_DICE = 7
"""The scripts draw an id from 0 to 6, whatever the corpus."""


def parse(text: str, labels: Sequence[Label]) -> Label | None:
    """The label that a text is, or None.

    The first line has to be the label and nothing else, but for white space, upper case and a final stop.

    >>> parse(" Happiness." + chr(10) + "more", ["anger", "happiness"])
    'happiness'
    >>> parse("unhappiness", ["anger", "happiness"]) is None
    True
    """
    first = text.strip().partition("\n")[0].strip().casefold().removesuffix(".").rstrip()
    return next((label for label in labels if label.casefold() == first), None)


def parse_as_authors(text: str, corpus: CorpusName) -> Label | Drawn:
    """The label that the authors' scripts find in a text, or `drawn` where they draw one at random.

    Of the text up to its first full stop and line break, the first word of their list that occurs anywhere
    in it decides: "unhappy" contains "happy". A word that they list but give no id leads to a draw too. What
    a script adds for its corpus is in the corpus file (`authors_script`). Their fallback "Neutral" for a
    missing `### Response:` cannot occur, as only what follows the prompt is read.

    Source: Dreamyao516/DialogueLLM, `py/myllama-generate-test.py`, `-emory.py`, `-test-IEMOCAP.py`.

    >>> parse_as_authors("I am unhappy", "meld")
    'happiness'
    >>> parse_as_authors("bored", "meld")
    'drawn'
    """
    script = _script_of(corpus)
    shown = text.strip().lower().partition(".")[0].strip().partition("\n")[0]
    found = next((label for word, label in (_WORDS | script.words).items() if word in shown), None)
    return found if found in script.ids and found is not None else "drawn"


def authors_dice(corpus: CorpusName, labels: Sequence[Label]) -> dict[Label, float]:
    """How likely the authors' scripts draw each label; the rest to 1 are labels outside the label space.

    >>> authors_dice("iemocap", ["happiness", "frustration"])
    {'happiness': 0.14285714285714285, 'frustration': 0.0}
    """
    thrown = _script_of(corpus).ids[:_DICE]
    return {label: thrown.count(label) / _DICE for label in labels}


def _script_of(corpus: CorpusName) -> AuthorsScript:
    entry = bundled_entry(corpus)
    return entry.authors_script if entry else AuthorsScript()
