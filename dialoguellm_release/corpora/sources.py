"""The files of a user's corpus: a file, files as splits, a folder of them, or what `datasets` loads."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dialoguellm_release.corpora.readers.table import SPLIT_NAMES
from dialoguellm_release.errors import DataError, Problem
from dialoguellm_release.schemas.labels import SPLITS, Split
from dialoguellm_release.tabular import SUFFIXES

_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")


@dataclass(frozen=True)
class Source:
    """The files of a corpus.

    Attributes:
        title: What the corpus is called after.
        folder: Holds the files.
        files: Names of the files by split, below the folder; the key None is a file of all splits.
        is_copy: Whether they are a copy that was made in the folder.
    """

    title: str
    folder: Path
    files: Mapping[Split | None, str]
    is_copy: bool = False

    @property
    def paths(self) -> dict[Split | None, Path]:
        """The files by split."""
        return {split: self.folder / name for split, name in self.files.items()}


def find_source(data: Sequence[str], config: str | None, scratch: Path) -> Source:
    """The files that are meant."""
    named = [(_named_split(one), one) for one in data]
    if len(named) == 1 and named[0][0] is None:
        return _of_one(data[0], config, scratch)
    problems, files = list[Problem](), dict[Split, Path]()
    for split, one in named:
        if split is None or split in files:
            what = "its split is not stated" if split is None else f"is a second file of {split}"
            fix = "name each split once: --data train=FILE --data validation=FILE --data test=FILE"
            problems.append(Problem(one, what, fix=fix, code="corpora.unnamed_file"))
        else:
            files[split] = Path(one.partition("=")[2])
    if problems:
        raise DataError(problems)
    folder = Path(os.path.commonpath([path.resolve().parent for path in files.values()]))
    names = {split: os.path.relpath(path.resolve(), folder) for split, path in files.items()}
    return Source(folder.name or "corpus", folder, {one: names[one] for one in SPLITS if one in names})


def _named_split(data: str) -> Split | None:
    name, separator, _ = data.partition("=")
    return SPLIT_NAMES.get(name.lower()) if separator else None


def _of_one(data: str, config: str | None, scratch: Path) -> Source:
    path = Path(data)
    if path.is_dir():
        return _of_folder(path, config, scratch)
    is_repository = not path.exists() and path.suffix.lower() not in SUFFIXES and _REPOSITORY.fullmatch(data)
    return (
        _loaded(data, config, scratch) if is_repository else Source(path.stem, path.parent, {None: path.name})
    )


def _of_folder(folder: Path, config: str | None, scratch: Path) -> Source:
    """The files of a folder whose names state the splits; else what `datasets` finds in it."""
    is_saved = any((folder / name).is_file() for name in ("dataset_dict.json", "state.json"))
    names = sorted(one.name for one in folder.iterdir() if one.suffix.lower() in SUFFIXES)
    splits = [_split_in(name) for name in names]
    if config or is_saved or "train" not in splits or None in splits or len(set(splits)) < len(splits):
        return _loaded(str(folder), config, scratch, is_saved=is_saved)
    files = dict(zip(splits, names, strict=True))
    return Source(folder.resolve().name, folder, {one: files[one] for one in SPLITS if one in files})


def _split_in(name: str) -> Split | None:
    words = [SPLIT_NAMES[word] for word in re.split(r"[^a-z]+", name.lower()) if word in SPLIT_NAMES]
    return words[0] if len(words) == 1 else None


def _loaded(data: str, config: str | None, scratch: Path, *, is_saved: bool = False) -> Source:
    """A Parquet file for each split of what `datasets` loads, with the names of class labels."""
    import datasets

    try:
        found: Any = datasets.load_from_disk(data) if is_saved else datasets.load_dataset(data, config)
    except (OSError, ValueError, RuntimeError, datasets.exceptions.DatasetsError) as error:
        what = f"`datasets` cannot load it: {' '.join(str(error).split())[:300] or type(error).__name__}"
        fix = "name a file, a folder with train and test files, or a dataset repository; --config chooses one"
        raise DataError(Problem(data, what, fix=fix, code="corpora.not_loaded")) from error
    tables = {"train": found} if isinstance(found, datasets.Dataset) else dict(found)
    splits = {name: SPLIT_NAMES.get(name.lower()) for name in tables}
    if len(tables) == 1:
        splits = dict.fromkeys(tables, "train")
    if None in splits.values() or len(set(splits.values())) < len(splits):
        fix = "save the splits that are meant as files, and name them: --data train=FILE --data test=FILE"
        got = ", ".join(tables)
        raise DataError(
            Problem(
                data, "its splits are not train, validation and test", got=got, fix=fix, code="corpora.splits"
            )
        )
    for name, table in tables.items():
        table.to_parquet(scratch / f"{splits[name]}.parquet")
    title = Path(data).resolve().name if Path(data).is_dir() else data.rpartition("/")[2]
    return Source(
        title, scratch, {one: f"{one}.parquet" for one in SPLITS if one in splits.values()}, is_copy=True
    )
