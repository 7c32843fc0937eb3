"""Where the files of a dataset folder lie, what each data file holds, and which of them a config reads."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import cast

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

_NAMES = {"corpus": "[a-z][a-z0-9_]*", "split": "|".join(SPLITS), "part": "|".join(PARTS)}
_RECORDS = re.compile(
    r"data/(?P<corpus>{corpus})/(?P<split>{split})-(?P<part>{part})-[\w-]+\.parquet".format(**_NAMES)
)
_SFT = re.compile(
    r"sft/(?P<split>{split})-(?P<corpus>{corpus})-(?P<part>{part})-[\w-]+\.parquet".format(**_NAMES)
)
_STANDOFF = re.compile(r"standoff/(?P<corpus>{corpus})/(?P<split>{split})-[\w-]+\.parquet".format(**_NAMES))


@dataclass(frozen=True)
class DataFile:
    """What a data file holds: records, or their `sft` rows, of one part of one corpus and split."""

    corpus: CorpusName
    split: Split
    part: Part
    is_sft: bool = False

    @property
    def path(self) -> str:
        """Where a build writes it, relative to the dataset folder."""
        return f"{self._stem}-00000.parquet"

    @property
    def glob(self) -> str:
        """What finds it, and further files of the same rows."""
        return f"{self._stem}-*.parquet"

    @property
    def _stem(self) -> str:
        if self.is_sft:
            return f"sft/{self.split}-{self.corpus}-{self.part}"
        return f"data/{self.corpus}/{self.split}-{self.part}"

    def is_read_by(self, config: str) -> bool:
        """Whether a config reads it.

        `clean` reads the clean part of training splits, and held-out splits whole.
        """
        if self.is_sft or config == SFT_CONFIG:
            return self.is_sft and config == SFT_CONFIG
        if config == CLEAN_CONFIG:
            return self.split != "train" or self.part == "clean"
        return config in (DEFAULT_CONFIG, self.corpus)


@dataclass(frozen=True)
class StandoffFile:
    """What a file of a published copy holds: rows without text, of one corpus and split."""

    corpus: CorpusName
    split: Split

    @property
    def path(self) -> str:
        """Where it is written, relative to the folder of the copy."""
        return f"standoff/{self.corpus}/{self.split}-00000.parquet"

    @property
    def glob(self) -> str:
        """What finds it, and further files of the same rows."""
        return f"standoff/{self.corpus}/{self.split}-*.parquet"


def data_file(path: str) -> DataFile | None:
    """What the file at a path of a dataset folder holds; None where it is no data file.

    >>> data_file("data/my_corpus/train-clean-00000.parquet")
    DataFile(corpus='my_corpus', split='train', part='clean', is_sft=False)
    """
    for pattern, is_sft in ((_RECORDS, False), (_SFT, True)):
        match = pattern.fullmatch(path)
        if match:
            return DataFile(
                corpus=match["corpus"],
                split=cast("Split", match["split"]),
                part=cast("Part", match["part"]),
                is_sft=is_sft,
            )
    return None


def standoff_file(path: str) -> StandoffFile | None:
    """What the file at a path of a published copy holds; None where it holds no stand-off rows.

    >>> standoff_file("standoff/my_corpus/train-00000.parquet")
    StandoffFile(corpus='my_corpus', split='train')
    """
    match = _STANDOFF.fullmatch(path)
    return match and StandoffFile(match["corpus"], cast("Split", match["split"]))


def config_names(corpora: Iterable[CorpusName]) -> tuple[str, ...]:
    """The configs of records and their `sft` rows, in the order in which a card lists them."""
    return (DEFAULT_CONFIG, CLEAN_CONFIG, *corpora, SFT_CONFIG)


def config_files(paths: Iterable[str], config: str, split: Split, corpora: Sequence[CorpusName]) -> list[str]:
    """The paths that a config reads for a split, in reading order: the clean rows of all corpora first.

    Args:
        corpora: Those of the dataset, in its order.
    """
    place = {name: number for number, name in enumerate(corpora)}
    held = [(path, file) for path in paths if (file := data_file(path))]
    chosen = [(path, file) for path, file in held if file.split == split and file.is_read_by(config)]
    chosen.sort(key=lambda one: (PARTS.index(one[1].part), place.get(one[1].corpus, len(place)), one[0]))
    return [path for path, _ in chosen]
