"""The steps around a dataset folder: build it, hydrate a published copy, check it, audit it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from dialoguellm_release.errors import DataError, MissingExtraError, Problem
from dialoguellm_release.folders import read_manifest, staged, stamps, write_manifest, write_text
from dialoguellm_release.layout import CROISSANT, LICENSES
from dialoguellm_release.recipes.catalogue import load_claims, load_recipe
from dialoguellm_release.recipes.load import Loaded
from dialoguellm_release.resources import resource_folder
from dialoguellm_release.schemas.claims import ClaimsRecipe
from dialoguellm_release.schemas.dataset_manifest import DatasetManifest, VideoProvenance
from dialoguellm_release.schemas.labels import CorpusName
from dialoguellm_release.schemas.recipes.dataset import DatasetRecipe
from dialoguellm_release.step import BUILD, StepResult, current_folder
from dialoguellm_release.steps.corpora import corpus_names

if TYPE_CHECKING:
    from dialoguellm_release.schemas.audit import Audit


def build_dataset(
    recipe: str,
    sources: Path | None = None,
    out: Path = BUILD / "dataset",
    *,
    skip: Collection[str] = (),
    video: Path | None = None,
    overrides: Sequence[str] = (),
    again: bool = False,
) -> StepResult[DatasetManifest]:
    """The dataset folder of a recipe; it has no figures where the extra `figures` is not installed.

    Args:
        recipe: Name of a bundled dataset recipe, or a path.
        sources: Folder with one sub-folder a corpus in its native layout; None takes the synthetic
            corpora where the recipe is for them.
        out: Replaced when the build is complete.
        skip: Corpora of the recipe to leave out.
        video: Folder that `describe_clips` made; None leaves the records without video descriptions.
        overrides: Settings `key.key=value` of the recipe.
        again: Build even where the folder is current.

    Raises:
        RecipeError: The recipe is not valid.
        DataError: Something is wrong in the corpora, or the counts miss what the recipe expects.
    """
    from dialoguellm_release.dataset.build import is_unchanged, write_dataset
    from dialoguellm_release.dataset.video import arranged, has_video, with_video
    from dialoguellm_release.progress import progress

    loaded = load_recipe(recipe, "dataset", DatasetRecipe, overrides)
    left_out = corpus_names(skip, "--skip")
    folder = sources or _synthetic_sources(loaded)
    texts, provenance = arranged(loaded, *_descriptions(video))

    def is_the_same(made: DatasetManifest) -> bool:
        return is_unchanged(made, loaded, folder, left_out) and has_video(made, provenance)

    if not again and (found := current_folder(out, is_the_same, DatasetManifest)):
        return found
    claims = load_claims(loaded.recipe)
    with staged(out, "dataset") as staging:
        with progress(f"building {out.name}", _expected_dialogues(loaded.recipe, left_out)) as advance:
            manifest = write_dataset(loaded, claims, folder, staging, left_out, advance, descriptions=texts)
        manifest = with_video(manifest, staging, provenance)
        manifest = _described(manifest, staging, claims)
    return StepResult(out, manifest, was_current=False)


def hydrate_dataset(
    published: str | Path, sources: Path, out: Path = BUILD / "dataset", *, again: bool = False
) -> StepResult[DatasetManifest]:
    """The full dataset folder again, from its published copy and copies of what was published without text.

    What is made is proven to be the dataset that was built by its `content_sha256`; else nothing is written.

    Args:
        published: Folder of the published copy, or `owner/name[@revision]` of a dataset on the Hub.
        sources: Folder with one sub-folder a withheld corpus in its native layout.
        out: Replaced when the dataset is complete.
        again: Make it even where the folder is current.

    Raises:
        DataError: The published copy is not whole, a corpus is missing, or a copy differs: then with every
            record that does.
    """
    from dialoguellm_release.dataset.passes import PASSES
    from dialoguellm_release.hub.lookup import published_folder
    from dialoguellm_release.hydration import hydrate
    from dialoguellm_release.hydration.published import open_published
    from dialoguellm_release.progress import progress

    copy = open_published(published_folder(str(published)))
    if out.resolve() == copy.folder.resolve():
        raise DataError(
            Problem(str(out), "is the published copy itself", fix="name another folder with --out")
        )
    if not again and (
        found := current_folder(out, lambda made: hydrate.is_hydrated(made, copy, sources), DatasetManifest)
    ):
        return found
    loaded = copy.loaded
    claims = load_claims(loaded.recipe)
    hydrate.check_sources(copy, loaded.recipe, sources)
    with progress(f"comparing {sources.name}", copy.standoff_rows) as advance:
        hydrate.check_copies(copy, loaded.recipe, sources, advance)
    with staged(out, "dataset") as staging:
        dialogues = PASSES * sum(copy.manifest.figures.dialogues.values())
        with progress(f"hydrating {out.name}", dialogues) as advance:
            manifest = hydrate.write_hydrated(copy, loaded, claims, sources, staging, advance)
        manifest = _described(manifest, staging, claims)
    return StepResult(out, manifest, was_current=False)


def check_dataset(dataset: Path = BUILD / "dataset") -> list[Problem]:
    """Everything in a dataset folder that is not as its manifest, schema, recipe and card say.

    Args:
        dataset: Folder that `build_dataset` made, or a published copy of one.

    Raises:
        DataError: There is no dataset folder.
    """
    from dialoguellm_release.cards.check import check_card
    from dialoguellm_release.cards.provenance import recipe_of
    from dialoguellm_release.dataset.check import dataset_problems
    from dialoguellm_release.progress import progress

    manifest = read_manifest(dataset, DatasetManifest)
    rules = recipe_of(manifest, DatasetRecipe).clean
    with progress(f"checking {dataset.name}", sum(manifest.figures.records.values())) as advance:
        problems = list(dataset_problems(dataset, manifest, rules, advance))
    card = dataset / "README.md"
    if card.is_file():
        problems += check_card(card.read_text(encoding="utf-8"), [file.path for file in manifest.outputs])
    return problems


def audit_dataset(dataset: Path = BUILD / "dataset") -> Audit:
    """What the held-out splits of a dataset share with its training splits, and what contradicts itself.

    Args:
        dataset: Folder that `build_dataset` made; it is read and not changed.

    Raises:
        DataError: The folder is no dataset, or not what its manifest says.
    """
    from dialoguellm_release.cards.provenance import recipe_of
    from dialoguellm_release.leakage.audit import COMPARISONS, make_ledger
    from dialoguellm_release.leakage.turns import read_turns
    from dialoguellm_release.progress import progress

    manifest = read_manifest(dataset, DatasetManifest)
    rules = recipe_of(manifest, DatasetRecipe).clean
    there = (manifest.published or manifest.figures).records
    records = {split: count for split, count in there.items() if count}
    with progress(f"reading {dataset.name}", sum(records.values())) as advance:
        turns = read_turns(dataset, records, advance)
    with progress("comparing", COMPARISONS) as advance:
        return make_ledger(turns, rules, advance).audit


def _descriptions(video: Path | None) -> tuple[dict[str, str], VideoProvenance | None]:
    """Descriptions by record id, and where they are from; none without a video folder."""
    if video is None:
        return {}, None
    from dialoguellm_release.video.descriptions import read_descriptions

    found = read_descriptions(video)
    return found.texts, found.provenance


def _described(manifest: DatasetManifest, staging: Path, claims: ClaimsRecipe | None) -> DatasetManifest:
    """The finished manifest of a dataset whose data files are there: it adds all that tells of them."""
    from dialoguellm_release.cards.croissant import render_croissant
    from dialoguellm_release.cards.dataset import render_dataset_card
    from dialoguellm_release.cards.licenses import render_licenses
    from dialoguellm_release.corpora.registry import corpus_entries
    from dialoguellm_release.dataset.figures import write_figures
    from dialoguellm_release.dataset.statistics import with_statistics

    manifest = with_statistics(manifest, staging)
    with suppress(MissingExtraError):
        write_figures(staging, manifest, claims)
    manifest = manifest.model_copy(update={"outputs": stamps(staging)})
    entries = corpus_entries()
    write_text(staging / CROISSANT, render_croissant(manifest, entries))
    write_text(staging / LICENSES, render_licenses(manifest, entries))
    write_text(staging / "README.md", render_dataset_card(manifest, claims, entries))
    manifest = manifest.model_copy(update={"outputs": stamps(staging)})
    write_manifest(staging, manifest)
    return manifest


def _synthetic_sources(loaded: Loaded[DatasetRecipe]) -> Path:
    if not loaded.recipe.synthetic:
        problem = Problem(
            "--sources",
            f"the recipe {loaded.name} needs the native files of its corpora",
            fix="name the folder that holds meld/, emorynlp/, dailydialog/, meisd/ and iemocap/",
        )
        raise DataError(problem)
    return resource_folder("synthetic_corpora")


def _expected_dialogues(recipe: DatasetRecipe, left_out: Collection[CorpusName]) -> int | None:
    """How many dialogues a build expects to read; None where the recipe does not say."""
    from dialoguellm_release.dataset.passes import PASSES

    built = [one for name, one in recipe.corpora.named().items() if name not in left_out]
    return PASSES * sum(split.dialogues for one in built for split in one.expect.values()) or None
