"""A release recipe and the folders it names become repositories and files; nothing is written or sent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from dialoguellm_release.cards.check import CARD, check_card
from dialoguellm_release.cards.croissant import render_croissant
from dialoguellm_release.cards.dataset import render_dataset_card
from dialoguellm_release.cards.licenses import render_licenses
from dialoguellm_release.cards.models import render_adapter_card, render_backbone_card
from dialoguellm_release.cards.provenance import recipe_of
from dialoguellm_release.corpora.registry import corpus_entry
from dialoguellm_release.errors import Problem, PublishError
from dialoguellm_release.folders import MANIFEST, file_problems
from dialoguellm_release.hub.gates import adapter_problems, pickle_problems, score_problems
from dialoguellm_release.hub.planned import PlannedFile, PlannedRepository, RepoType
from dialoguellm_release.hub.published_audit import published_audit
from dialoguellm_release.hub.sources import AnyManifest, Source, Sources, read_sources
from dialoguellm_release.hub.subset import publishable_part, standoff_rows
from dialoguellm_release.recipes.catalogue import load_claims
from dialoguellm_release.schemas.corpus import CorpusEntry
from dialoguellm_release.schemas.labels import CORPORA, CorpusName
from dialoguellm_release.schemas.manifest import (
    AUDIT,
    CROISSANT,
    LICENSES,
    BackboneManifest,
    DatasetManifest,
    FileStamp,
)
from dialoguellm_release.schemas.recipes.dataset import DatasetRecipe
from dialoguellm_release.schemas.recipes.release import ReleaseRecipe, Visibility


def plan_release(recipe: ReleaseRecipe, build: Path) -> list[PlannedRepository]:
    """The repositories of a release, with every file that they are to hold.

    Args:
        build: The folder that the recipe's folders are relative to (`--from`).

    Raises:
        PublishError: With all that is missing, or all that is not fit to be published.
        CardError: A folder was made by a recipe of another version.
    """
    sources = read_sources(recipe, build)
    problems = list(_source_problems(sources))
    if problems:
        raise PublishError(problems)
    visibility = recipe.dataset.visibility if recipe.dataset else "public"
    datasets = {repo_id: _publishable(source, visibility) for repo_id, source in sources.dataset.items()}
    planned = [
        *(
            _dataset_repository(repo_id, sources.dataset[repo_id], source.manifest, visibility)
            for repo_id, source in datasets.items()
        ),
        *(_backbone_repository(repo_id, source) for repo_id, source in sources.backbones.items()),
        *(_adapter_repository(repo_id, sources, datasets) for repo_id in sources.adapters),
        *(_space_repository(repo_id, folder) for repo_id, folder in sources.metrics.items()),
    ]
    problems = [problem for repository in planned for problem in _card_problems(repository)]
    if problems:
        raise PublishError(problems)
    return planned


def _source_problems(sources: Sources) -> Iterator[Problem]:
    scores = [score for scores in sources.scores.values() for score in scores]
    groups = (sources.dataset.values(), sources.backbones.values(), sources.adapters.values(), scores)
    for source in (source for group in groups for source in group):
        yield from file_problems(source.folder, source.manifest)
        yield from pickle_problems(source.folder, source.manifest)
    dataset = next((source.manifest for source in sources.dataset.values()), None)
    backbones = {repo_id: source.manifest for repo_id, source in sources.backbones.items()}
    for repo_id, adapter in sources.adapters.items():
        yield from adapter_problems(adapter.folder, adapter.manifest, dataset, backbones)
        for score in sources.scores[repo_id]:
            yield from score_problems(score.folder, score.manifest, adapter.manifest)


def _publishable(source: Source[DatasetManifest], visibility: Visibility) -> Source[DatasetManifest]:
    part = publishable_part(source.manifest, _registry(), visibility, source.folder)
    return Source(source.folder, part)


def _registry() -> dict[CorpusName, CorpusEntry]:
    return {name: corpus_entry(name) for name in CORPORA}


def _dataset_repository(
    repo_id: str, build: Source[DatasetManifest], part: DatasetManifest, visibility: Visibility
) -> PlannedRepository:
    """The repository of the part of a build that may be published."""
    assert part.published is not None
    rows = standoff_rows(build.manifest, part.published.standoff, build.folder)
    manifest = part.model_copy(update={"outputs": (*part.outputs, *_stamps(rows))})
    claims = load_claims(recipe_of(manifest, DatasetRecipe))
    rendered = {
        CARD: render_dataset_card(manifest, claims, _registry(), source=repo_id),
        CROISSANT: render_croissant(manifest, _registry()),
        LICENSES: render_licenses(manifest, _registry()),
    }
    if any(file.path == AUDIT for file in build.manifest.outputs):
        rendered[AUDIT] = published_audit(build.folder / AUDIT, part.published)
    made = rows | {path: PlannedFile.rendered(text) for path, text in rendered.items()}
    repository = _repository("dataset", repo_id, Source(build.folder, manifest), made)
    return replace(repository, visibility=visibility)


def _backbone_repository(repo_id: str, source: Source[BackboneManifest]) -> PlannedRepository:
    card = render_backbone_card(source.manifest, repo_id)
    return _repository("model", repo_id, source, {CARD: PlannedFile.rendered(card)})


def _adapter_repository(
    repo_id: str, sources: Sources, datasets: Mapping[str, Source[DatasetManifest]]
) -> PlannedRepository:
    adapter = sources.adapters[repo_id]
    base = sources.backbones.get(adapter.manifest.figures.base)
    dataset_id, dataset = next(iter(datasets.items()), (None, None))
    card = render_adapter_card(
        adapter.manifest,
        [score.manifest for score in sources.scores[repo_id]],
        repo_id,
        dataset=dataset.manifest if dataset else None,
        dataset_id=dataset_id,
        backbone=base.manifest if base else None,
    )
    return _repository("model", repo_id, adapter, {CARD: PlannedFile.rendered(card)})


def _space_repository(repo_id: str, folder: Path) -> PlannedRepository:
    paths = [path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    files = {path.relative_to(folder).as_posix(): PlannedFile.on_disk(path) for path in sorted(paths)}
    return PlannedRepository("space", repo_id, files)


def _repository(
    repo_type: RepoType, repo_id: str, source: Source[AnyManifest], made: Mapping[str, PlannedFile]
) -> PlannedRepository:
    """A folder with what is made for the release, and the manifest that lists exactly these files."""
    files = {file.path: PlannedFile.stamped(file, source.folder) for file in source.manifest.outputs}
    files |= made
    manifest = source.manifest.model_copy(update={"outputs": _stamps(files)})
    files[MANIFEST] = PlannedFile.rendered(manifest.model_dump_json(indent=2) + "\n")
    return PlannedRepository(repo_type, repo_id, dict(sorted(files.items())))


def _stamps(files: Mapping[str, PlannedFile]) -> tuple[FileStamp, ...]:
    return tuple(
        FileStamp(path=path, bytes=file.size, sha256=file.sha256) for path, file in sorted(files.items())
    )


def _card_problems(repository: PlannedRepository) -> Iterator[Problem]:
    content = repository.files[CARD].content
    text = content.decode() if isinstance(content, bytes) else content.read_text(encoding="utf-8")
    for problem in check_card(text, list(repository.files)):
        yield Problem(
            f"{repository.repo_type} {repository.repo_id}: {problem.where}",
            problem.what,
            problem.expected,
            problem.got,
            problem.fix,
        )
