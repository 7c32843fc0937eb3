"""What must hold of the folders of a release before any of it is published."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from dialoguellm_release.dataset.parquet import record_schema, sft_schema
from dialoguellm_release.errors import Problem
from dialoguellm_release.folders import canonical_json, sha256_of_text
from dialoguellm_release.layout import DataFile
from dialoguellm_release.schemas.corpus import (
    DISTRIBUTIONS,
    CorpusEntry,
    CorpusLicense,
    Distribution,
)
from dialoguellm_release.schemas.labels import CorpusName
from dialoguellm_release.schemas.manifest import (
    AdapterManifest,
    BackboneManifest,
    DatasetManifest,
    Manifest,
    ScoreManifest,
)
from dialoguellm_release.schemas.recipes.dataset import DatasetRecipe
from dialoguellm_release.schemas.recipes.release import Visibility

WEIGHTS = "adapter_model.safetensors"
CONFIG = "adapter_config.json"
_PICKLES = frozenset({".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib"})
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


def pickle_problems(folder: Path, manifest: Manifest) -> Iterator[Problem]:
    """Files that could run code when they are read."""
    for file in manifest.outputs:
        if Path(file.path).suffix.lower() in _PICKLES:
            what = "may be a pickle, which can run code when it is read"
            yield Problem(str(folder / file.path), what, fix="use safetensors")


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
    columns = (sft_schema() if held.is_sft else record_schema()).names
    if (names := pq.read_schema(path).names) != columns:
        what = "has other columns than a build writes"
        yield Problem(str(path), what, ", ".join(columns), ", ".join(names), again)
    prefix = f"{held.corpus}/{held.split}/"
    strays = ids.filter(pc.invert(pc.fill_null(pc.starts_with(ids, prefix), fill_value=False)))
    if len(strays):
        what = "holds rows of another corpus or split than its path says"
        yield Problem(str(path), what, f"ids that begin with {prefix}", str(strays[0].as_py()), again)


def adapter_problems(
    folder: Path,
    adapter: AdapterManifest,
    dataset: DatasetManifest | None,
    backbones: Mapping[str, BackboneManifest],
) -> Iterator[Problem]:
    """Where an adapter is empty, or does not belong to the dataset and the backbones of the release.

    Args:
        dataset: None where the release has none.
        backbones: The release's own, by repository id.
    """
    figures = adapter.figures
    yield from _weight_problems(folder / WEIGHTS)
    if dataset and figures.dataset_content_sha256 != dataset.content_sha256:
        yield Problem(
            str(folder),
            "was trained on another dataset than the one of this release",
            expected=f"content {dataset.content_sha256}",
            got=f"content {figures.dataset_content_sha256}",
            fix="train it again on this dataset",
        )
    if figures.base not in backbones and not _HUB_ID.fullmatch(figures.base):
        yield Problem(
            str(folder),
            "its base is neither a backbone of this release nor the id of a model on the Hub",
            expected=" or ".join(sorted(backbones)) or "owner/name",
            got=figures.base,
        )
    backbone = backbones.get(figures.base)
    if backbone and figures.base_content_sha256 != backbone.content_sha256:
        yield Problem(
            str(folder),
            "was trained on other weights than those of the backbone of this release",
            expected=f"content {backbone.content_sha256}",
            got=f"content {figures.base_content_sha256}",
            fix="train it again on this backbone",
        )
    yield from _config_problems(folder / CONFIG, figures.base)


def score_problems(folder: Path, score: ScoreManifest, adapter: AdapterManifest) -> Iterator[Problem]:
    """Where a score folder is not of this adapter, its dataset, its prompt and its base."""
    compared = (
        ("adapter", score.figures.adapter_content_sha256, adapter.content_sha256),
        ("dataset", score.figures.dataset_content_sha256, adapter.figures.dataset_content_sha256),
        ("prompt", score.figures.prompt_sha256, adapter.figures.prompt_sha256),
        ("base", score.figures.base, adapter.figures.base),
        ("base's content", score.figures.base_content_sha256, adapter.figures.base_content_sha256),
        ("base's revision", score.figures.base_revision, adapter.figures.base_revision),
    )
    for name, got, expected in compared:
        if got != expected:
            what = f"was scored with something else: the {name} is not the one of the adapter"
            yield Problem(str(folder), what, str(expected), str(got), "score the adapter again")


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


def _weight_problems(path: Path) -> Iterator[Problem]:
    """Where a safetensors file is missing, cut short or without a single number."""
    try:
        with path.open("rb") as file:
            header_bytes = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(header_bytes))
    except OSError as error:
        yield Problem(str(path), f"cannot be read: {error.strerror}", fix="train the adapter again")
        return
    except (ValueError, OverflowError, MemoryError):
        yield Problem(str(path), "is not a safetensors file", fix="train the adapter again")
        return
    ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
    if not any(ends):
        yield Problem(str(path), "holds no weights: the adapter is empty", fix="train the adapter again")
    elif 8 + header_bytes + max(ends) != path.stat().st_size:
        yield Problem(str(path), "is cut short", fix="train the adapter again")


def _config_problems(path: Path, base: str) -> Iterator[Problem]:
    try:
        named = json.loads(path.read_bytes())["base_model_name_or_path"]
    except (OSError, ValueError, KeyError, TypeError):
        yield Problem(str(path), "names no base_model_name_or_path", expected=base)
        return
    if named != base:
        yield Problem(str(path), "names another base than the manifest", expected=base, got=str(named))
