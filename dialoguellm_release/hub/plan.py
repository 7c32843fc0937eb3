"""Plans a release: the folders, repositories and files that its recipe gives; writes nothing."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from dialoguellm_release.cards.dataset import recipe_of
from dialoguellm_release.corpora.registry import corpus_entries
from dialoguellm_release.errors import DataError, Problem, PublishError
from dialoguellm_release.folders import MANIFEST, read_manifest
from dialoguellm_release.hub import contents
from dialoguellm_release.hub.apps import offering
from dialoguellm_release.hub.checks import (
    Check,
    check_of,
    leaving_problems,
    problems_of,
    repository_checks,
    source_checks,
)
from dialoguellm_release.hub.contents import PlannedFile, RepoPlan, Source, Sources
from dialoguellm_release.hub.licenses import publishable_part
from dialoguellm_release.resources import resource_folder
from dialoguellm_release.schemas.dataset_manifest import DatasetManifest
from dialoguellm_release.schemas.manifests import AdapterManifest, BackboneManifest, Manifest, ScoreManifest
from dialoguellm_release.schemas.recipes.dataset import DatasetRecipe
from dialoguellm_release.schemas.release import ReleaseRecipe, RepositoryName, repository_name, repository_of

AnyManifest = TypeVar("AnyManifest", bound=Manifest)


@dataclass(frozen=True)
class Plan:
    """The repositories of a release, each after those that it depends on, and the checks of them."""

    repositories: tuple[RepoPlan, ...]
    checks: tuple[Check, ...]  # in the order in which they are shown; a release is refused where one failed
    upstream: Mapping[RepositoryName, RepoPlan] = field(default_factory=dict)


def plan_release(
    recipe: ReleaseRecipe,
    build: Path,
    existing_cards: Mapping[RepositoryName, str] | None = None,
    names: Collection[RepositoryName] | None = None,
) -> Plan:
    """The repositories of a release with all their files, and the checks of them.

    Where a folder does not match its manifest, or nothing of the dataset may be published, the plan has
    checks and no repositories. Of `existing_cards`, those in the store, the parts that are not ours are kept.
    """
    sources = read_sources(recipe, build)
    checks = source_checks(sources)
    if problems_of(checks):
        return Plan((), tuple(checks))
    part: DatasetManifest | None = None
    if recipe.dataset and sources.dataset:
        held = sources.dataset
        registry = corpus_entries(recipe_of(held.manifest, DatasetRecipe))
        try:
            part = publishable_part(held.manifest, registry, recipe.dataset.visibility, held.folder)
        except PublishError as error:
            return Plan((), (*checks, check_of("licences", error.problems)))
    plans = {name: _plan(recipe, sources, part, name) for name in recipe.in_order()}
    cards, chosen_names = existing_cards or {}, plans.keys() if names is None else names
    planned = [
        replace(
            plan,
            depends_on={other: plans[other].content_sha256 for other in one.depends_on},
            existing_card=cards.get(name),
            visibility=one.visibility,
            gated=one.gated,
        )
        for name, plan in plans.items()
        if name in chosen_names
        for one in [recipe.repositories[name]]
    ]
    files = {one.name: one.files_at({}) for one in planned}
    checks.append(_leaving(files, sources, part))
    checks += [check for one in planned for check in repository_checks(one.name, files[one.name])]
    upstream = {name: plan for name, plan in plans.items() if name not in chosen_names}
    return Plan(tuple(planned), tuple(checks), upstream)


def _leaving(
    files: Mapping[RepositoryName, Mapping[str, PlannedFile]], sources: Sources, part: DatasetManifest | None
) -> Check:
    """Whether a repository holds records of a corpus whose text may not be published."""
    published = part.published if part else None
    left_out = {*published.left_out, *published.standoff} if published else set()
    runs = [run for runs in sources.scores.values() for run in runs]
    scores = {run.folder.name: run.manifest.figures.protocol.corpus for run in runs}
    found = [one for name, held in files.items() for one in leaving_problems(name, held, left_out, scores)]
    return check_of("licences", found, f"left out: {', '.join(sorted(left_out)) or 'nothing'}")


def _plan(
    recipe: ReleaseRecipe, sources: Sources, part: DatasetManifest | None, name: RepositoryName
) -> RepoPlan:
    repo_type, repo_id = repository_of(name)
    if repo_type == "dataset":
        assert sources.dataset
        assert part
        return contents.dataset(repo_id, sources.dataset, part, recipe)
    if repo_type == "space":
        planned = contents.space(repo_id, sources.spaces[repo_id])
        is_app = any(one.repo_id == repo_id and one.app for one in recipe.spaces)
        return offering(planned, recipe.repositories[name].depends_on, sources) if is_app else planned
    if repo_id in sources.backbones:
        return contents.backbone(repo_id, sources.backbones[repo_id])
    return contents.adapter(repo_id, recipe.repositories[name].depends_on, sources, part)


def read_sources(recipe: ReleaseRecipe, build: Path) -> Sources:
    """The folders of a release with their manifests."""
    sources, problems = Sources(), list[Problem]()
    if recipe.dataset:
        folder = build / recipe.dataset.folder
        command = f"dlm-release dataset build paper --sources DIR --out {shlex.quote(str(folder))}"
        sources.dataset = _read(folder, DatasetManifest, command, problems)
    trained = Path(recipe.adapters[0].folder).name if recipe.adapters else "tiny"
    for named in recipe.backbones:
        command = f"dlm-release adapter train {shlex.quote(trained)}  (it makes its backbone as well)"
        if found := _read(build / named.folder, BackboneManifest, command, problems):
            sources.backbones[named.repo_id] = found
    for listed in recipe.adapters:
        folder = build / listed.folder
        command = shlex.join(["dlm-release", "adapter", "train", folder.name, "--out", str(folder)])
        if adapter := _read(folder, AdapterManifest, command, problems):
            sources.adapters[listed.repo_id] = adapter
        runs = [
            _read(build / name, ScoreManifest, _score(build / name, folder), problems)
            for name in listed.scores
        ]
        sources.scores[listed.repo_id] = [run for run in runs if run]
    for one in recipe.spaces:
        what, folder_name, bundled = (
            ("app", "spaces", one.app) if one.app else ("metric", "metrics", one.metric)
        )
        bundle = resource_folder(folder_name)
        known = sorted(path.name for path in bundle.iterdir() if (path / "README.md").is_file())
        sources.spaces[one.repo_id] = bundle / str(bundled)
        if bundled not in known:
            where, expected = f"{folder_name}/{bundled}", ", ".join(known) or None
            problems.append(Problem(where, f"no such {what}", expected, code=f"sources.no_{what}"))
    if problems:
        raise PublishError(problems)
    return sources


def _read(
    folder: Path, model: type[AnyManifest], command: str, problems: list[Problem]
) -> Source[AnyManifest] | None:
    """The folder if it exists and is whole, else one more problem."""
    if not (folder / MANIFEST).is_file():
        what = f"not found; the release names this {model.model_fields['kind'].default}"
        problems.append(Problem(str(folder), what, fix=command, code="sources.not_found"))
        return None
    try:
        return Source(folder, read_manifest(folder, model))
    except DataError as error:
        problems.extend(error.problems)
        return None


def _score(folder: Path, adapter: Path) -> str:
    """The command that makes a score folder, which is named by its recipe and its adapter."""
    recipe = folder.name.removesuffix(f"-{adapter.name}")
    words = ["dlm-release", "score", "run", recipe, "--adapter", str(adapter), "--out", str(folder)]
    return shlex.join(words)


def chosen(recipe: ReleaseRecipe, only: Sequence[str]) -> tuple[RepositoryName, ...]:
    """The names of the repositories to publish, each after all that it depends on.

    `only` has keys of the recipe, names or ids of repositories; an id alone is that of a model if there is
    one, as on the Hub.
    """
    words = {key: [name for name, _ in held] for key, held in recipe.by_key().items() if held}
    names = {name: [name] for name in recipe.repositories}
    words |= names
    words |= {one.repo_id: [name] for name, one in recipe.repositories.items() if one.repo_id not in names}
    problems = [
        Problem(f"--only {word}", "is not a repository of this release", known, code="sources.not_in_release")
        for known in [", ".join(words)]
        for word in only
        if word not in words
    ]
    if problems:
        raise PublishError(problems, outcome="nothing was changed")
    picked = {name for word in only for name in words[word]} or recipe.repositories
    return tuple(name for name in recipe.in_order() if name in picked)


def part_of(recipe: ReleaseRecipe, names: Collection[RepositoryName]) -> ReleaseRecipe:
    """The release of some repositories and of all that they were made from.

    With an adapter comes the dataset: it is always checked that the one was trained on the other.
    """
    wanted, pending = set[RepositoryName](), list(names)
    while pending:
        name = pending.pop()
        wanted.add(name)
        pending += recipe.repositories[name].depends_on
    dataset, adapters = recipe.dataset, tuple(one for one in recipe.adapters if one.repo_id in wanted)
    if dataset and not adapters and repository_name("dataset", dataset.repo_id) not in wanted:
        dataset = None
    return recipe.model_copy(
        update={
            "dataset": dataset,
            "backbones": tuple(one for one in recipe.backbones if one.repo_id in wanted),
            "adapters": adapters,
            "spaces": tuple(one for one in recipe.spaces if repository_name("space", one.repo_id) in wanted),
        }
    )
