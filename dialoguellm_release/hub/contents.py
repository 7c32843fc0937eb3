"""The files of each repository of a release: those of its folder, its card, and release.json."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, Self

from dialoguellm_release.cards.card import merged_card
from dialoguellm_release.cards.configs import corpora_in
from dialoguellm_release.cards.croissant import render_croissant
from dialoguellm_release.cards.dataset import render_dataset_card
from dialoguellm_release.cards.licenses import recipe_of, render_licenses
from dialoguellm_release.cards.model import render_adapter_card, render_backbone_card
from dialoguellm_release.cards.score import eval_results
from dialoguellm_release.corpora.registry import corpus_entries
from dialoguellm_release.folders import MANIFEST, combined_sha256, git_blob_id, sha256_of
from dialoguellm_release.hub.licenses import published_audit, standoff_rows
from dialoguellm_release.hub.sources import Source, Sources
from dialoguellm_release.layout import AUDIT, CARD, CROISSANT, LICENSES
from dialoguellm_release.recipes.catalogue import load_claims
from dialoguellm_release.schemas.dataset_manifest import DatasetManifest
from dialoguellm_release.schemas.manifests import BackboneManifest, FileStamp, Manifest, ScoreManifest
from dialoguellm_release.schemas.recipes.dataset import DatasetRecipe
from dialoguellm_release.schemas.recipes.release import Visibility
from dialoguellm_release.schemas.release import (
    RELEASE_FILE,
    ForeignBase,
    Link,
    ReleaseFile,
    RepositoryName,
    RepoType,
    ScoreLink,
    repository_name,
    repository_of,
)

Commits = Mapping[RepositoryName, str]
"""The commit of each repository that is already made or found."""

UNKNOWN_COMMIT = "0" * 40
"""Stands for a commit that is not made yet; no repository has it, so what names it counts as changed."""


@dataclass(frozen=True)
class PlannedFile:
    """A file to publish: one on disk, or rendered for the release.

    Attributes:
        sha256: Of the content that was checked; what is published must still have it.
    """

    content: Path | bytes
    size: int
    sha256: str

    @cached_property
    def blob_id(self) -> str:
        """The id that git gives to the content."""
        return git_blob_id(self.content)

    @classmethod
    def on_disk(cls, path: Path) -> Self:
        """A file as it stands."""
        return cls(path, path.stat().st_size, sha256_of(path))

    @classmethod
    def stamped(cls, file: FileStamp, folder: Path) -> Self:
        """A file of a folder whose stamps were checked."""
        return cls(folder / file.path, file.bytes, file.sha256)

    @classmethod
    def rendered(cls, text: str) -> Self:
        """A text that the plan made."""
        return cls.made(text.encode())

    @classmethod
    def made(cls, content: bytes) -> Self:
        """A file that the plan made."""
        return cls(content, len(content), hashlib.sha256(content).hexdigest())


@dataclass(frozen=True)
class PlannedRepository:
    """A repository of a release.

    Attributes:
        rendering: Every file that it holds once the release is out, by path, from the commits of the
            repositories that it depends on.
        gated: As in the release recipe.
    """

    repo_type: RepoType
    repo_id: str
    rendering: Callable[[Commits], Mapping[str, PlannedFile]]
    depends_on: tuple[RepositoryName, ...] = ()
    visibility: Visibility = "public"
    gated: Literal[False, "auto", "manual"] = False

    @property
    def name(self) -> RepositoryName:
        """Its name as the Hub's addresses have it."""
        return repository_name(self.repo_type, self.repo_id)

    def files_at(self, commits: Commits) -> Mapping[str, PlannedFile]:
        """Its files; a dependency whose commit is not known is named by `UNKNOWN_COMMIT`."""
        return self.rendering({name: commits.get(name, UNKNOWN_COMMIT) for name in self.depends_on})


