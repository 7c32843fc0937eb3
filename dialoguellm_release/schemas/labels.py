"""The one vocabulary of emotions, splits and corpora that everything here speaks."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from typing import Annotated, Literal, get_args

from pydantic import Field

Label = Annotated[str, Field(pattern=r"^\S(?:.*\S)?$", max_length=64)]
"""An emotion label on one line, without outer white space."""

LABELS: tuple[Label, ...] = (
    "happiness",
    "anger",
    "fear",
    "sadness",
    "disgust",
    "surprise",
    "neutral",
    "powerful",
    "peaceful",
    "excitement",
    "frustration",
    "acceptance",
)
"""The canonical labels. The order is published (ClassLabel ids) and may only grow at its end."""

BASIC_LABELS: tuple[Label, ...] = LABELS[:7]
"""The seven labels of the paper's prompt (section 3.3)."""


def class_labels(label_spaces: Iterable[Iterable[Label]]) -> tuple[Label, ...]:
    """The ClassLabel names of a dataset: the canonical labels, then those that its corpora add, in order.

    >>> class_labels([["anger", "contempt"], ["joy", "anger"]])[12:]
    ('contempt', 'joy')
    """
    return tuple(dict.fromkeys(chain(LABELS, chain.from_iterable(label_spaces))))


Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)

CorpusName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
"""The name of a corpus, which names its config and its data files too."""

RESERVED_LABELS = frozenset({"invalid", "drawn"})
"""What predictions have instead of a label; no label may be called so."""

RESERVED_NAMES = frozenset({"default", "clean", "sft", "standoff"})
"""Names of the other configs of a dataset; no corpus may have them."""

Part = Literal["clean", "leaked", "repeated"]
"""The rows of a split: those that share no text with the other side of the train/test line, those that do,
and training rows that do not but repeat or contradict one that is kept."""

PARTS: tuple[Part, ...] = get_args(Part)
