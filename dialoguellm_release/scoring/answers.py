"""What a model gives for a prompt, how it is asked, and how free text becomes a label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from dialoguellm_release.encoding import EncodedPrompt
from dialoguellm_release.schemas.labels import CorpusName, Label


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


Drawn = Literal["drawn"]

_COMMON: tuple[tuple[str, Label], ...] = (
    ("happy", "happiness"),
    ("happiness", "happiness"),
    ("joy", "happiness"),
    ("fear", "fear"),
    ("scare", "fear"),
    ("sad", "sadness"),
    ("sadness", "sadness"),
    ("disgust", "disgust"),
    ("disgusting", "disgust"),
    ("hate", "disgust"),
    ("surprise", "surprise"),
    ("anger", "anger"),
    ("angry", "anger"),
    ("rage", "anger"),
    ("neutral", "neutral"),
    ("amazed", "surprise"),
    ("surprising", "surprise"),
    ("amazing", "surprise"),
    ("0", "neutral"),
)
_EMORYNLP: tuple[tuple[str, Label], ...] = (
    ("peaceful", "peaceful"),
    ("6", "peaceful"),
    ("powerful", "powerful"),
    ("5", "powerful"),
    ("4", "fear"),
    ("3", "anger"),
    ("2", "sadness"),
    ("1", "happiness"),
)
_IEMOCAP: tuple[tuple[str, Label], ...] = (("excitement", "excitement"), ("frustration", "frustration"))
_IDS: dict[str, tuple[Label, ...]] = {
    "emorynlp": ("neutral", "happiness", "sadness", "anger", "fear", "powerful", "peaceful"),
    "iemocap": ("neutral", "happiness", "sadness", "anger", "fear", "excitement", "surprise", "frustration"),
}
_MELD_IDS: tuple[Label, ...] = (
    "neutral",
    "happiness",
    "sadness",
    "anger",
    "fear",
    "disgust",
    "surprise",
)
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
    first = text.strip().partition("\n")[0].strip().lower().removesuffix(".").rstrip()
    return next((label for label in labels if label == first), None)


def parse_as_authors(text: str, corpus: CorpusName) -> Label | Drawn:
    """The label that the authors' scripts find in a text, or `drawn` where they throw dice.

    Of the text up to its first full stop and line break, the first word of their list that stands
    anywhere in it decides: "unhappy" holds "happy". A word that they list but give no id, as "disgust"
    for EmoryNLP, leads to the dice too. They have no script for DailyDialog, MEISD and data of a
    user's own, where MELD's is taken; their fallback "Neutral" for a missing `### Response:` cannot occur,
    as only what follows the prompt is read.

    Source: Dreamyao516/DialogueLLM, `py/myllama-generate-test.py`, `-emory.py`, `-test-IEMOCAP.py`.

    >>> parse_as_authors("I am unhappy", "meld")
    'happiness'
    >>> parse_as_authors("bored", "meld")
    'drawn'
    """
    words = _COMMON + {"emorynlp": _EMORYNLP, "iemocap": _IEMOCAP}.get(corpus, ())
    shown = text.strip().lower().partition(".")[0].strip().partition("\n")[0]
    found = next((label for word, label in words if word in shown), None)
    return found if found in _ids(corpus) and found is not None else "drawn"


def authors_dice(corpus: CorpusName, labels: Sequence[Label]) -> dict[Label, float]:
    """How likely the authors' dice give each label; what lacks to 1 gives labels outside the label space.

    >>> authors_dice("iemocap", ["happiness", "frustration"])
    {'happiness': 0.14285714285714285, 'frustration': 0.0}
    """
    thrown = _ids(corpus)[:_DICE]
    return {label: thrown.count(label) / _DICE for label in labels}


def _ids(corpus: CorpusName) -> tuple[Label, ...]:
    return _IDS.get(corpus, _MELD_IDS)