@dataclass(frozen=True)
class Origin:
    """What `release.json` says of a repository that no file of it decides.

    Attributes:
        content_sha256: Of the folder that it was made from.
        depends_on: The content hash of each repository that it was made from.
    """

    name: RepositoryName
    content_sha256: str
    depends_on: Mapping[RepositoryName, str]
    base: ForeignBase | None = None
    prompt_sha256: str | None = None
    scores: tuple[ScoreLink, ...] = ()


def with_release_file(
    files: Mapping[str, PlannedFile], origin: Origin, commits: Commits
) -> dict[str, PlannedFile]:
    """The files of a repository by path, `release.json` among them.

    Args:
        files: Every other file.
        commits: Those of the repositories that it depends on.
    """
    stamps = tuple(stamp_of(path, file) for path, file in sorted(files.items()))
    release = ReleaseFile(
        repository=origin.name,
        content_sha256=origin.content_sha256,
        files_sha256=files_sha256(stamps),
        depends_on=tuple(
            Link(repository=name, commit=commits[name], content_sha256=content)
            for name, content in origin.depends_on.items()
        ),
        base=origin.base,
        prompt_sha256=origin.prompt_sha256,
        scores=origin.scores,
        files=stamps,
    )
    text = release.model_dump_json(indent=2) + "\n"
    return dict(sorted({**files, RELEASE_FILE: PlannedFile.rendered(text)}.items()))


def stamp_of(path: str, file: PlannedFile) -> FileStamp:
    """The stamp of a planned file."""
    return FileStamp(path=path, bytes=file.size, sha256=file.sha256)


def files_sha256(files: Iterable[FileStamp]) -> str:
    """One hash over the files of a repository."""
    return combined_sha256((file.path, file.sha256) for file in files)


PREDICTIONS = "predictions.parquet"
SCORES = "scores"
"""The folder of an adapter's repository that holds its score folders."""


@dataclass(frozen=True)
class Contents:
    """What a repository holds but `release.json`.

    Attributes:
        content_sha256: Of the folder that it is made from.
        fixed: The files that are as they stand.
        manifest: Of the folder; it is written anew for the files of the release. None for a metric.
        texts: The card and what else is written from the commits of the repositories that it depends on.
    """

    content_sha256: str
    fixed: Mapping[str, PlannedFile]
    manifest: Manifest | None
    texts: Callable[[Commits], Mapping[str, str]]
    base: ForeignBase | None = None
    prompt_sha256: str | None = None
    scores: tuple[ScoreLink, ...] = ()

    def files(self, commits: Commits, existing_card: str | None) -> dict[str, PlannedFile]:
        """Its files by path; the parts of an existing card that are not ours are kept."""
        texts = dict(self.texts(commits))
        texts[CARD] = merged_card(texts[CARD], existing_card)
        files = {**self.fixed, **{path: PlannedFile.rendered(text) for path, text in texts.items()}}
        if self.manifest is not None:
            files[MANIFEST] = _manifest_of(self.manifest, files)
        return files


def dataset(repo_id: str, build: Source[DatasetManifest], part: DatasetManifest) -> Contents:
    """The part of a build that may be published, with the rows without text that are made for it."""
    assert part.published is not None
    standoff = standoff_rows(build.manifest, part.published.standoff, build.folder)
    rows = {path: PlannedFile.made(content) for path, content in standoff.items()}
    manifest = part.model_copy(update={"outputs": (*part.outputs, *map(stamp_of, rows, rows.values()))})
    recipe = recipe_of(manifest, DatasetRecipe)
    claims, registry = load_claims(recipe), corpus_entries(recipe)
    texts = {
        CARD: render_dataset_card(manifest, claims, registry, source=repo_id),
        CROISSANT: render_croissant(manifest, registry),
        LICENSES: render_licenses(manifest, registry),
    }
    if any(file.path == AUDIT for file in build.manifest.outputs):
        texts[AUDIT] = published_audit(build.folder / AUDIT, part.published)
    return Contents(
        manifest.content_sha256,
        _files_of(Source(build.folder, part)) | rows,
        manifest,
        lambda _commits: texts,
        prompt_sha256=manifest.figures.prompt_sha256,
    )


