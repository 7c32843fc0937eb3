"""Where the files of a dataset folder lie, what each data file holds, and which of them a config reads."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

from dialoguellm_release.schemas.labels import PARTS, SPLITS, CorpusName, Part, Split

DEFAULT_CONFIG = "default"
CLEAN_CONFIG = "clean"
SFT_CONFIG = "sft"
STANDOFF_CONFIG = "standoff"
JOINT_CONFIGS = (DEFAULT_CONFIG, CLEAN_CONFIG, SFT_CONFIG, STANDOFF_CONFIG)
"""The configs that hold several corpora; each corpus has one of its own name."""

COUNT_FIGURES: tuple[str, ...] = (
    "figures/corpora.png",
    "figures/emotions.png",
    "figures/dialogue_lengths.png",
    "figures/utterance_lengths.png",
    "figures/label_spaces.png",
)
"""The figures of counts in a dataset folder."""

AGREEMENT_FIGURE = "figures/agreement.png"
"""The heat map of label agreement; not there where no two corpora have an utterance in common."""

FIGURE_FILES: tuple[str, ...] = (*COUNT_FIGURES, AGREEMENT_FIGURE)
"""The figures of a dataset folder; they show counts only, never text."""

CROISSANT = "croissant.json"
"""The Croissant metadata of a dataset folder."""

AUDIT = "audit.json"
"""The audit of a dataset folder, with the ids of what repeats or contradicts itself."""

CARD = "README.md"
"""The card of a folder or repository."""

LICENSES = "LICENSE.md"
"""What may be done with which part of a dataset folder."""

Held = Literal["records", "sft", "standoff"]
"""Rows of a file: records, prompts with their completions, or rows without text."""

_STEMS: dict[Held, str] = {
    "records": "data/{corpus}/{split}-{part}",
    "sft": "sft/{split}-{corpus}-{part}",
    "standoff": "standoff/{corpus}/{split}",
}
_NAMES = {"corpus": "[a-z][a-z0-9_]*", "split": "|".join(SPLITS), "part": "|".join(PARTS)}
_GROUPS = {name: f"(?P<{name}>{pattern})" for name, pattern in _NAMES.items()}
_PATTERNS = {held: re.compile(stem.format(**_GROUPS) + r"-[\w-]+\.parquet") for held, stem in _STEMS.items()}


@dataclass(frozen=True)
class DataFile:
    """What a data file holds: rows of one corpus and split, and of one part but for rows without text."""

    corpus: CorpusName
    split: Split
    part: Part | None = None
    holds: Held = "records"

    @property
    def path(self) -> str:
        """Where it is written, relative to the dataset folder."""
        return f"{self._stem}-00000.parquet"

    @property
    def glob(self) -> str:
        """What finds it, and further files of the same rows."""
        return f"{self._stem}-*.parquet"

    @property
    def _stem(self) -> str:
        return _STEMS[self.holds].format(corpus=self.corpus, split=self.split, part=self.part)

    def is_read_by(self, config: str) -> bool:
        """Whether a config reads it.

        `clean` reads the clean part of training splits, and held-out splits whole.
        """
        if self.holds != "records" or config == SFT_CONFIG:
            return (self.holds, config) == ("sft", SFT_CONFIG)
        if config == CLEAN_CONFIG:
            return self.split != "train" or self.part == "clean"
        return config in (DEFAULT_CONFIG, self.corpus)


def data_file(path: str) -> DataFile | None:
    """What the file at a path of a dataset folder holds; None where it is no data file.

    >>> data_file("data/my_corpus/train-clean-00000.parquet")
    DataFile(corpus='my_corpus', split='train', part='clean', holds='records')
    """
    return _at(path, "records") or _at(path, "sft")


def standoff_file(path: str) -> DataFile | None:
    """What the file at a path of a published copy holds; None where it holds no rows without text."""
    return _at(path, "standoff")


def _at(path: str, held: Held) -> DataFile | None:
    match = _PATTERNS[held].fullmatch(path)
    return DataFile(**cast("dict[str, Any]", match.groupdict()), holds=held) if match else None


def config_names(corpora: Iterable[CorpusName]) -> tuple[str, ...]:
    """The configs of records and their `sft` rows, in the order in which a card lists them."""
    return (DEFAULT_CONFIG, CLEAN_CONFIG, *corpora, SFT_CONFIG)


def config_files(paths: Iterable[str], config: str, split: Split, corpora: Sequence[CorpusName]) -> list[str]:
    """The paths that a config reads for a split, in reading order: the clean rows of all corpora first."""
    place = {name: number for number, name in enumerate(corpora)}
    held = [(path, file) for path in paths if (file := data_file(path))]
    chosen = [(path, file) for path, file in held if file.split == split and file.is_read_by(config)]
    chosen.sort(key=lambda one: (PARTS.index(one[1].part), place.get(one[1].corpus, len(place)), one[0]))
    return [path for path, _ in chosen]
