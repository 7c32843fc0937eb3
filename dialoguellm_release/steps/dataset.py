"""The steps from native files to a dataset folder: fetch, check, build, hydrate, audit."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from dialoguellm_release.cards.check import check_our_card
from dialoguellm_release.cards.croissant import render_croissant
from dialoguellm_release.cards.dataset import recipe_of, render_dataset_card, render_licenses
from dialoguellm_release.corpora import check, fetch
from dialoguellm_release.corpora.check import CheckedCorpus as CheckedCorpus
from dialoguellm_release.corpora.check import CheckedSplit as CheckedSplit
from dialoguellm_release.corpora.check import ListedCorpus as ListedCorpus
from dialoguellm_release.corpora.check import list_corpora as list_corpora
from dialoguellm_release.corpora.fetch import FetchedFile
from dialoguellm_release.corpora.registry import (
    CorpusFolders,
    bundled_corpora,
    corpus_entries,
    corpus_entry,
    load_dataset_recipe,
)
from dialoguellm_release.dataset.build import SHAPED_BY, STAGES, Build, dataset_sha256, write_dataset
from dialoguellm_release.dataset.check import content_problems
from dialoguellm_release.dataset.reading import arranged
from dialoguellm_release.errors import DataError, MissingExtraError, Problem
from dialoguellm_release.folders import (
    canonical_json,
    file_problems,
    read_manifest,
    sha256_of_text,
    write_text,
)
from dialoguellm_release.layout import CROISSANT, LICENSES
from dialoguellm_release.leakage.audit import audit_between, make_ledger
from dialoguellm_release.leakage.turns import read_turns
from dialoguellm_release.progress import progress
from dialoguellm_release.prompts import prompt_of
from dialoguellm_release.recipes.catalogue import load_claims
from dialoguellm_release.recipes.load import Loaded
from dialoguellm_release.records import paused_garbage_collection
from dialoguellm_release.resources import recording, resource_folder
from dialoguellm_release.schemas.audit import Audit
from dialoguellm_release.schemas.claims import ClaimsRecipe
from dialoguellm_release.schemas.dataset_manifest import DatasetFigures, DatasetManifest, VideoProvenance
from dialoguellm_release.schemas.labels import CorpusName
from dialoguellm_release.schemas.recipes.dataset import DatasetRecipe
from dialoguellm_release.step import BUILD, Inputs, Output, StepResult, StrPath, folder_name, run_step


def fetch_corpora(
    names: Sequence[str], to: StrPath, *, mirror: str | None = None, warn: Callable[[str], None] | None = None
) -> list[FetchedFile]:
    """Downloads the files of corpora that have an official address; only a known hash is accepted.

    Args:
        names: Corpora with a bundled corpus file.
        to: The folder that gets a sub-folder for each corpus.
        mirror: An address under which `CORPUS/FILE` is tried before the official addresses.
        warn: Called with a warning on addresses that were not tested when this version was made.

    Returns:
        The files, downloaded now or present before.

    Raises:
        DataError: A corpus has to be asked for (and whom), a file that is there is another one, or a
            file could not be fetched.

    Example:
        >>> from dialoguellm_release.corpora.registry import bundled_corpora
        >>> fetch_corpora(bundled_corpora(), "corpora")  # doctest: +SKIP
    """
    entries = [corpus_entry(name) for name in corpus_names(names, "NAME")]
    for entry in entries:
        if warn and not all(one.verified for one in entry.downloads):
            untried = f"the addresses of {entry.title} could not be tried when this version was made"
            warn(f"warning: {untried}; a file is taken only with the known hash")
    return fetch.fetch_corpora(entries, Path(to), mirror=mirror)


def check_corpora(sources: StrPath, recipe: StrPath = "paper") -> list[CheckedCorpus]:
    """Reads each corpus that a folder holds, and reports what the readers find.

    Args:
        sources: Folder with one sub-folder a corpus in its native layout.
        recipe: The dataset recipe whose counts are expected.

    Returns:
        Each corpus with its counts and problems.

    Raises:
        DataError: The folder holds none of the recipe's corpora.

    Example:
        >>> check_corpora("corpora")  # doctest: +SKIP
    """
    loaded, own = load_dataset_recipe(os.fspath(recipe))
    checked = list(check.check_corpora(CorpusFolders(Path(sources), own), loaded.recipe))
    if not checked:
        wanted = ", ".join(f"{name}/" for name in loaded.recipe.corpora)
        what, expected, code = "holds no corpus", f"at least one of {wanted}", "corpora.no_corpus_found"
        raise DataError(Problem(str(sources), what, expected, code=code), outcome="nothing was changed")
    return checked


def corpora_of(recipe: StrPath) -> tuple[CorpusName, ...]:
    """The corpora that a dataset recipe names, in its order."""
    return tuple(load_dataset_recipe(os.fspath(recipe))[0].recipe.corpora)


def corpus_names(
    names: Collection[str], where: str, among: Collection[CorpusName] | None = None
) -> tuple[CorpusName, ...]:
    """The named corpora in the order of those that are known."""
    known = tuple(dict.fromkeys((*(among or ()), *bundled_corpora())))
    if unknown := sorted(set(names) - set(known)):
        expected, got, code = ", ".join(known), ", ".join(unknown), "corpora.unknown_name"
        raise DataError(Problem(where, "not a corpus", expected, got, code=code))
    return tuple(name for name in known if name in names)


@recording()
def build_dataset(
    recipe: StrPath,
    sources: StrPath | None = None,
    out: StrPath | None = None,
    *,
    skip: Collection[str] = (),
    video: StrPath | None = None,
    overrides: Sequence[str] = (),
    again: bool = False,
    replace: bool = False,
) -> StepResult[DatasetManifest]:
    """Builds the dataset folder of a recipe from the native files of its corpora.

    Without the extra `figures` it has no figures.

    Args:
        recipe: Name of a bundled dataset recipe, or a path.
        sources: Folder with one sub-folder a corpus in its native layout; None takes the synthetic
            corpora where the recipe is for them.
        out: The folder to write, when the build is complete; None is `build/dataset`.
        skip: Corpora of the recipe to leave out.
        video: Folder that `describe_clips` made; None leaves the records without video descriptions.
        overrides: Settings `key.key=value` of the recipe.
        again: Build even where the folder is current.
        replace: Replace the dataset of another recipe, or with other corpora skipped.

    Returns:
        The folder and its manifest.

    Raises:
        RecipeError: The recipe is not valid.
        DataError: Something is wrong in the corpora, the counts miss what the recipe expects, or the folder
            holds another dataset.

    Example:
        >>> build_dataset("demo", out="build/demo/dataset")  # doctest: +SKIP
        StepResult(build/demo/dataset: dataset, new, content aa136ead0b1c)
    """
    with recording(on=False):  # the recipe is compared as it was resolved, with its corpus files in it
        loaded, own_sources = load_dataset_recipe(os.fspath(recipe), overrides)
    target = Path(out or BUILD / folder_name("dataset", overrides))
    skipped = corpus_names(skip, "--skip", loaded.recipe.corpora)
    left_out = [name for name in skipped if name in loaded.recipe.corpora]
    folders = _folders(loaded, own_sources, Path(sources) if sources else None, left_out)
    texts, provenance = arranged(loaded, *_descriptions(video))
    claims = load_claims(loaded.recipe)
    prompt_of(loaded.recipe)  # a bundled one is a resource; a user's is part of the recipe
    build = Build(loaded, folders, claims, left_out, texts, provenance)

    def make(folder: Path) -> Output:
        with progress(f"building {target.name}", _expected_dialogues(loaded.recipe, left_out)) as advance:
            figures = write_dataset(build, folder, advance)
        return _dataset_output(figures, folder, build)

    inputs = Inputs(
        loaded.stamp,
        folders={"video descriptions": sha256_of_text(canonical_json(provenance))} if provenance else {},
        settings={"corpora": list(loaded.recipe.corpora), "skipped corpora": sorted(left_out)},
        packages=SHAPED_BY,
        sources=folders.sources,
        own_sources=folders.own,
    )
    finish = partial(_write_dataset_card, claims=claims)
    return run_step(DatasetManifest, target, inputs, make, finish, again=again, replace=replace)


@recording()
def hydrate_dataset(
    published: StrPath,
    sources: StrPath,
    out: StrPath = BUILD / "dataset",
    *,
    skip: Collection[str] = (),
    again: bool = False,
    replace: bool = False,
) -> StepResult[DatasetManifest]:
    """Completes a published dataset with your own copies of what was published without text.

    The result is proven to be the dataset that was built by its `content_sha256`; else nothing is written.

    Args:
        published: Folder of the published copy, or `owner/name[@revision]` of a dataset on the Hub.
        sources: Folder with one sub-folder a withheld corpus in its native layout.
        out: The folder to write, when the dataset is complete.
        skip: Corpora to leave out, which need no copy. `leaks` then name no split of theirs.
        again: Make it even where the folder is current.
        replace: Replace the dataset of another recipe, or with other corpora skipped.

    Returns:
        The folder and its manifest.

    Raises:
        DataError: The published copy is not whole, a corpus is missing, or a copy differs: then with every
            record that does.

    Example:
        >>> hydrate_dataset("dialoguellm/erc@v1.0.0", "corpora")  # doctest: +SKIP
        StepResult(build/dataset: dataset, new, content c1326f0faee4)
    """
    from dialoguellm_release.hub.lookup import published_folder
    from dialoguellm_release.hydration import hydrate
    from dialoguellm_release.hydration.published import open_published

    copy, target, native = open_published(published_folder(str(published))), Path(out), Path(sources)
    if target.resolve() == copy.folder.resolve():
        fix = "name another folder with --out"
        raise DataError(
            Problem(str(out), "is the published copy itself", fix=fix, code="hydration.same_folder")
        )
    loaded = copy.loaded
    claims = load_claims(loaded.recipe)
    left_out = frozenset(corpus_names(skip, "--skip", copy.manifest.figures.corpora))
    copy = dataclasses.replace(copy, skip=left_out)
    skipped = {*copy.manifest.figures.skipped, *left_out}
    build = Build(loaded, CorpusFolders(native), claims, skipped)

    def make(folder: Path) -> Output:
        hydrate.check_sources(copy, native)
        with progress(f"comparing {native.name}", copy.standoff_rows) as advance:
            hydrate.check_copies(copy, native, advance)
        dialogues = STAGES * sum(copy.manifest.figures.dialogues.values())
        with progress(f"hydrating {target.name}", dialogues) as advance:
            figures = hydrate.write_hydrated(copy, build, folder, advance)
        return _dataset_output(figures, folder, build, set(copy.withheld))

    inputs = Inputs(
        copy.manifest.recipe,
        folders={"published copy": copy.manifest.content_sha256},
        settings={"corpora": list(loaded.recipe.corpora), "skipped corpora": sorted(build.skip)},
        packages=SHAPED_BY,
        sources=native,
    )
    finish = partial(_write_dataset_card, claims=claims)
    return run_step(DatasetManifest, target, inputs, make, finish, again=again, replace=replace)


def _dataset_output(
    figures: DatasetFigures, folder: Path, build: Build, read: Collection[CorpusName] | None = None
) -> Output:
    """What the manifest says of data files that are written, with the figures drawn where matplotlib is."""
    from dialoguellm_release.dataset.figures import write_figures

    own = {name: one.entry.title for name, one in build.recipe.corpora.items() if one.entry}
    with suppress(MissingExtraError):
        write_figures(folder, figures, build.claims, synthetic=build.recipe.synthetic, titles=own)
    files = (
        file
        for name, corpus in figures.corpora.items()
        if read is None or name in read
        for file in corpus.files
    )
    return Output(dataset_sha256(figures), {"figures": figures}, tuple(files))


def _write_dataset_card(folder: Path, manifest: DatasetManifest, claims: ClaimsRecipe | None) -> None:
    """Writes what tells of the data files: the card, the licences and the Croissant metadata."""
    entries = corpus_entries(recipe_of(manifest, DatasetRecipe))
    write_text(folder / CROISSANT, render_croissant(manifest, entries))
    write_text(folder / LICENSES, render_licenses(manifest, entries))
    write_text(folder / "README.md", render_dataset_card(manifest, claims, entries))


def check_dataset(dataset: StrPath = BUILD / "dataset") -> list[Problem]:
    """Checks a dataset folder against its manifest, schema, recipe and card.

    Args:
        dataset: Folder that `build_dataset` made, or a published copy of one.

    Returns:
        Everything that is wrong; empty where nothing is.

    Raises:
        DataError: There is no dataset folder.

    Example:
        >>> check_dataset("build/dataset")  # doctest: +SKIP
        []
    """
    dataset = Path(dataset)
    manifest = read_manifest(dataset, DatasetManifest)
    rules = recipe_of(manifest, DatasetRecipe).clean
    records = sum(manifest.figures.records.values())
    problems = list(file_problems(dataset, manifest))
    with progress(f"checking {dataset.name}", records) as advance, paused_garbage_collection():
        problems += content_problems(dataset, manifest, rules, advance)
    card = dataset / "README.md"
    if card.is_file():
        text = card.read_text(encoding="utf-8", errors="replace")  # a damaged byte is a wrong hash already
        problems += check_our_card(text, [file.path for file in manifest.outputs])
    return problems


def audit_dataset(dataset: StrPath = BUILD / "dataset", against: StrPath | None = None) -> Audit:
    """Finds what held-out splits share with training splits, and what repeats or contradicts itself.

    Args:
        dataset: Folder that `build_dataset` made; it is read and not changed.
        against: Another one, to compare the two before they are mixed: only what concerns both is in the
            audit. A corpus that both have is named `other_CORPUS` where it is of this one.

    Returns:
        The audit; its `figures` are the same in numbers.

    Raises:
        DataError: A folder is no dataset, or does not agree with its manifest.

    Example:
        >>> audit_dataset("build/dataset").figures.pairs_without_overlap  # doctest: +SKIP
        7
    """
    first, other = Path(dataset), Path(against) if against else None
    manifests = [read_manifest(folder, DatasetManifest) for folder in (first, other) if folder]
    rules = recipe_of(manifests[0], DatasetRecipe).clean
    records = sum(sum((one.published or one.figures).records.values()) for one in manifests)
    with progress(f"reading {first.name}", records) as advance:
        turns, second = read_turns(first, advance, other)
    audit = make_ledger(turns, rules).audit
    return audit_between(audit, second) if other else audit


def _descriptions(video: StrPath | None) -> tuple[dict[str, str], VideoProvenance | None]:
    """Descriptions by record id, and where they are from; none without a video folder."""
    if video is None:
        return {}, None
    from dialoguellm_release.video.ledger import read_descriptions

    return read_descriptions(Path(video))


def _folders(
    loaded: Loaded[DatasetRecipe],
    own: Mapping[CorpusName, Path],
    sources: Path | None,
    left_out: Collection[CorpusName],
) -> CorpusFolders:
    """Where the native files of each corpus are."""
    if sources is None and loaded.recipe.synthetic:
        sources = resource_folder("synthetic_corpora")
    folders = CorpusFolders(sources, own)
    built = [name for name in loaded.recipe.corpora if name not in left_out]
    if lacking := folders.lacking(built):
        what = f"the recipe {loaded.name} needs the native files of its corpora"
        fix = f"name the folder that holds {', '.join(f'{name}/' for name in lacking)}"
        raise DataError(Problem("--sources", what, fix=fix, code="dataset.no_sources"))
    return folders


def _expected_dialogues(recipe: DatasetRecipe, left_out: Collection[CorpusName]) -> int | None:
    """How many dialogues a build expects to read; None where the recipe does not say."""
    built = [one for name, one in recipe.corpora.items() if name not in left_out]
    return STAGES * sum(split.dialogues for one in built for split in one.expect.values()) or None
