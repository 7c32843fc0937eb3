"""The data files of a dataset folder, by their paths, and the configs that a card lists over them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import cast

from dialoguellm_release.schemas.labels import CORPORA, SPLITS, CorpusName, Split

_NAMES = {"corpus": "|".join(CORPORA), "split": "|".join(SPLITS)}
_RECORDS = re.compile(r"data/(?P<corpus>{corpus})/(?P<split>{split})-[\w-]+\.parquet".format(**_NAMES))
_SFT = re.compile(r"sft/(?P<split>{split})-(?P<corpus>{corpus})-[\w-]+\.parquet".format(**_NAMES))


@dataclass(frozen=True)
class DataFile:
    """What a data file holds: records or `sft` rows of one corpus and split."""

    corpus: CorpusName
    split: Split
    is_sft: bool


def data_file(path: str) -> DataFile | None:
    """What the file at a path of a dataset folder holds; None where it is no data file.

    >>> data_file("data/meld/train-00000.parquet")
    DataFile(corpus='meld', split='train', is_sft=False)
    """
    for pattern, is_sft in ((_RECORDS, False), (_SFT, True)):
        match = pattern.fullmatch(path)
        if match:
            corpus, split = cast("CorpusName", match["corpus"]), cast("Split", match["split"])
            return DataFile(corpus, split, is_sft)
    return None


def corpora_in(paths: Iterable[str]) -> tuple[CorpusName, ...]:
    """The corpora that have records among the files, in the order of the vocabulary."""
    found = {file.corpus for file in map(data_file, paths) if file and not file.is_sft}
    return tuple(corpus for corpus in CORPORA if corpus in found)


def configs(paths: Sequence[str], content: str, prompt_sha256: str) -> list[dict[str, object]]:
    """The `configs:` of a card: `default` (all corpora), one a corpus, `sft`; none without files.

    Why: `datasets` caches a local folder by its name and these entries, not by its files; with the hashes
    in the description it notices that the content is another.

    Args:
        content: Hash of the records.
        prompt_sha256: Hash of the prompt, which shapes the rows of `sft`.
    """
    files = [file for file in map(data_file, paths) if file]
    records = [file for file in files if not file.is_sft]
    listed = [("default", records)]
    listed += [(name, [file for file in records if file.corpus == name]) for name in CORPORA]
    listed += [("sft", [file for file in files if file.is_sft])]
    found: list[dict[str, object]] = []
    for name, members in listed:
        if not members:
            continue
        entry: dict[str, object] = {"config_name": name}
        if name == "default":
            entry["default"] = True
        entry["description"] = f"content {content}" + (f" prompt {prompt_sha256}" if name == "sft" else "")
        entry["data_files"] = [
            {"split": split, "path": globs} for split in SPLITS if (globs := _globs(members, split))
        ]
        found.append(entry)
    return found


def _globs(files: Sequence[DataFile], split: Split) -> list[str]:
    members = [file for file in files if file.split == split]
    return [
        f"sft/{split}-{corpus}-*.parquet" if is_sft else f"data/{corpus}/{split}-*.parquet"
        for corpus in CORPORA
        for is_sft in (False, True)
        if DataFile(corpus, split, is_sft) in members
    ]
