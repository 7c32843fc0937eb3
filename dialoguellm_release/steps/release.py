"""The steps of what is published: cards checked and rendered again, a release published and verified."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dialoguellm_release.cards.card import merged_card
from dialoguellm_release.cards.check import CheckedCard as CheckedCard
from dialoguellm_release.cards.check import checked_card
from dialoguellm_release.cards.dataset import recipe_of, render_dataset_card
from dialoguellm_release.cards.model import render_adapter_card, render_backbone_card, render_score_report
from dialoguellm_release.corpora.registry import corpus_entries
from dialoguellm_release.errors import CardError, DataError, Problem
from dialoguellm_release.folders import (
    MANIFEST,
    AnyManifest,
    kind_of,
    read_calibration,
    read_manifest,
    write_text,
)
from dialoguellm_release.hub import verify
from dialoguellm_release.hub.checks import Check as Check
from dialoguellm_release.hub.checks import problems_of as problems_of
from dialoguellm_release.hub.contents import read_release_file
from dialoguellm_release.hub.lookup import Copy
from dialoguellm_release.hub.publish import Publication as Publication
from dialoguellm_release.hub.publish import Published as Published
from dialoguellm_release.hub.publish import publish_release
from dialoguellm_release.hub.store import UNFINISHED as UNFINISHED
from dialoguellm_release.hub.store import Collected as Collected
from dialoguellm_release.hub.store import open_store
from dialoguellm_release.hub.verify import Verified as Verified
from dialoguellm_release.layout import CARD
from dialoguellm_release.recipes.catalogue import load_claims, load_recipe
from dialoguellm_release.schemas.dataset_manifest import DatasetManifest
from dialoguellm_release.schemas.manifests import AdapterManifest, BackboneManifest, ScoreManifest
from dialoguellm_release.schemas.recipes.backbone import BackboneRecipe
from dialoguellm_release.schemas.recipes.dataset import DatasetRecipe
from dialoguellm_release.schemas.release import RELEASE_FILE, ReleaseRecipe, repository_of
from dialoguellm_release.step import BUILD, StrPath


@dataclass(frozen=True)
class RenderedCard:
    """A card as this version renders it."""

    kind: str  # of the folder
    text: str
    absent: tuple[str, ...] = ()  # what the card would tell more of, were it at hand


def check_cards(paths: Sequence[StrPath]) -> list[CheckedCard]:
    """Checks cards of this package or of anybody, without asking the Hub.

    Beside a manifest of a dataset or a backbone, the licence has to be the one that follows from it.

    Args:
        paths: Cards, or folders that hold one.

    Returns:
        Each card with its problems, in the order of `paths`.

    Raises:
        CardError: There is no card at a path, or it cannot be read.

    Example:
        >>> [one.problems for one in check_cards(["build/dataset"])]  # doctest: +SKIP
        [()]
    """
    return [_with_license(checked_card(Path(path))) for path in paths]


def _with_license(card: CheckedCard) -> CheckedCard:
    """Adds where the licence of a card is not the one that follows from the manifest beside it."""
    folder = card.path.parent
    copy = Copy(folder, None, None, None, None)
    if not card.is_ours or card.path.name != CARD:
        return card
    try:
        found = verify.license_check(copy).problems
    except CardError as error:
        found = () if card.problems else error.problems
    placed = (replace(one, where=str(folder / one.where)) for one in found)
    return replace(card, problems=(*card.problems, *placed))


def render_card(
    folder: StrPath,
    *,
    dataset: StrPath | None = None,
    backbones: StrPath = BUILD / "backbones",
    scores: Sequence[StrPath] = (),
) -> RenderedCard:
    """Renders the card of a folder from its manifest and the templates of this version.

    What only a release knows is not on it: the commits of the repositories that it is linked to.

    Args:
        folder: A dataset, an adapter, a backbone or a score folder.
        dataset: What an adapter was trained on; None is `build/dataset`, where it is that one.
        backbones: Folder of the backbones that this package built.
        scores: Of an adapter: the score folders whose figures are shown.

    Returns:
        The card, its kind, and what it would say more of if it were given.

    Raises:
        CardError: There is no such folder, its kind has no card, or something given does not belong to it.
        DataError: A manifest is damaged.

    Example:
        >>> print(render_card("build/adapters/tiny").text)  # doctest: +SKIP
    """
    folder = Path(folder)
    kind = kind_of(folder)
    if kind == "dataset":
        return RenderedCard(kind, _dataset_card(folder))
    if kind == "backbone":
        return RenderedCard(kind, _backbone_card(folder))
    if kind == "adapter":
        data = Path(dataset) if dataset else None
        return _adapter_card(folder, data, Path(backbones), [Path(one) for one in scores])
    if kind == "score":
        return RenderedCard(kind, render_score_report(read_manifest(folder, ScoreManifest)))
    what = f"a folder of kind {kind} has no card" if kind else f"holds no {MANIFEST} of this package"
    expected = "the folder of a dataset, backbone, adapter or score"
    raise CardError(Problem(str(folder / MANIFEST), what, expected, code="card.no_folder"))


def write_card(card: RenderedCard, folder: StrPath, out: StrPath) -> None:
    """Writes a rendered card; what others wrote into an existing card is kept.

    Args:
        card: A card that `render_card` gave.
        folder: The folder that it was rendered from.
        out: The file to write.

    Raises:
        CardError: The file belongs to the folder, or an existing one cannot be read.

    Example:
        >>> write_card(render_card("build/dataset"), "build/dataset", "card.md")  # doctest: +SKIP
    """
    folder, out = Path(folder), Path(out)
    if folder.resolve() in out.resolve().parents:
        what = "is inside the folder, whose manifest holds the hash of each file"
        fix = "name another file, make the folder again, or publish: that renders its card"
        raise CardError(Problem(str(out), what, fix=fix, code="card.inside_folder"))
    try:
        there = out.read_text(encoding="utf-8") if out.exists() else None
    except UnicodeDecodeError as error:
        what = f"not UTF-8 at byte {error.start}"
        raise CardError(Problem(str(out), what, code="card.not_utf8")) from error
    write_text(out, merged_card(card.text, there))


def _dataset_card(folder: Path) -> str:
    manifest = read_manifest(folder, DatasetManifest)
    recipe = recipe_of(manifest, DatasetRecipe)
    entries, claims = corpus_entries(recipe), load_claims(recipe)
    return render_dataset_card(manifest, claims, entries, _published_id(folder) or str(BUILD / "dataset"))


def _backbone_card(folder: Path) -> str:
    manifest = read_manifest(folder, BackboneManifest)
    return render_backbone_card(manifest, recipe_of(manifest, BackboneRecipe).source.repo_id)


def _adapter_card(
    folder: Path, dataset: Path | None, backbones: Path, scores: Sequence[Path]
) -> RenderedCard:
    manifest = read_manifest(folder, AdapterManifest)
    figures = manifest.figures
    data = _of_adapter(dataset or BUILD / "dataset", DatasetManifest, figures.dataset_content_sha256)
    if dataset and data is None:
        what = "is not the dataset that the adapter was trained on"
        expected = f"content {figures.dataset_content_sha256}"
        raise CardError(Problem(str(dataset), what, expected, code="card.other_dataset"))
    backbone = None
    is_built = figures.base_content_sha256 is not None and not figures.base_is_folder
    if is_built:
        named = Path(str(manifest.recipe.resolved["backbone"])).stem
        backbone = _of_adapter(backbones / named, BackboneManifest, str(figures.base_content_sha256))
    runs = [read_manifest(one, ScoreManifest) for one in scores]
    what, expected = "was not made with this adapter", f"content {manifest.content_sha256}"
    strangers = [
        Problem(str(one), what, expected, code="card.other_adapter")
        for one, run in zip(scores, runs, strict=True)
        if run.figures.system.adapter_content_sha256 != manifest.content_sha256
    ]
    if strangers:
        raise CardError(strangers)
    absent = [
        *(["the dataset that it was trained on (--dataset)"] if data is None else []),
        *(["its backbone (--backbones)"] if is_built and backbone is None else []),
    ]
    name = _published_id(folder) or manifest.recipe.name
    text = render_adapter_card(manifest, runs, name, data, backbone, read_calibration(folder, manifest))
    return RenderedCard("adapter", text, tuple(absent))


def _of_adapter(folder: Path, model: type[AnyManifest], content_sha256: str) -> AnyManifest | None:
    """The manifest of a folder, where it is of this content."""
    try:
        manifest = read_manifest(folder, model)
    except DataError:
        return None
    return manifest if manifest.content_sha256 == content_sha256 else None


def _published_id(folder: Path) -> str | None:
    """The id of the repository that a published folder is a copy of; None for any other."""
    path = folder / RELEASE_FILE
    return repository_of(read_release_file(path).repository)[1] if path.is_file() else None


def publish(
    recipe: StrPath,
    build: StrPath = BUILD,
    to: StrPath = "build/release",
    *,
    only: Sequence[str] = (),
    dry_run: bool = False,
    approve: Callable[[Publication], bool] | None = None,
) -> Publication:
    """Publishes a release.

    Args:
        recipe: Name of a bundled release recipe, or a path.
        build: Holds the folders that the recipe names.
        to: `hub`, or a folder; each repository is a git repository below it.
        only: Publish these alone, by key of the recipe (`dataset`, `adapters`), name or id; empty for all.
            What they were made from must be published already, under the tag of the release.
        dry_run: Plan and compare, write nothing; problems are in the checks.
        approve: Called with the plan before anything is written; None publishes without asking.

    Returns:
        What was or would be done with each repository, and what the checks found.

    Raises:
        PublishError: Something is missing, not fit to be published, or refused by the target.

    Example:
        >>> publish("demo", "build/demo", "build/release", dry_run=True)  # doctest: +SKIP
    """
    loaded = load_recipe(os.fspath(recipe), "release", ReleaseRecipe)
    store = open_store(os.fspath(to))
    return publish_release(loaded.recipe, Path(build), store, only=only, dry_run=dry_run, approve=approve)


def verify_release(
    what: StrPath, at: StrPath = "hub", *, sample: int = 32, saved: StrPath | None = None
) -> list[Verified]:
    """Verifies a published repository, or all of a release; nothing is written except caches.

    Args:
        what: `owner/name@v1.0.0`, a folder, or the name or path of a release recipe for all of it.
        at: `hub`, or a folder that was published to.
        sample: How many records of each score folder are scored again; 0 for none.
        saved: A `release.json` that was saved before; None for none.

    Returns:
        What was found of each repository.

    Raises:
        DataError: `what` is ambiguous, or the saved file is not a `release.json`.
        PublishError: The Hub cannot be reached or does not answer.
        RecipeError: There is no such release recipe.

    Example:
        >>> verify_release("demo", "build/release")  # doctest: +SKIP
    """
    return verify.verify_release(
        os.fspath(what), os.fspath(at), sample=sample, saved=Path(saved) if saved else None
    )
