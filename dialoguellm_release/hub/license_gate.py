"""The gate of the licences: no more of a corpus leaves than they, or a right that is stated, allow."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from dialoguellm_release.cards.provenance import recipe_of
from dialoguellm_release.dataset.parquet import record_schema, sft_schema, standoff_schema
from dialoguellm_release.errors import Problem
from dialoguellm_release.folders import canonical_json, sha256_of_text
from dialoguellm_release.layout import DataFile, data_file, standoff_file
from dialoguellm_release.schemas.corpus import (
    DISTRIBUTIONS,
    CorpusEntry,
    CorpusLicense,
    Distribution,
)
from dialoguellm_release.schemas.dataset_manifest import DatasetManifest
from dialoguellm_release.schemas.labels import OWN, CorpusName
from dialoguellm_release.schemas.recipes.dataset import DatasetRecipe
from dialoguellm_release.schemas.recipes.release import Visibility


def license_problems(
    folder: Path,
    manifest: DatasetManifest,
    recipe: DatasetRecipe,
    corpora: Mapping[CorpusName, CorpusEntry],
    visibility: Visibility,
) -> Iterator[Problem]:
    """Where more of a corpus would leave than its licences allow, or it cannot be told.

    A right that the recipe states counts in a private repository only.

    Args:
        recipe: The one in the manifest.
        corpora: The registry's entries; they decide, whatever a manifest says.
        visibility: Of the repository.
    """
    if sha256_of_text(canonical_json(dict(manifest.recipe.resolved))) != manifest.recipe.sha256:
        where = f"{folder}: recipe {manifest.recipe.name}"
        yield Problem(where, "was changed after the build", fix="build the dataset again")
    asked = recipe.corpora.named()
    for name, figures in manifest.figures.corpora.items():
        if name == OWN:
            what = "is data of a user's own: no licence of it is known, and it is never published"
            fix = "publish an adapter that was trained on it without it: leave dataset out of the release"
            yield Problem(f"{folder}: {name}", what, fix=fix)
            continue
        entry = corpora[name]
        of_registry = entry.text_license.id, entry.text_license.redistribute == "yes"
        if (figures.license, figures.may_redistribute) != of_registry:
            yield Problem(
                f"{folder}: {name}",
                "its manifest tells of another licence than the registry",
                expected="{}, may be passed on: {}".format(*of_registry),
                got=f"{figures.license}, may be passed on: {figures.may_redistribute}",
                fix="build the dataset again",
            )
        if name not in asked:
            fix = "build the dataset again"
            yield Problem(f"{folder}: {name}", "is in the dataset, but not in its recipe", fix=fix)
        elif _rank(asked[name].distribution) > _rank(entry.allowed) and not (
            visibility == "private" and name in recipe.rights
        ):
            yield Problem(
                f"{folder}: corpora.{name}.distribution",
                f"the recipe {manifest.recipe.name} lets more of {entry.title} leave than its licences do "
                f"(text: {_terms(entry.text_license)}; labels: {_terms(entry.label_license)})",
                expected=" or ".join(DISTRIBUTIONS[: _rank(entry.allowed) + 1]),
                got=asked[name].distribution,
                fix=_fix(name, entry, name in recipe.rights),
            )


def row_problems(path: Path, held: DataFile) -> Iterator[Problem]:
    """Where a data file has other columns than a build writes, or rows of another corpus or split."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    again = "build the dataset again"
    try:
        ids = pq.read_table(path, columns=["id"], partitioning=None)["id"]
    except (pa.ArrowException, KeyError) as error:
        yield Problem(str(path), f"its rows cannot be told apart: {error}", fix=again)
        return
    yield from _column_problems(path, (sft_schema() if held.is_sft else record_schema()).names)
    prefix = f"{held.corpus}/{held.split}/"
    strays = ids.filter(pc.invert(pc.fill_null(pc.starts_with(ids, prefix), fill_value=False)))
    if len(strays):
        what = "holds rows of another corpus or split than its path says"
        yield Problem(str(path), what, f"ids that begin with {prefix}", str(strays[0].as_py()), again)


def _column_problems(path: Path, columns: list[str]) -> Iterator[Problem]:
    import pyarrow.parquet as pq

    if (names := pq.read_schema(path).names) != columns:
        what, fix = "has other columns than a build writes", "build the dataset again"
        yield Problem(str(path), what, ", ".join(columns), ", ".join(names), fix)


def copy_problems(
    folder: Path,
    manifest: DatasetManifest,
    corpora: Mapping[CorpusName, CorpusEntry],
    visibility: Visibility,
) -> Iterator[Problem]:
    """Where a published copy holds more of a corpus than its recipe, and the registry, let leave.

    Args:
        corpora: The registry's entries.
        visibility: Of the repository that the copy is from.
    """
    recipe = recipe_of(manifest, DatasetRecipe)
    yield from license_problems(folder, manifest, recipe, corpora, visibility)
    asked = {name: one.distribution for name, one in recipe.corpora.named().items()}
    for path in sorted(path for path in folder.rglob("*.parquet") if ".git" not in path.parts):
        name = path.relative_to(folder).as_posix()
        if held := data_file(name):
            yield from row_problems(path, held)
            if asked.get(held.corpus) != "full":
                yield Problem(name, f"holds text of {held.corpus}, which may not be passed on")
        elif standoff := standoff_file(name):
            yield from _column_problems(path, standoff_schema().names)
            if asked.get(standoff.corpus, "exclude") == "exclude":
                yield Problem(name, f"holds labels of {standoff.corpus}, which may not be passed on")
        else:
            yield Problem(name, "nobody knows whether its text may be passed on: it belongs to no corpus")


def _rank(distribution: Distribution) -> int:
    return DISTRIBUTIONS.index(distribution)


def _terms(terms: CorpusLicense) -> str:
    return f"{terms.id}, may be passed on: {terms.redistribute}"


def _fix(name: CorpusName, entry: CorpusEntry, is_right_stated: bool) -> str:
    if is_right_stated:
        private = f"rights.{name} counts in a private repository only: set dataset.visibility in the release"
    else:
        private = (
            f"if you hold the right, say which in the recipe under rights.{name}, and set "
            "dataset.visibility to private in the release"
        )
    return f"build with --set corpora.{name}.distribution={entry.allowed}; or, {private}"
