"""Plans a release: the repositories and files that its recipe and folders give; writes nothing."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from dialoguellm_release.cards.licenses import recipe_of
from dialoguellm_release.corpora.registry import corpus_entries
from dialoguellm_release.errors import PublishError
from dialoguellm_release.hub.checks import (
    Check,
    check_of,
    leaving_problems,
    problems_of,
    repository_checks,
    source_checks,
)
from dialoguellm_release.hub.contents import PlannedFile, RepoPlan, adapter, backbone, dataset, space
from dialoguellm_release.hub.licenses import publishable_part
from dialoguellm_release.hub.sources import Source, Sources, read_sources
from dialoguellm_release.schemas.dataset_manifest import DatasetManifest
from dialoguellm_release.schemas.labels import CorpusName
from dialoguellm_release.schemas.recipes.dataset import DatasetRecipe
from dialoguellm_release.schemas.recipes.release import ReleaseRecipe, Visibility
from dialoguellm_release.schemas.release import RepositoryName, repository_of


@dataclass(frozen=True)
class Plan:
    """The repositories of a release, each after those that it depends on, and the checks of them.

    Attributes:
        checks: In the order in which they are shown; a release is refused where one failed.
        upstream: The repositories that this run does not publish.
    """

    repositories: tuple[RepoPlan, ...]
    checks: tuple[Check, ...]
    upstream: Mapping[RepositoryName, RepoPlan] = field(default_factory=dict)


def plan_release(
    recipe: ReleaseRecipe,
    build: Path,
    existing_cards: Mapping[RepositoryName, str] | None = None,
    names: Collection[RepositoryName] | None = None,
) -> Plan:
    """The repositories of a release with all their files, and the checks of them.

    Where a folder does not match its manifest, or nothing of the dataset may be published, the plan has
    checks and no repositories.

    Args:
        build: The folder that the recipe's folders are relative to (`--from`).
        existing_cards: The cards in the store, whose parts that are not ours are kept; None for none.
        names: The repositories to plan; None for all.

    Raises:
        PublishError: With all that is missing under `build`.
        CardError: A folder was made by a recipe of another version, or an existing card cannot be read.
    """
    sources = read_sources(recipe, build)
    visibility = recipe.dataset.visibility if recipe.dataset else "public"
    checks = source_checks(sources)
    if problems_of(checks):
        return Plan((), tuple(checks))
    datasets, refused = _publishable(sources, visibility)
    checks += refused
    if refused:
        return Plan((), tuple(checks))
    plans = {name: _plan(recipe, sources, datasets, name) for name in recipe.in_order()}
    hashes = {name: plan.content_sha256 for name, plan in plans.items()}
    cards, chosen = existing_cards or {}, plans.keys() if names is None else names
    planned = [
        replace(
            plans[name],
            depends_on={other: hashes[other] for other in one.depends_on},
            existing_card=cards.get(name),
            visibility=one.visibility,
            gated=one.gated,
        )
        for name, one in ((name, recipe.repositories[name]) for name in plans if name in chosen)
    ]
    upstream = {name: plan for name, plan in plans.items() if name not in chosen}
    files = {one.name: one.files_at({}) for one in planned}
    checks.append(_leaving(files, sources, datasets))
    checks += [check for one in planned for check in repository_checks(one.name, files[one.name])]
    return Plan(tuple(planned), tuple(checks), upstream)


def _publishable(
    sources: Sources, visibility: Visibility
) -> tuple[dict[str, Source[DatasetManifest]], list[Check]]:
    """The part of each dataset that may be published, and the failed check where there is none."""
    datasets: dict[str, Source[DatasetManifest]] = {}
    try:
        for repo_id, source in sources.dataset.items():
            registry = corpus_entries(recipe_of(source.manifest, DatasetRecipe))
            part = publishable_part(source.manifest, registry, visibility, source.folder)
            datasets[repo_id] = Source(source.folder, part)
    except PublishError as error:
        return datasets, [check_of("licences", error.problems)]
    return datasets, []


def _leaving(
    files: Mapping[RepositoryName, Mapping[str, PlannedFile]],
    sources: Sources,
    datasets: Mapping[str, Source[DatasetManifest]],
) -> Check:
    """Whether a repository holds records of a corpus whose text may not be published."""
    left_out = {name for one in datasets.values() for name in _left_out(one.manifest)}
    runs = [run for runs in sources.scores.values() for run in runs]
    scores = {run.folder.name: run.manifest.figures.protocol.corpus for run in runs}
    found = [one for name, held in files.items() for one in leaving_problems(name, held, left_out, scores)]
    return check_of("licences", found, f"left out: {', '.join(sorted(left_out)) or 'nothing'}")


def _left_out(manifest: DatasetManifest) -> tuple[CorpusName, ...]:
    """The corpora whose text is not published."""
    published = manifest.published
    return (*published.left_out, *published.standoff) if published else ()


def _plan(
    recipe: ReleaseRecipe,
    sources: Sources,
    datasets: Mapping[str, Source[DatasetManifest]],
    name: RepositoryName,
) -> RepoPlan:
    repo_type, repo_id = repository_of(name)
    if repo_type == "dataset":
        return dataset(repo_id, sources.dataset[repo_id], datasets[repo_id].manifest, recipe)
    if repo_type == "space":
        return space(repo_id, sources.metrics[repo_id])
    if repo_id in sources.backbones:
        return backbone(repo_id, sources.backbones[repo_id])
    return adapter(repo_id, recipe.repositories[name].depends_on, sources, datasets)
