"""The files of each repository of a release: those of its folder, its card, and release.json."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, Literal, Self, TypeVar

import yaml
from pydantic import ValidationError

from dialoguellm_release.cards.card import merged_card
from dialoguellm_release.cards.croissant import render_croissant
from dialoguellm_release.cards.dataset import recipe_of, render_dataset_card, render_licenses
from dialoguellm_release.cards.metadata import corpora_in
from dialoguellm_release.cards.model import (
    AdapterLinks,
    eval_results,
    render_adapter_card,
    render_backbone_card,
)
from dialoguellm_release.corpora.registry import corpus_entries
from dialoguellm_release.errors import DataError, Problem, problems_of
from dialoguellm_release.folders import (
    MANIFEST,
    canonical_json,
    combined_sha256,
    git_blob_id,
    read_calibration,
    sha256_of,
    sha256_of_text,
)
from dialoguellm_release.hub.licenses import published_audit, standoff_rows
from dialoguellm_release.layout import AUDIT, CARD, CROISSANT, LICENSES
from dialoguellm_release.recipes.catalogue import load_claims
from dialoguellm_release.recipes.load import NAMED_BY, is_path
from dialoguellm_release.schemas.dataset_manifest import DatasetManifest, PublishedSubset
from dialoguellm_release.schemas.manifests import (
    CALIBRATION,
    AdapterManifest,
    BackboneManifest,
    FileStamp,
    Manifest,
    ScoreManifest,
)
from dialoguellm_release.schemas.recipes.dataset import DatasetRecipe
from dialoguellm_release.schemas.release import (
    RELEASE_FILE,
    ForeignBase,
    Link,
    ReleaseFile,
    ReleaseRecipe,
    RepositoryName,
    ScoreLink,
    Visibility,
    repository_name,
    repository_of,
)

PREDICTIONS = "predictions.parquet"
EVAL_TASKS = "eval.yaml"
SCORES = "scores"
"""The folder of an adapter's repository that holds its score folders."""

Held = TypeVar("Held", bound=Manifest, covariant=True)

Commits = Mapping[RepositoryName, str]
"""The known commits of repositories."""

UNKNOWN_COMMIT = "0" * 40
"""Stands for a commit that is not made yet; no repository has it, so what names it counts as changed."""


@dataclass(frozen=True)
class Source(Generic[Held]):
    """A folder that a step made."""

    folder: Path
    manifest: Held


@dataclass
class Sources:
    """The folders of a release, by repository id."""

    dataset: Source[DatasetManifest] | None = None
    backbones: dict[str, Source[BackboneManifest]] = field(default_factory=dict)
    adapters: dict[str, Source[AdapterManifest]] = field(default_factory=dict)
    scores: dict[str, list[Source[ScoreManifest]]] = field(default_factory=dict)
    spaces: dict[str, Path] = field(default_factory=dict)


@dataclass(frozen=True)
class PlannedFile:
    """A file to publish: one on disk, or rendered for the release."""

    content: Path | bytes
    size: int
    sha256: str  # of the content that was checked; what is published must still have it

    def text(self) -> str:
        """The content of a text file."""
        content = self.content if isinstance(self.content, bytes) else self.content.read_bytes()
        return content.decode()

    @cached_property
    def blob_id(self) -> str:
        """The id that git gives to the content."""
        return git_blob_id(self.content)

    @classmethod
    def rendered(cls, content: str | bytes) -> Self:
        """A content that was rendered for the release."""
        data = content.encode() if isinstance(content, str) else content
        return cls(data, len(data), hashlib.sha256(data).hexdigest())


