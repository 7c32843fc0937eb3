"""The configs of a dataset card: written from the data files, and checked against them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError

from dialoguellm_release.cards.metadata import validation_problems
from dialoguellm_release.errors import Problem
from dialoguellm_release.layout import (
    DEFAULT_CONFIG,
    SFT_CONFIG,
    STANDOFF_CONFIG,
    config_files,
    config_names,
    data_file,
    standoff_file,
)
from dialoguellm_release.recipes.yaml_reader import Document
from dialoguellm_release.schemas.labels import SPLITS, CorpusName, Split


def corpora_in(paths: Iterable[str], corpora: Iterable[CorpusName]) -> tuple[CorpusName, ...]:
    """Those of the corpora that have records among the files."""
    found = {file.corpus for file in map(data_file, paths) if file and file.holds == "records"}
    return tuple(corpus for corpus in corpora if corpus in found)


def configs(
    paths: Sequence[str], corpora: Sequence[CorpusName], content: str, prompt_sha256: str, build: str
) -> list[dict[str, object]]:
    """The `configs:` of a card: `default` (all corpora), `clean`, one a corpus, `sft`, `standoff`.

    One that has no files is left out. The columns are not repeated on the card (`dataset_info`): each Parquet
    file has them, class names included, in its schema, where `datasets` reads them.

    Why: `datasets` caches a local folder by its name and these entries, not by its files; with the hashes
    in the description it notices that the content is another.

    Args:
        corpora: Those of the dataset, in its order.
        content: Hash of the records.
        prompt_sha256: Hash of the prompt, which shapes the rows of `sft`.
        build: Hash of the records of the whole build, which shapes the rows of `standoff`.
    """
    found: list[dict[str, object]] = []
    for name in (*config_names(corpora), STANDOFF_CONFIG):
        data_files = [
            {"split": split, "path": globs}
            for split in SPLITS
            if (globs := list(dict.fromkeys(_globs(paths, name, split, corpora))))
        ]
        if data_files:
            entry: dict[str, object] = {"config_name": name}
            if name == DEFAULT_CONFIG:
                entry["default"] = True
            prompt = f" prompt {prompt_sha256}" if name == SFT_CONFIG else ""
            entry["description"] = f"content {build if name == STANDOFF_CONFIG else content}{prompt}"
            found.append({**entry, "data_files": data_files})
    return found


def _globs(paths: Iterable[str], config: str, split: Split, corpora: Sequence[CorpusName]) -> Iterator[str]:
    if config == STANDOFF_CONFIG:
        return (file.glob for file in map(standoff_file, paths) if file and file.split == split)
    return (file.glob for file in map(data_file, config_files(paths, config, split, corpora)) if file)


_SPLIT = r"^\w+(\.\w+)*$"


class _DataFiles(BaseModel):
    model_config = ConfigDict(extra="forbid")

    split: Annotated[str, Field(pattern=_SPLIT)]
    path: str | Annotated[list[str], Field(min_length=1)]

    @property
    def globs(self) -> list[str]:
        return [self.path] if isinstance(self.path, str) else self.path


def _in_full(stated: object) -> object:
    """The short forms of `data_files`, which name no split, as the long one."""
    entries = [stated] if isinstance(stated, str) else stated
    if not isinstance(entries, list):
        return stated
    return [{"split": "train", "path": one} if isinstance(one, str) else one for one in entries]


class _Config(BaseModel):
    config_name: str
    default: bool = False
    data_files: Annotated[list[_DataFiles], BeforeValidator(_in_full), Field(min_length=1)] | None = None
    data_dir: str | None = None


_CONFIGS = TypeAdapter(list[_Config])


def config_problems(front: Document, files: Sequence[str]) -> Iterator[Problem]:
    """What `datasets` would refuse or not find, and data files that no config reads."""
    try:
        configs = _CONFIGS.validate_python(front.data.get("configs") or [])
    except ValidationError as error:
        yield from validation_problems(error, front, code="card.config", below=("configs",))
        return
    where = front.where("configs")
    for name, count in Counter(config.config_name for config in configs).items():
        if count > 1:
            yield Problem(where, f"config {name} is listed {count} times", code="card.config_repeated")
    defaults = {one.config_name for one in configs if one.default or one.config_name == "default"}
    if len(defaults) > 1:
        got = ", ".join(sorted(defaults))
        yield Problem(where, "several configs are the default", got=got, code="card.config_default")
    matched = set[str]()
    for index, config in enumerate(configs):
        for entry in config.data_files or []:
            for glob in entry.globs:
                found = _matching(glob, config.data_dir, files)
                matched |= set(found)
                if not found and "://" not in glob:
                    what = f"config {config.config_name}, split {entry.split}: no file matches"
                    place = front.where("configs", index, "data_files")
                    yield Problem(place, what, got=glob, code="card.no_file_matches")
    if configs:
        for path in sorted({path for path in files if data_file(path) or standoff_file(path)} - matched):
            yield Problem(where, f"no config reads {path}", code="card.file_not_read")


def our_config_problems(front: Document, files: Sequence[str]) -> Iterator[Problem]:
    """As `config_problems`, and configs that do not list their files as those of this package do."""
    yield from config_problems(front, files)
    configs = front.data.get("configs")
    for index, config in enumerate(configs if isinstance(configs, list) else []):
        if isinstance(config, dict) and config.get("data_files") is None:
            where, what = front.where("configs", index), f"configs.{index}.data_files: missing"
            yield Problem(where, what, code="card.config_without_files")


def _matching(glob: str, folder: str | None, files: Sequence[str]) -> list[str]:
    """The files that a pattern matches by the rules of `fsspec`, which `datasets` uses."""
    from fsspec.utils import glob_translate

    whole = f"{folder.strip('/')}/{glob}" if folder else glob
    pattern = re.compile(glob_translate(whole.removeprefix("./")))
    return [path for path in files if pattern.match(path)]
