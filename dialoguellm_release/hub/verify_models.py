"""Verifies that a published repository loads, and that its scores can be reproduced."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dialoguellm_release.backbones.adapters import load_adapter
from dialoguellm_release.backbones.load import load_backbone, load_model
from dialoguellm_release.backbones.weights import Base, base_of
from dialoguellm_release.cards.card import split_card
from dialoguellm_release.cards.dataset import recipe_of
from dialoguellm_release.errors import (
    CardError,
    DataError,
    MissingExtraError,
    Problem,
    RecipeError,
    ReleaseError,
)
from dialoguellm_release.folders import read_manifest
from dialoguellm_release.hub.checks import Check, check_of, not_checked
from dialoguellm_release.hub.contents import PREDICTIONS, SCORES
from dialoguellm_release.hub.lookup import Copy
from dialoguellm_release.layout import CARD
from dialoguellm_release.progress import silence_transformers
from dialoguellm_release.recipes.catalogue import load_recipe
from dialoguellm_release.recipes.load import Loaded
from dialoguellm_release.resources import metric_functions
from dialoguellm_release.schemas.dataset_manifest import DatasetManifest
from dialoguellm_release.schemas.manifests import AdapterManifest, ScoreManifest
from dialoguellm_release.schemas.recipes.backbone import BackboneRecipe, FolderSource
from dialoguellm_release.schemas.scores import METRIC_MODULE, ScoreRecipe
from dialoguellm_release.scoring.folder import write_predictions
from dialoguellm_release.scoring.model import ModelFolders, score_model

LOADING = "loading"


def loading_check(copy: Copy, scratch: Path) -> Check:
    """Whether `load_dataset` reads every config, or `PeftModel` the adapter on its base."""
    if copy.dataset:
        return _dataset_check(copy, copy.dataset, scratch)
    if copy.adapter or copy.backbone:
        return _model_check(copy, copy.adapter)
    return not_checked(LOADING, "a Space is code of its own, which is not run here")


def base_folder(copy: Copy, adapter: AdapterManifest) -> Path | str | None:
    """The base of an adapter: in its release, in the folder of its recipe, or its id in the cache."""
    for one in copy.linked:
        if one.backbone and one.backbone.content_sha256 == adapter.figures.base_content_sha256:
            return one.folder
    if backbone := folder_backbone(adapter):
        assert isinstance(backbone.recipe.source, FolderSource)
        return Path(backbone.recipe.source.path)
    if adapter.figures.base_content_sha256 is not None or adapter.figures.base_gguf_file is not None:
        return None
    from huggingface_hub import try_to_load_from_cache

    name, revision = adapter.figures.base, adapter.figures.base_revision
    found = try_to_load_from_cache(name, "config.json", revision=revision)
    return name if isinstance(found, str) else None


def folder_backbone(adapter: AdapterManifest) -> Loaded[BackboneRecipe] | None:
    """The recipe of an adapter that was trained on a folder of weights, where the same weights are here."""
    if not adapter.figures.base_is_folder:
        return None
    try:
        loaded = load_recipe(str(adapter.recipe.resolved["backbone"]), "backbone", BackboneRecipe)
        is_same = base_of(loaded.recipe, None) == Base.of(adapter.figures)
    except ReleaseError:
        return None
    return loaded if is_same else None


def why_no_base(adapter: AdapterManifest) -> str:
    """What to do where `base_folder` is None."""
    figures = adapter.figures
    if figures.base_is_folder or figures.base_gguf_file:
        recipe = Path(str(adapter.recipe.resolved["backbone"])).stem
        what = f"the adapter was trained on weights of {figures.base} that no release holds"
        return f"{what}; they are read from where the backbone recipe {recipe} says"
    if figures.base_content_sha256 is not None:
        return f"the backbone {figures.base} is not available: it is not in the release"
    at = f" --revision {figures.base_revision}" if figures.base_revision else ""
    return f"the base is not in the local cache; get it with: hf download {figures.base}{at}"


def _dataset_check(copy: Copy, dataset: DatasetManifest, scratch: Path) -> Check:
    from datasets import disable_progress_bars, load_dataset
    from datasets.exceptions import DatasetsError

    disable_progress_bars()
    metadata, _ = split_card((copy.folder / CARD).read_text(encoding="utf-8"))
    listed = metadata.get("configs")
    names = [config["config_name"] for config in listed] if isinstance(listed, list) else []
    problems: list[Problem] = []
    if not names:
        what = "lists no configs, so load_dataset cannot tell records from prompts"
        problems.append(Problem(CARD, what, code="verify.no_configs"))
    for name in names:
        where = f"{CARD}: config {name}"
        try:
            loaded = load_dataset(str(copy.folder), name, cache_dir=str(scratch))
        except (DatasetsError, ValueError, OSError, RuntimeError) as error:
            problems.append(Problem(where, f"load_dataset fails: {error}", code="verify.not_loadable"))
            continue
        if name == "default":
            problems += _split_problems(where, loaded, dataset)
    return check_of(LOADING, problems, f"load_dataset, configs {', '.join(names)}")


def _split_problems(where: str, loaded: Any, dataset: DatasetManifest) -> Iterator[Problem]:
    """Where the default config has other counts than the manifest, or labels of other names."""
    records = (dataset.published or dataset.figures).records
    expected = {split: count for split, count in records.items() if count}
    got = {split: rows.num_rows for split, rows in loaded.items()}
    if got != expected:
        what = "gives other counts than the manifest"
        yield Problem(where, what, str(expected), str(got), code="verify.other_counts")
    labels = list(dataset.figures.class_labels)
    for split, rows in loaded.items():
        names = getattr(rows.features.get("label"), "names", None)
        if names != labels:
            what, code = f"its label has other names, split {split}", "verify.other_labels"
            yield Problem(where, what, ", ".join(labels), str(names), code=code)


def _model_check(copy: Copy, adapter: AdapterManifest | None) -> Check:
    """Whether `transformers` loads a backbone, or `peft` an adapter on its base."""
    try:
        from transformers import AutoTokenizer
    except ModuleNotFoundError as error:
        return not_checked(LOADING, f"the extra train is not installed (no {error.name})")
    source = base_folder(copy, adapter) if adapter else copy.folder
    if adapter and source is None:
        return not_checked(LOADING, why_no_base(adapter))
    assert source is not None
    silence_transformers()
    revision = adapter.figures.base_revision if adapter and source == adapter.figures.base else None
    problems = []
    try:
        backbone = folder_backbone(adapter) if adapter else None
        model = load_backbone(backbone.recipe, None)[0] if backbone else load_model(source, revision=revision)
        if adapter:
            model = load_adapter(model, copy.folder)
        AutoTokenizer.from_pretrained(copy.folder, trust_remote_code=False)
    except MissingExtraError:
        return not_checked(LOADING, "the extra train is not installed (no peft)")
    except DataError as error:
        return check_of(LOADING, error.problems)
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        what = f"transformers cannot read it: {error}"
        return check_of(LOADING, [Problem(str(copy.folder), what, code="verify.not_loadable")])
    if adapter is None:
        return check_of(LOADING, [], "AutoModelForCausalLM")
    count = sum(parameter.numel() for name, parameter in model.named_parameters() if "lora_" in name)
    if count != (expected := adapter.figures.trainable_parameters):
        what, code = "has another number of LoRA parameters than the manifest says", "verify.other_parameters"
        problems.append(Problem(str(copy.folder), what, f"{expected:,}", f"{count:,}", code=code))
    return check_of(LOADING, problems, f"PeftModel on {adapter.figures.base}")


TOLERANCE = 0.1
"""How far a probability may be off: bf16 on a GPU and float32 on a CPU were up to 0.043 apart in 300 records
of SmolLM2-135M."""

MEAN_TOLERANCE = 0.02
"""How far the probabilities of a score may be off on average: these were 0.005 apart."""


def figures_check(copy: Copy) -> Check:
    """Whether each metric follows from the predictions of single records."""
    folders = _score_folders(copy)
    if not folders:
        return not_checked("figures", "it has no scores")
    checked = [folder for folder in folders if (folder / PREDICTIONS).is_file()]
    problems = [problem for folder in checked for problem in _figure_problems(folder)]
    problems += _listing_problems(copy, folders)
    note = f"{len(checked)} of {len(folders)} score folders have their predictions"
    if not checked and not problems:
        return not_checked("figures", note)
    return check_of("figures", problems, note)


def predictions_check(copy: Copy, sample: int, scratch: Path) -> Check:
    """Whether the adapter gives the published predictions for the first records."""
    adapter = copy.adapter
    folders = [folder for folder in _score_folders(copy) if (folder / PREDICTIONS).is_file()]
    if adapter is None or not folders:
        return not_checked("predictions", "it has no predictions of single records")
    if not sample:
        return not_checked("predictions", "--sample 0")
    dataset = next((one.folder for one in copy.linked if one.dataset), None)
    if dataset is None:
        return not_checked("predictions", "for a single folder, its dataset is unknown")
    base = base_folder(copy, adapter)
    if base is None:
        return not_checked("predictions", why_no_base(adapter))
    backbone = _backbone(copy, adapter)
    if backbone is None:
        return not_checked("predictions", f"no backbone recipe of this version loads {adapter.figures.base}")
    problems: list[Problem] = []
    notes = []
    for folder in folders:
        manifest = read_manifest(folder, ScoreManifest)
        recipe = _sampled(manifest, sample)
        if recipe is None:
            return not_checked("predictions", f"{folder.name} was scored by a recipe of another version")
        model = ModelFolders(backbone, base if isinstance(base, Path) else None, copy.folder)
        try:
            ((_, predicted),) = score_model(recipe, dataset, model, [recipe.scorer], scratch / "cache")
        except MissingExtraError:
            return not_checked("predictions", "the extra score is not installed")
        scratch.mkdir(parents=True, exist_ok=True)
        write_predictions(predicted, scratch / PREDICTIONS)
        again, before = _predictions(scratch / PREDICTIONS), _predictions(folder / PREDICTIONS)
        problems += prediction_problems(f"{SCORES}/{folder.name}", again, before)
        notes.append(f"the first {len(again):,} of {len(before):,} records of {folder.name}")
    return check_of("predictions", problems, f"scored again: {'; '.join(notes)}")


def _score_folders(copy: Copy) -> list[Path]:
    return sorted(path.parent for path in copy.folder.glob(f"{SCORES}/*/manifest.json"))


def _figure_problems(folder: Path) -> Iterator[Problem]:
    import pyarrow.parquet as pq

    figures = read_manifest(folder, ScoreManifest).figures
    rows = pq.read_table(folder / PREDICTIONS, columns=["reference", "prediction"]).to_pydict()
    found: dict[str, float] = metric_functions(METRIC_MODULE).erc_scores(
        rows["reference"], rows["prediction"], figures.protocol.label_space, figures.without
    )
    for name, stated in figures.metrics.items():
        if not math.isclose(found[name], stated, abs_tol=1e-9):
            where, what = f"{SCORES}/{folder.name}: {name}", "does not follow from the published predictions"
            yield Problem(where, what, str(found[name]), str(stated), code="verify.other_score")


def _listing_problems(copy: Copy, folders: list[Path]) -> Iterator[Problem]:
    """Score folders that are not of this adapter, or not those that `release.json` lists."""
    listed = {link.name: link.content_sha256 for link in copy.release.scores}
    for folder in folders:
        manifest = read_manifest(folder, ScoreManifest)
        where = f"{SCORES}/{folder.name}"
        if listed.get(folder.name) != manifest.content_sha256:
            what, code = "is not the score folder that release.json lists", "verify.unlisted_score"
            yield Problem(where, what, listed.get(folder.name, "none"), manifest.content_sha256, code=code)
        made_with = manifest.figures.system.adapter_content_sha256
        if copy.adapter and made_with != copy.adapter.content_sha256:
            what, expected = "is the score of another adapter", copy.adapter.content_sha256
            yield Problem(where, what, expected, str(made_with), code="verify.score_of_another")


def _sampled(manifest: ScoreManifest, sample: int) -> ScoreRecipe | None:
    """The recipe of a scoring run, for its first records only."""
    resolved = dict(manifest.recipe.resolved)
    limit = resolved.get("max_records")
    resolved["max_records"] = min(sample, limit) if isinstance(limit, int) else sample
    stamp = manifest.recipe.model_copy(update={"resolved": resolved})
    try:
        return recipe_of(manifest.model_copy(update={"recipe": stamp}), ScoreRecipe)
    except CardError:
        return None


def _backbone(copy: Copy, adapter: AdapterManifest) -> Loaded[BackboneRecipe] | None:
    for one in copy.linked:
        if one.backbone:
            return Loaded(one.backbone.recipe.name, recipe_of(one.backbone, BackboneRecipe), {})
    try:
        loaded = load_recipe(str(adapter.recipe.resolved["backbone"]), "backbone", BackboneRecipe)
    except RecipeError:
        return None
    return loaded if loaded.recipe.source.repo_id == adapter.figures.base else None


def _predictions(path: Path) -> dict[str, dict[str, Any]]:
    import pyarrow.parquet as pq

    return {row["id"]: row for row in pq.read_table(path).to_pylist()}


def prediction_problems(
    where: str, again: dict[str, dict[str, Any]], before: dict[str, dict[str, Any]]
) -> Iterator[Problem]:
    """Where the predictions of two runs differ by more than the precision of the computer may change."""
    if not again:
        yield Problem(where, "has no predictions", code="verify.no_prediction")
    apart: list[float] = []
    for record_id, row in again.items():
        published = before.get(record_id)
        if published is None:
            what = "has no published prediction"
            yield Problem(f"{where}: {record_id}", what, code="verify.no_prediction")
            return
        for column, value in row.items():
            stated = published.get(column)
            if isinstance(value, float) and isinstance(stated, float):
                is_same = math.isclose(value, stated, abs_tol=TOLERANCE)
                apart.append(abs(value - stated))
            else:
                is_same = value == stated
            # Where two labels are equally likely, the last digits may change the prediction.
            if not is_same and column != "prediction":
                what = f"has another {column}: weights, prompt or base are not those that were scored"
                code = "verify.other_prediction"
                yield Problem(f"{where}: {record_id}", what, str(stated), str(value), code=code)
                return
    if apart and (mean := sum(apart) / len(apart)) > MEAN_TOLERANCE:
        what = "has other probabilities: weights, prompt or base are not those that were scored"
        expected, got = f"at most {MEAN_TOLERANCE} apart on average", f"{mean:.4f}"
        yield Problem(where, what, expected, got, code="verify.other_prediction")