def backbone(repo_id: str, source: Source[BackboneManifest]) -> Contents:
    """A backbone of our own making."""
    texts = {CARD: render_backbone_card(source.manifest, repo_id)}
    return Contents(
        source.manifest.content_sha256, _files_of(source), source.manifest, lambda _commits: texts
    )


def space(folder: Path) -> Contents:
    """A metric, as it lies in `metrics/`."""
    paths = [path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    files = {path.relative_to(folder).as_posix(): PlannedFile.on_disk(path) for path in sorted(paths)}
    content = combined_sha256((path, file.sha256) for path, file in files.items())
    texts = {CARD: (folder / CARD).read_text(encoding="utf-8")}
    return Contents(content, files, None, lambda _commits: texts)


def adapter(
    repo_id: str,
    depends_on: tuple[RepositoryName, ...],
    sources: Sources,
    datasets: Mapping[str, Source[DatasetManifest]],
) -> Contents:
    """An adapter with its scores, and the answers to single records where their corpus may be passed on."""
    source, scores = sources.adapters[repo_id], sources.scores[repo_id]
    figures = source.manifest.figures
    parts = [(name, *repository_of(name)) for name in depends_on]
    data_name, data_id = next(((name, one) for name, kind, one in parts if kind == "dataset"), (None, None))
    data = datasets[data_id].manifest if data_id else None
    base = sources.backbones.get(figures.base)
    files, passed_on = (
        _files_of(source),
        corpora_in((file.path for file in data.outputs), data.figures.corpora) if data else (),
    )
    for score in scores:
        files |= _score_files(score, score.manifest.figures.protocol.corpus in passed_on)
    runs = [score.manifest.figures for score in scores]

    def texts(commits: Commits) -> Mapping[str, str]:
        revision = commits[data_name] if data_name else None
        card = render_adapter_card(
            source.manifest,
            [score.manifest for score in scores],
            repo_id,
            dataset=data,
            dataset_id=data_id,
            backbone=base.manifest if base else None,
            dataset_revision=revision,
            metric_ids=[one for _, kind, one in parts if kind == "space"],
            predictions=[path for path in files if path.endswith(f"/{PREDICTIONS}")],
        )
        return {CARD: card, **(eval_results(runs, data_id, revision) if data_id else {})}

    return Contents(
        source.manifest.content_sha256,
        files,
        source.manifest,
        texts,
        base=None if base else ForeignBase(repo_id=figures.base, revision=figures.base_revision),
        prompt_sha256=figures.prompt_sha256,
        scores=tuple(
            ScoreLink(name=score.folder.name, content_sha256=score.manifest.content_sha256)
            for score in scores
        ),
    )


def _score_files(score: Source[ScoreManifest], with_predictions: bool) -> dict[str, PlannedFile]:
    """A score folder below `scores/`, with a manifest that lists what is there."""
    files = {path: file for path, file in _files_of(score).items() if with_predictions or path != PREDICTIONS}
    files[MANIFEST] = _manifest_of(score.manifest, files)
    return {f"{SCORES}/{score.folder.name}/{path}": file for path, file in files.items()}


def _files_of(source: Source[Manifest]) -> dict[str, PlannedFile]:
    return {file.path: PlannedFile.stamped(file, source.folder) for file in source.manifest.outputs}


def _manifest_of(manifest: Manifest, files: Mapping[str, PlannedFile]) -> PlannedFile:
    """A manifest that lists exactly these files."""
    outputs = tuple(stamp_of(path, file) for path, file in sorted(files.items()) if path != MANIFEST)
    return PlannedFile.rendered(
        manifest.model_copy(update={"outputs": outputs}).model_dump_json(indent=2) + "\n"
    )
