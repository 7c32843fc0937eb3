"""The manifests below a folder, and the figures in them, by path."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Generic

from dialoguellm_release.errors import DataError, Problem
from dialoguellm_release.folders import MANIFEST, MANIFESTS, AnyManifest, read_manifest
from dialoguellm_release.schemas.base import Kind
from dialoguellm_release.schemas.dataset_manifest import DatasetManifest
from dialoguellm_release.schemas.manifests import (
    AdapterManifest,
    ScoreManifest,
)

FIX = "make the folder again, or move it elsewhere"


@dataclass(frozen=True)
class Found(Generic[AnyManifest]):
    """A manifest and its folder."""

    folder: Path
    manifest: AnyManifest

    @cached_property
    def data(self) -> Any:
        """The manifest as plain data."""
        return self.manifest.model_dump(mode="json")


@dataclass(frozen=True)
class FoundManifests:
    """The manifests below a folder by kind; copies of the same content count once.

    Attributes:
        folder: The folder that was searched.
    """

    folder: Path
    datasets: list[Found[DatasetManifest]] = field(default_factory=list)
    adapters: list[Found[AdapterManifest]] = field(default_factory=list)
    scores: list[Found[ScoreManifest]] = field(default_factory=list)

    def of_kind(self, kind: Kind) -> list[Found[Any]]:
        """All of a kind; none of kinds that no claim is about."""
        lists: dict[Kind, list[Any]] = {
            "dataset": self.datasets,
            "adapter": self.adapters,
            "score": self.scores,
        }
        return lists.get(kind, [])


def find_manifests(folder: Path) -> FoundManifests:
    """Every manifest below a folder, except in hidden folders.

    Raises:
        DataError: There is no such folder, or manifests in it are damaged.
    """
    if not folder.is_dir():
        fix = "name the folder that holds what was built"
        problem = Problem(str(folder), "no such folder", fix=fix, code="claims.no_folder")
        raise DataError(problem, outcome="nothing was tested")
    found = FoundManifests(folder)
    seen: set[tuple[Kind, str]] = set()
    problems: list[Problem] = []
    for path in _manifest_files(folder):
        try:
            manifest = read_manifest(path.parent, MANIFESTS[_kind_of(path)])
        except DataError as error:
            problems += error.problems
            continue
        if (manifest.kind, manifest.content_sha256) in seen:
            continue
        seen.add((manifest.kind, manifest.content_sha256))
        match manifest:
            case DatasetManifest():
                found.datasets.append(Found(path.parent, manifest))
            case AdapterManifest():
                found.adapters.append(Found(path.parent, manifest))
            case ScoreManifest():
                found.scores.append(Found(path.parent, manifest))
    if problems:
        raise DataError(problems, outcome="nothing was tested")
    return found


def figure_at(data: Any, path: str) -> float | None:
    """The figure at a path of keys; `*` sums over all keys, a list counts as its length.

    None where there is none.

    >>> figure_at({"a": {"x": {"n": 2}, "y": {"n": 3}, "z": {}}}, "a.*.n")
    5.0
    >>> figure_at({"a": {"names": ["x", "y"]}}, "a.names")
    2.0
    >>> figure_at({"a": {}}, "a.x") is None
    True
    """
    numbers = [number for value in _values(data, path.split(".")) if (number := _number(value)) is not None]
    return sum(numbers) if numbers or "*" in path else None


def is_met(data: Any, where: Mapping[str, Iterable[Any]]) -> bool:
    """Whether the value at each path is one of the accepted ones.

    >>> is_met({"recipe": {"name": "x"}}, {"recipe.name": ["x", "y"]})
    True
    """
    return all(
        any(value in accepted for value in _values(data, path.split("."))) for path, accepted in where.items()
    )


def _values(data: Any, keys: list[str]) -> Iterator[Any]:
    if not keys:
        yield data
    elif isinstance(data, dict):
        first, *rest = keys
        for key in data if first == "*" else [first]:
            if key in data:
                yield from _values(data[key], rest)


def _number(value: Any) -> float | None:
    if isinstance(value, list):
        return float(len(value))
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number else None


def _manifest_files(folder: Path) -> list[Path]:
    """Manifests below a folder; hidden folders are being written, or belong to git."""
    return sorted(
        path
        for path in folder.rglob(MANIFEST)
        if not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )


def _kind_of(path: Path) -> Kind:
    try:
        manifest = json.loads(path.read_bytes())
    except (ValueError, RecursionError, OSError) as error:
        what = f"not a manifest: {error}"
        raise DataError(Problem(str(path), what, fix=FIX, code="claims.not_a_manifest")) from error
    kind = manifest.get("kind") if isinstance(manifest, dict) else None
    for known in MANIFESTS:
        if known == kind:
            return known
    what, expected = "not a known kind of manifest", ", ".join(MANIFESTS)
    raise DataError(Problem(str(path), what, expected, str(kind), FIX, code="claims.unknown_kind"))
