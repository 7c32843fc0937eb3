"""The key `configs` of a dataset card against `datasets`, which reads it, and against the files."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError

from dialoguellm_release.cards.front_matter import FrontMatter
from dialoguellm_release.errors import Problem
from dialoguellm_release.layout import data_file, standoff_file

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


def config_problems(front: FrontMatter, files: Sequence[str], *, is_ours: bool) -> Iterator[Problem]:
    """What `datasets` would refuse or not find, and data files of ours that no config reads.

    Args:
        is_ours: Whether every config has to name its files; `datasets` finds them by their names else.
    """
    try:
        configs = _CONFIGS.validate_python(front.data.get("configs") or [])
    except ValidationError as error:
        for details in error.errors():
            place = ("configs", *details["loc"])
            yield Problem(front.where(*place), f"{'.'.join(map(str, place))}: {details['msg']}")
        return
    for name, count in Counter(config.config_name for config in configs).items():
        if count > 1:
            yield Problem(front.where("configs"), f"config {name} stands there {count} times")
    defaults = {one.config_name for one in configs if one.default or one.config_name == "default"}
    if len(defaults) > 1:
        yield Problem(
            front.where("configs"), "several configs are the default", got=", ".join(sorted(defaults))
        )
    matched = set[str]()
    for index, config in enumerate(configs):
        if is_ours and config.data_files is None:
            yield Problem(front.where("configs", index), f"configs.{index}.data_files: is missing")
        for entry in config.data_files or []:
            for glob in entry.globs:
                found = _matching(glob, config.data_dir, files)
                matched |= set(found)
                if not found and "://" not in glob:
                    where = front.where("configs", index, "data_files")
                    what = f"config {config.config_name}, split {entry.split}: no file matches"
                    yield Problem(where, what, got=glob)
    if configs:
        for path in sorted({path for path in files if data_file(path) or standoff_file(path)} - matched):
            yield Problem(front.where("configs"), f"no config reads {path}")


def _matching(glob: str, folder: str | None, files: Sequence[str]) -> list[str]:
    """The files that a pattern matches, by the rules of `fsspec`, which `datasets` looks with."""
    from fsspec.utils import glob_translate

    whole = f"{folder.strip('/')}/{glob}" if folder else glob
    pattern = re.compile(glob_translate(whole.removeprefix("./")))
    return [path for path in files if pattern.match(path)]
