"""The one vocabulary of emotions, splits and corpora that everything here speaks."""

from __future__ import annotations

from typing import Literal, get_args

Label = Literal[
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
]
"""A canonical emotion label. The order is published (ClassLabel ids) and may only grow at its end."""

LABELS: tuple[Label, ...] = get_args(Label)
BASIC_LABELS: tuple[Label, ...] = LABELS[:7]
"""The seven labels of the paper's prompt (section 3.3)."""

EXTRA_LABELS: tuple[Label, ...] = LABELS[7:]
"""Labels that only some corpora have."""

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)

CorpusName = Literal["meld", "emorynlp", "dailydialog", "meisd", "iemocap", "own"]
"""`own` is what a user brings along."""

OWN: CorpusName = "own"
CORPUS_NAMES: tuple[CorpusName, ...] = get_args(CorpusName)
"""The corpora of the paper, and `own`."""

CORPORA: tuple[CorpusName, ...] = tuple(name for name in CORPUS_NAMES if name != OWN)
"""The corpora of the paper."""

Part = Literal["clean", "leaked", "repeated"]
"""The rows of a split: those that share no text with the other side of the train/test line, those that do,
and training rows that do not but repeat or contradict one that is kept."""

PARTS: tuple[Part, ...] = get_args(Part)
