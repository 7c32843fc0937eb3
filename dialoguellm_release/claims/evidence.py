"""What a build folder holds to test claims on, and what a test may end in."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, Literal

from dialoguellm_release.errors import DataError, Problem
from dialoguellm_release.folders import MANIFEST, MANIFESTS, AnyManifest, kind_of, read_manifest
from dialoguellm_release.schemas.base import Kind
from dialoguellm_release.schemas.labels import CorpusName
from dialoguellm_release.schemas.manifests import ScoreManifest

Status = Literal[
    "reproduced",
    "contradicted",
    "not yet testable",
    "holds on another backbone",
    "does not hold on another backbone",
    "undecided on another backbone",
]


@dataclass(frozen=True)
class Verdict:
    """The verdict on a claim.

    Attributes:
        by: The figure that decides and where it is, or what is missing.
        measured: That figure; None where none decides.
    """

    status: Status
    by: str
    measured: float | None = None


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


FoundManifests = Mapping[Kind, list[Found[Any]]]
"""Manifests by kind; copies of the same content count once."""


def find_manifests(folder: Path) -> FoundManifests:
    """Every manifest below a folder, except in hidden folders, which are being written or belong to git."""
    problems: list[Problem] = []
    if not folder.is_dir():
        fix = "name the folder that holds what was built"
        problems.append(Problem(str(folder), "no such folder", fix=fix, code="claims.no_folder"))
    found: defaultdict[Kind, list[Found[Any]]] = defaultdict(list)
    for path in sorted(folder.rglob(MANIFEST)):
        if any(part.startswith(".") for part in path.relative_to(folder).parts):
            continue
        kind: Any = kind_of(path.parent)
        if not isinstance(kind, str):
            problems.append(Problem(str(path), "not a manifest", fix=FIX, code="claims.not_a_manifest"))
            continue
        if kind not in MANIFESTS:
            what, expected = "not a known kind of manifest", ", ".join(MANIFESTS)
            problems.append(Problem(str(path), what, expected, kind, FIX, code="claims.unknown_kind"))
            continue
        try:
            manifest = read_manifest(path.parent, MANIFESTS[kind])
        except DataError as error:
            problems += error.problems
            continue
        if all(one.manifest.content_sha256 != manifest.content_sha256 for one in found[kind]):
            found[kind].append(Found(path.parent, manifest))
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
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def whole_test_scores(found: FoundManifests, corpus: CorpusName) -> list[Found[ScoreManifest]]:
    """The scores of the whole test split of a corpus."""
    return [
        one
        for one in found.get("score", [])
        if (one.manifest.figures.protocol.corpus, one.manifest.figures.protocol.split) == (corpus, "test")
        and one.manifest.recipe.resolved.get("max_records") is None
        and not one.manifest.figures.is_partial
    ]
