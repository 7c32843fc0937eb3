"""A release recipe and the folders it names become repositories and files; nothing is written or sent."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dialoguellm_release.cards.licenses import recipe_of
from dialoguellm_release.corpora.registry import corpus_entries
from dialoguellm_release.errors import PublishError
from dialoguellm_release.hub.checks import (
    Verdict,
    leaving_problems,
    problems_of,
    repository_verdicts,
    source_verdicts,
    verdict_on,
)
from dialoguellm_release.hub.contents import (
    Commits,
    Contents,
    Origin,
    PlannedFile,
    PlannedRepository,
    adapter,
    backbone,
    dataset,
    space,
    with_release_file,
)
from dialoguellm_release.hub.licenses import publishable_part
from dialoguellm_release.hub.sources import Source, Sources, read_sources
from dialoguellm_release.schemas.dataset_manifest import DatasetManifest
from dialoguellm_release.schemas.labels import CorpusName
from dialoguellm_release.schemas.recipes.dataset import DatasetRecipe
from dialoguellm_release.schemas.recipes.release import ReleaseRecipe, Visibility
from dialoguellm_release.schemas.release import RepositoryName, repository_of


@dataclass(frozen=True)
class Plan:
    """The repositories of a release, each after those that it depends on, and what the gates say.

    Attributes:
        verdicts: In the order in which they are shown; publishing refuses where one failed.
        others: What the repositories would hold that are not planned.
    """

    repositories: tuple[PlannedRepository, ...]
    verdicts: tuple[Verdict, ...]
    others: Mapping[RepositoryName, Contents] = field(default_factory=dict)


def plan_release(
    recipe: ReleaseRecipe,
    build: Path,
    existing_cards: Mapping[RepositoryName, str] | None = None,
    names: Collection[RepositoryName] | None = None,
) -> Plan:
    """The repositories of a release, with every file that they are to hold, and the verdicts of the gates.

    Where a folder is not what its manifest says, or of the dataset nothing may leave, the plan has verdicts
    and no repositories.

    Args:
        build: The folder that the recipe's folders are relative to (`--from`).
        existing_cards: The cards that stand in the target, whose foreign parts are kept; None for none.
        names: The repositories to plan; None for all.

    Raises:
        PublishError: With all that is missing under `build`.
        CardError: A folder was made by a recipe of another version, or an existing card cannot be read.
    """
    sources = read_sources(recipe, build)
    visibility = recipe.dataset.visibility if recipe.dataset else "public"
    verdicts = source_verdicts(sources)
    if problems_of(verdicts):
        return Plan((), tuple(verdicts))
    datasets, refused = _publishable(sources, visibility)
    verdicts += refused
    if refused:
        return Plan((), tuple(verdicts))
    contents = {name: _contents(recipe, sources, datasets, name) for name in recipe.in_order()}
    others = {name: held for name, held in contents.items() if names is not None and name not in names}
    planned = _planned(recipe, contents, others, existing_cards or {})
    files = {one.name: one.files_at({}) for one in planned}
    verdicts.append(_leaving(files, sources, datasets))
    verdicts += [verdict for one in planned for verdict in repository_verdicts(one.name, files[one.name])]
    return Plan(tuple(planned), tuple(verdicts), others)


def _publishable(
    sources: Sources, visibility: Visibility
) -> tuple[dict[str, Source[DatasetManifest]], list[Verdict]]:
    """What may leave of the datasets, and the verdict where that cannot be told or is nothing."""
    datasets: dict[str, Source[DatasetManifest]] = {}
    try:
        for repo_id, source in sources.dataset.items():
            registry = corpus_entries(recipe_of(source.manifest, DatasetRecipe))
            part = publishable_part(source.manifest, registry, visibility, source.folder)
            datasets[repo_id] = Source(source.folder, part)
    except PublishError as error:
        return datasets, [verdict_on("licences", error.problems)]
    return datasets, []


def _planned(
    recipe: ReleaseRecipe,
    contents: Mapping[RepositoryName, Contents],
    others: Collection[RepositoryName],
    existing_cards: Mapping[RepositoryName, str],
) -> list[PlannedRepository]:
    named = recipe.repositories
    hashes = {name: content.content_sha256 for name, content in contents.items()}
    planned = []
    for name, content in contents.items():
        if name in others:
            continue
        repo_type, repo_id = repository_of(name)
        origin = Origin(
            name=name,
            content_sha256=content.content_sha256,
            depends_on={other: hashes[other] for other in named[name].depends_on},
            base=content.base,
            prompt_sha256=content.prompt_sha256,
            scores=content.scores,
        )
        rendering = _Rendering(content, origin, existing_cards.get(name))
        one = named[name]
        planned.append(
            PlannedRepository(repo_type, repo_id, rendering, one.depends_on, one.visibility, one.gated)
        )
    return planned


def _leaving(
    files: Mapping[RepositoryName, Mapping[str, PlannedFile]],
    sources: Sources,
    datasets: Mapping[str, Source[DatasetManifest]],
) -> Verdict:
    """Whether any repository holds records of a corpus that may not leave."""
    left_out = {name for one in datasets.values() for name in _left_out(one.manifest)}
    runs = [run for runs in sources.scores.values() for run in runs]
    scores = {run.folder.name: run.manifest.figures.protocol.corpus for run in runs}
    found = [one for name, held in files.items() for one in leaving_problems(name, held, left_out, scores)]
    return verdict_on("licences", found, f"left out: {', '.join(sorted(left_out)) or 'nothing'}")


def _left_out(manifest: DatasetManifest) -> tuple[CorpusName, ...]:
    """The corpora whose text stays here."""
    published = manifest.published
    return (*published.left_out, *published.standoff) if published else ()


@dataclass(frozen=True)
class _Rendering:
    """Every file of a repository, once the commits are known of what it depends on."""

    contents: Contents
    origin: Origin
    existing_card: str | None

    def __call__(self, commits: Commits) -> Mapping[str, PlannedFile]:
        return with_release_file(self.contents.files(commits, self.existing_card), self.origin, commits)


def _contents(
    recipe: ReleaseRecipe,
    sources: Sources,
    datasets: Mapping[str, Source[DatasetManifest]],
    name: RepositoryName,
) -> Contents:
    repo_type, repo_id = repository_of(name)
    if repo_type == "dataset":
        return dataset(repo_id, sources.dataset[repo_id], datasets[repo_id].manifest)
    if repo_type == "space":
        return space(sources.metrics[repo_id])
    if repo_id in sources.backbones:
        return backbone(repo_id, sources.backbones[repo_id])
    return adapter(repo_id, recipe.repositories[name].depends_on, sources, datasets)
