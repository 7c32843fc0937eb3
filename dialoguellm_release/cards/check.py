"""What the Hub, `datasets` or a reader would stumble over in a card, found without any of them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Annotated

import yaml
from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from dialoguellm_release.cards.markdown import FENCE
from dialoguellm_release.cards.metadata import metadata_problems
from dialoguellm_release.errors import Problem
from dialoguellm_release.layout import data_file, standoff_file

CARD = "README.md"

_PLACEHOLDER = re.compile(
    r"\{\{ .*? \}\}|\{%.*?%\}|\[?more information needed\]?|\b(?:TODO|FIXME|TBD)\b|lorem ipsum", re.IGNORECASE
)
_LOCAL_PATH = re.compile(
    r"(?<![\w./:~>-])/(?:home|root|Users|tmp|var|mnt|opt|work|workspace|private|content)/[^\s`\"')]+"
    r"|file://[^\s`\"')]+|\b[A-Z]:\\[^\s`\"')]+"
)


class _DataFiles(BaseModel):
    split: str
    path: str | Annotated[list[str], Field(min_length=1)]


class _Config(BaseModel):
    config_name: str
    data_files: Annotated[list[_DataFiles], Field(min_length=1)]


_CONFIGS = TypeAdapter(list[_Config])
_PICTURE = re.compile(r"!\[(?P<alt>[^\]]*)\]\((?P<path>[^)\s]+)\)")


def check_card(text: str, files: Sequence[str]) -> list[Problem]:
    """What is wrong with a card, in the order of its lines; empty where nothing is.

    Args:
        files: Paths of the repository's files, relative to it.
    """
    problems = list(_stray_text(text))
    if not text.startswith(FENCE) or f"\n{FENCE}" not in text[len(FENCE) :]:
        return [Problem(f"{CARD}:1", "has no metadata", expected="YAML between two lines of ---"), *problems]
    try:
        metadata = yaml.safe_load(text[len(FENCE) :].partition(f"\n{FENCE}")[0])
    except yaml.YAMLError as error:
        return [Problem(CARD, f"its metadata is not YAML: {error}"), *problems]
    if not isinstance(metadata, dict):
        return [Problem(f"{CARD}:1", "its metadata is not a mapping", got=repr(metadata)), *problems]
    return [
        *metadata_problems(metadata, CARD, files),
        *_config_problems(metadata.get("configs", []), files),
        *_picture_problems(text, files),
        *problems,
    ]


def _stray_text(text: str) -> Iterator[Problem]:
    for number, line in enumerate(text.splitlines(), start=1):
        for pattern, what in ((_PLACEHOLDER, "a placeholder is left"), (_LOCAL_PATH, "names a local path")):
            for match in pattern.finditer(line):
                yield Problem(f"{CARD}:{number}", what, got=match[0])


def _config_problems(stated: object, files: Sequence[str]) -> Iterator[Problem]:
    try:
        configs = _CONFIGS.validate_python(stated)
    except ValidationError as error:
        for details in error.errors():
            place = ".".join(str(part) for part in ("configs", *details["loc"]))
            yield Problem(CARD, f"{place}: {details['msg']}")
        return
    for name, count in Counter(config.config_name for config in configs).items():
        if count > 1:
            yield Problem(CARD, f"config {name} stands there {count} times")
    matched: set[str] = set()
    for config in configs:
        for entry in config.data_files:
            for glob in [entry.path] if isinstance(entry.path, str) else entry.path:
                found = {path for path in files if _matches(path, glob)}
                matched |= found
                if not found:
                    where = f"{CARD}: config {config.config_name}, split {entry.split}"
                    yield Problem(where, "no file matches", got=glob)
    if configs:
        for path in sorted({path for path in files if data_file(path) or standoff_file(path)} - matched):
            yield Problem(CARD, f"no config reads {path}")


def _picture_problems(text: str, files: Sequence[str]) -> Iterator[Problem]:
    for picture in _PICTURE.finditer(text):
        if "://" not in picture["path"] and picture["path"] not in files:
            yield Problem(CARD, "shows a picture that is not there", got=picture["path"])
        if not picture["alt"].strip():
            yield Problem(CARD, "a picture has no words for those who do not see it", got=picture["path"])


def _matches(path: str, glob: str) -> bool:
    return re.fullmatch(re.escape(glob).replace(r"\*", "[^/]*"), path) is not None