@dataclass(frozen=True)
class RepoPlan:
    """A repository of a release, as it will be published."""

    name: RepositoryName
    content_sha256: str  # of the folder that it is made from
    fixed: Mapping[str, PlannedFile]  # the files that are published as they are
    manifest: Manifest | None  # of the folder; it is rewritten to list the published files. None for a Space
    # The card and what else is rendered from the commits of the repositories that it depends on.
    texts: Callable[[Commits], Mapping[str, str]]
    base: ForeignBase | None = None
    prompt_sha256: str | None = None
    scores: tuple[ScoreLink, ...] = ()
    # The content hash of each repository that it was made from.
    depends_on: Mapping[RepositoryName, str] = field(default_factory=dict)
    existing_card: str | None = None  # the card in the store, whose parts that are not ours are kept
    visibility: Visibility = "public"
    gated: Literal[False, "auto", "manual"] = False
    _rendered: dict[tuple[str, ...], dict[str, PlannedFile]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def files_at(self, commits: Commits) -> dict[str, PlannedFile]:
        """Its files by path; a dependency whose commit is not known is named by `UNKNOWN_COMMIT`."""
        known = {name: commits.get(name, UNKNOWN_COMMIT) for name in self.depends_on}
        at = tuple(known.values())
        if at not in self._rendered:
            self._rendered[at] = self._files(known)
        return dict(self._rendered[at])

    def _files(self, known: Commits) -> dict[str, PlannedFile]:
        texts = dict(self.texts(known))
        texts[CARD] = merged_card(texts[CARD], self.existing_card)
        files = {**self.fixed, **{path: PlannedFile.rendered(text) for path, text in texts.items()}}
        if self.manifest is not None:
            files[MANIFEST] = _manifest_of(self.manifest, files)
        stamps = tuple(stamp_of(path, file) for path, file in sorted(files.items()))
        release = ReleaseFile(
            repository=self.name,
            content_sha256=self.content_sha256,
            files_sha256=files_sha256(stamps),
            depends_on=tuple(
                Link(repository=name, commit=known[name], content_sha256=content)
                for name, content in self.depends_on.items()
            ),
            base=self.base,
            prompt_sha256=self.prompt_sha256,
            scores=self.scores,
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


def dataset(
    repo_id: str, build: Source[DatasetManifest], part: DatasetManifest, release: ReleaseRecipe
) -> RepoPlan:
    """The part of a build that may be published, with its rows without text."""
    assert part.published is not None
    standoff = standoff_rows(build.manifest, part.published.standoff, build.folder)
    rows = {path: PlannedFile.rendered(content) for path, content in standoff.items()}
    manifest = part.model_copy(update={"outputs": (*part.outputs, *map(stamp_of, rows, rows.values()))})
    recipe = recipe_of(manifest, DatasetRecipe)
    claims, registry = load_claims(recipe), corpus_entries(recipe)
    texts = {
        CARD: render_dataset_card(manifest, claims, registry, source=repo_id),
        CROISSANT: render_croissant(manifest, registry, release.tag, release.date),
        LICENSES: render_licenses(manifest, registry),
    }
    if any(file.path == AUDIT for file in build.manifest.outputs):
        texts[AUDIT] = published_audit(build.folder / AUDIT, part.published)
    if tasks := _eval_tasks(manifest, part.published):
        texts[EVAL_TASKS] = tasks
    return RepoPlan(
        repository_name("dataset", repo_id),
        manifest.content_sha256,
        _files_of(Source(build.folder, part)) | rows,
        manifest,
        lambda _commits: texts,
        prompt_sha256=manifest.figures.prompt_sha256,
    )


def _eval_tasks(manifest: DatasetManifest, published: PublishedSubset) -> str | None:
    """The tasks that `.eval_results` refer to, as in `eval-results.md` of huggingface/hub-docs."""
    withheld = {*published.left_out, *published.standoff}
    tasks = [
        {"id": name, "config": name, "split": "test"}
        for name, figures in manifest.figures.corpora.items()
        if name not in withheld and "test" in figures.splits
    ]
    content = {
        "name": "Emotion recognition in conversations",
        "description": "The emotion of an utterance, given the utterances before it in the dialogue.",
        "evaluation_framework": "dialoguellm-release",
        "tasks": tasks,
    }
    return yaml.safe_dump(content, sort_keys=False, width=1_000) if tasks else None


def backbone(repo_id: str, source: Source[BackboneManifest]) -> RepoPlan:
    """A backbone that is part of the release."""
    texts = {CARD: render_backbone_card(source.manifest, repo_id)}
    name, manifest = repository_name("model", repo_id), source.manifest
    return RepoPlan(name, manifest.content_sha256, _files_of(source), manifest, lambda _commits: texts)


def space(repo_id: str, folder: Path) -> RepoPlan:
    """A metric or an app, as it is in its bundled folder."""
    paths = [path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    files = {
        path.relative_to(folder).as_posix(): PlannedFile(path, path.stat().st_size, sha256_of(path))
        for path in sorted(paths)
    }
    content = combined_sha256((path, file.sha256) for path, file in files.items())
    texts = {CARD: (folder / CARD).read_text(encoding="utf-8")}
    return RepoPlan(repository_name("space", repo_id), content, files, None, lambda _commits: texts)


def adapter(
    repo_id: str, depends_on: tuple[RepositoryName, ...], sources: Sources, part: DatasetManifest | None
) -> RepoPlan:
    """An adapter with its scores, and its predictions where the text of their corpus is published."""
    built, scores = sources.adapters[repo_id], sources.scores[repo_id]
    source = Source(built.folder, _without_paths(built.manifest))
    figures = source.manifest.figures
    parts = [(name, *repository_of(name)) for name in depends_on]
    data_name, data_id = next(((name, one) for name, kind, one in parts if kind == "dataset"), (None, None))
    data = part if data_id else None
    base = sources.backbones.get(figures.base)
    files = _files_of(source)
    if (path := source.folder / CALIBRATION).is_file():
        files[CALIBRATION] = PlannedFile(path, path.stat().st_size, sha256_of(path))
    published = corpora_in((file.path for file in data.outputs), data.figures.corpora) if data else ()
    for score in scores:
        files |= _score_files(score, score.manifest.figures.protocol.corpus in published)
    runs = [score.manifest.figures for score in scores]

    def texts(commits: Commits) -> Mapping[str, str]:
        revision = commits[data_name] if data_name else None
        card = render_adapter_card(
            source.manifest,
            [score.manifest for score in scores],
            repo_id,
            data,
            base.manifest if base else None,
            read_calibration(source.folder, source.manifest),
            AdapterLinks(
                f"{data_id}@{revision}" if data_id and revision else data_id,
                [one for _, kind, one in parts if kind == "space"],
                [path for path in files if path.endswith(f"/{PREDICTIONS}")],
            ),
        )
        return {CARD: card, **(eval_results(runs, data_id, revision) if data_id else {})}

    return RepoPlan(
        repository_name("model", repo_id),
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


def _without_paths(manifest: AdapterManifest) -> AdapterManifest:
    """The manifest with the names of recipes and of the adapter it began from in place of their paths."""
    resolved: dict[str, Any] = dict(manifest.recipe.resolved)
    for key in NAMED_BY:
        if isinstance(name := resolved.get(key), str) and is_path(name):
            resolved[key] = Path(name).stem
    if (init := resolved.get("init_adapter")) and not init.get("revision"):  # a folder
        resolved["init_adapter"] = {**init, "path": Path(init["path"]).name}
    if resolved == manifest.recipe.resolved:
        return manifest
    stamp = {"resolved": resolved, "sha256": sha256_of_text(canonical_json(resolved))}
    return manifest.model_copy(update={"recipe": manifest.recipe.model_copy(update=stamp)})


def _score_files(score: Source[ScoreManifest], with_predictions: bool) -> dict[str, PlannedFile]:
    """A score folder below `scores/`, with a manifest that lists its files."""
    files = {path: file for path, file in _files_of(score).items() if with_predictions or path != PREDICTIONS}
    files[MANIFEST] = _manifest_of(score.manifest, files)
    return {f"{SCORES}/{score.folder.name}/{path}": file for path, file in files.items()}


def _files_of(source: Source[Manifest]) -> dict[str, PlannedFile]:
    return {
        file.path: PlannedFile(source.folder / file.path, file.bytes, file.sha256)
        for file in source.manifest.outputs
    }


def _manifest_of(manifest: Manifest, files: Mapping[str, PlannedFile]) -> PlannedFile:
    """A manifest that lists exactly these files, but for itself and the calibration."""
    listed = ((path, file) for path, file in sorted(files.items()) if path not in (MANIFEST, CALIBRATION))
    outputs = tuple(stamp_of(path, file) for path, file in listed)
    return PlannedFile.rendered(
        manifest.model_copy(update={"outputs": outputs}).model_dump_json(indent=2) + "\n"
    )


def read_release_file(path: Path) -> ReleaseFile:
    """A `release.json`; raises a `DataError` where it does not exist or is damaged."""
    try:
        content = path.read_bytes()
    except OSError as error:
        what = f"cannot be read: {error.strerror}"
        raise DataError(Problem(str(path), what, code="hub.no_release_file")) from error
    return parse_release_file(content, str(path))


def parse_release_file(content: bytes | str, where: str) -> ReleaseFile:
    """The content of a `release.json`; raises a `DataError` where it is damaged."""
    try:
        return ReleaseFile.model_validate_json(content)
    except ValidationError as error:
        what = "is not a release.json"
        raise DataError(problems_of(error, where, what, code="hub.bad_release_file")) from error
