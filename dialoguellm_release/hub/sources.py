"""The folders that a release is made from, and which of its repositories a run publishes."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

from dialoguellm_release.errors import DataError, Problem, PublishError
from dialoguellm_release.folders import MANIFEST, read_manifest
from dialoguellm_release.resources import resource_folder
from dialoguellm_release.schemas.dataset_manifest import DatasetManifest
from dialoguellm_release.schemas.manifests import AdapterManifest, BackboneManifest, Manifest, ScoreManifest
from dialoguellm_release.schemas.recipes.release import ReleaseRecipe, Repository
from dialoguellm_release.schemas.release import RepositoryName, RepoType, repository_name

AnyManifest = TypeVar("AnyManifest", bound=Manifest)
Held = TypeVar("Held", bound=Manifest, covariant=True)


@dataclass(frozen=True)
class Source(Generic[Held]):
    """A folder that a step made."""

    folder: Path
    manifest: Held


@dataclass(frozen=True)
class Sources:
    """The folders of a release, by repository id."""

    dataset: dict[str, Source[DatasetManifest]] = field(default_factory=dict)
    backbones: dict[str, Source[BackboneManifest]] = field(default_factory=dict)
    adapters: dict[str, Source[AdapterManifest]] = field(default_factory=dict)
    scores: dict[str, list[Source[ScoreManifest]]] = field(default_factory=dict)
    metrics: dict[str, Path] = field(default_factory=dict)


def read_sources(recipe: ReleaseRecipe, build: Path) -> Sources:
    """The folders of a release with their manifests.

    Raises:
        PublishError: With everything that is missing, and the command that makes each.
    """
    sources, problems = Sources(), list[Problem]()
    if recipe.dataset:
        folder = build / recipe.dataset.folder
        command = f"dlm-release dataset build paper --sources DIR --out {shlex.quote(str(folder))}"
        for dataset in _read(folder, DatasetManifest, command, problems):
            sources.dataset[recipe.dataset.repo_id] = dataset
    trained = Path(recipe.adapters[0].folder).name if recipe.adapters else "tiny"
    for named in recipe.backbones:
        command = f"dlm-release adapter train {shlex.quote(trained)}  (it makes its backbone as well)"
        for backbone in _read(build / named.folder, BackboneManifest, command, problems):
            sources.backbones[named.repo_id] = backbone
    for one in recipe.adapters:
        folder = build / one.folder
        command = shlex.join(["dlm-release", "adapter", "train", folder.name, "--out", str(folder)])
        for adapter in _read(folder, AdapterManifest, command, problems):
            sources.adapters[one.repo_id] = adapter
        sources.scores[one.repo_id] = [
            score
            for name in one.scores
            for score in _read(build / name, ScoreManifest, _score_command(build / name, folder), problems)
        ]
    for space in recipe.spaces:
        sources.metrics[space.repo_id] = _metric_folder(space.metric, problems)
    if problems:
        raise PublishError(problems)
    return sources


def _read(
    folder: Path, model: type[AnyManifest], command: str, problems: list[Problem]
) -> Sequence[Source[AnyManifest]]:
    """The folder if it exists and is whole, else nothing and one more problem."""
    if not (folder / MANIFEST).is_file():
        kind = model.model_fields["kind"].default
        what = f"not found; the release names this {kind}"
        problems.append(Problem(str(folder), what, fix=command, code="sources.not_found"))
        return []
    try:
        return [Source(folder, read_manifest(folder, model))]
    except DataError as error:
        problems.extend(error.problems)
        return []


def _score_command(folder: Path, adapter: Path) -> str:
    """A score folder is named by its recipe and its adapter: `meld-tiny`."""
    recipe = folder.name.removesuffix(f"-{adapter.name}")
    words = ["dlm-release", "score", "run", recipe, "--adapter", str(adapter), "--out", str(folder)]
    return shlex.join(words)


def _metric_folder(metric: str, problems: list[Problem]) -> Path:
    root = resource_folder("metrics")
    known = sorted(path.name for path in root.iterdir() if (path / "README.md").is_file())
    if metric not in known:
        expected = ", ".join(known) or None
        problems.append(Problem(f"metrics/{metric}", "no such metric", expected, code="sources.no_metric"))
    return root / metric


def chosen(recipe: ReleaseRecipe, only: Sequence[str]) -> tuple[RepositoryName, ...]:
    """The names of the repositories to publish, each after all that it depends on.

    Args:
        only: Keys of the recipe (`dataset`, `backbones`, `adapters`, `spaces`), names or ids of repositories;
            empty for all.

    Raises:
        PublishError: With every word that is not one of them.
    """
    named = _words(recipe)
    known = ", ".join(named)
    problems = [
        Problem(f"--only {word}", "is not a repository of this release", known, code="sources.not_in_release")
        for word in only
        if word not in named
    ]
    if problems:
        raise PublishError(problems, outcome="nothing was changed")
    picked = {name for word in only for name in named[word]} or recipe.repositories
    return tuple(name for name in recipe.in_order() if name in picked)


def part_of(recipe: ReleaseRecipe, names: Collection[RepositoryName]) -> ReleaseRecipe:
    """The release of some repositories and of all that they were made from.

    With an adapter comes the dataset: it is always checked that the one was trained on the other.
    """
    wanted = _with_origins(recipe, names)
    dataset = recipe.dataset
    if dataset and not wanted & {*_names("dataset", [dataset]), *_names("model", recipe.adapters)}:
        dataset = None
    return recipe.model_copy(
        update={
            "dataset": dataset,
            "backbones": tuple(one for one in recipe.backbones if one.repo_id in wanted),
            "adapters": tuple(one for one in recipe.adapters if one.repo_id in wanted),
            "spaces": tuple(one for one in recipe.spaces if repository_name("space", one.repo_id) in wanted),
        }
    )


def _with_origins(recipe: ReleaseRecipe, names: Iterable[RepositoryName]) -> set[RepositoryName]:
    wanted, pending = set[RepositoryName](), list(names)
    while pending:
        name = pending.pop()
        wanted.add(name)
        pending += recipe.repositories[name].depends_on
    return wanted


def _words(recipe: ReleaseRecipe) -> dict[str, list[RepositoryName]]:
    """The repositories of each word; an id alone is that of a model if there is one, as on the Hub."""
    keys = {
        "dataset": _names("dataset", [recipe.dataset] if recipe.dataset else []),
        "backbones": _names("model", recipe.backbones),
        "adapters": _names("model", recipe.adapters),
        "spaces": _names("space", recipe.spaces),
    }
    names = {name: [name] for name in recipe.repositories}
    ids = {one.repo_id: [name] for name, one in recipe.repositories.items() if one.repo_id not in names}
    return {key: held for key, held in keys.items() if held} | names | ids


def _names(repo_type: RepoType, repositories: Sequence[Repository]) -> list[RepositoryName]:
    return [repository_name(repo_type, one.repo_id) for one in repositories]
