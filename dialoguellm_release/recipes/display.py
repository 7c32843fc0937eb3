"""A resolved recipe as text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import yaml

from dialoguellm_release.recipes.load import Loaded
from dialoguellm_release.recipes.yaml_reader import KeyPath
from dialoguellm_release.schemas.recipes.kinds import Recipe


def as_yaml(loaded: Loaded[Recipe]) -> str:
    """The resolved recipe as YAML, with every default written out."""
    return yaml.safe_dump(loaded.stamp.resolved, sort_keys=False, allow_unicode=True, width=100).rstrip()


def leaves(loaded: Loaded[Recipe]) -> list[tuple[str, str, str]]:
    """Key, value and origin of every leaf of a resolved recipe."""
    return [
        (".".join(map(str, path)), str(value), str(loaded.origins.get(path, "default")))
        for path, value in _leaves(loaded.stamp.resolved, ())
    ]


def _leaves(data: Any, path: KeyPath) -> Iterator[tuple[KeyPath, Any]]:
    if isinstance(data, dict) and data:
        for key, value in data.items():
            yield from _leaves(value, (*path, key))
    elif isinstance(data, list) and data:
        for index, value in enumerate(data):
            yield from _leaves(value, (*path, index))
    else:
        yield path, data
