"""The steps that lead on from an adapter or its recipe: merge it, train it elsewhere, or on other data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dialoguellm_release.errors import DataError, Problem
from dialoguellm_release.folders import read_manifest, staged, write_manifest, write_text
from dialoguellm_release.recipes.catalogue import load_recipe
from dialoguellm_release.recipes.load import Loaded
from dialoguellm_release.schemas.labels import OWN
from dialoguellm_release.schemas.manifests.adapter import AdapterManifest
from dialoguellm_release.schemas.manifests.dataset import DatasetManifest
from dialoguellm_release.schemas.manifests.export import ExportManifest
from dialoguellm_release.schemas.manifests.merged import MergedManifest
from dialoguellm_release.schemas.recipes.adapter import AdapterData, AdapterRecipe, InitAdapter
from dialoguellm_release.schemas.recipes.backbone import BackboneRecipe
from dialoguellm_release.steps.backbone import built_backbone
from dialoguellm_release.steps.made import BUILD, Made, current_folder


@dataclass(frozen=True)
class NewRecipe:
    """An adapter recipe for a user's own data, and the dataset folder that it trains on."""

    recipe: Path
    dataset: Path
    manifest: DatasetManifest


def new_recipe(
    parent: str, data: Path, out: Path, *, context_k: int = 1, init_adapter: str | None = None
) -> NewRecipe:
    """Writes an adapter recipe for a table of one's own, and its records as a dataset folder.

    Args:
        parent: The adapter recipe whose settings are taken: a bundled one, or a path.
        data: A CSV file with the columns text and label, and where wanted speaker, dialogue and split.
        out: Gets `NAME.yaml` and `dataset/`; NAME is that of the file.
        context_k: How many past turns of the same dialogue a prompt shows.
        init_adapter: A folder or repository id of an adapter to go on from; None starts anew.

    Raises:
        DataError: Columns or rows of the table are wrong, each named by its line.
    """
    from dialoguellm_release.dataset.own import write_own_dataset
    from dialoguellm_release.recipes.display import as_yaml

    loaded = load_recipe(parent, "adapter", AdapterRecipe)
    settings = loaded.recipe
    with staged(out / "dataset", "dataset") as folder:
        manifest = write_own_dataset(data, settings.prompt, context_k, folder)
        write_manifest(folder, manifest)
    trainer = settings.trainer
    if "validation" not in manifest.figures.records:
        unseen = {"eval_steps": None, "load_best_model_at_end": False}
        trainer = trainer.model_copy(update=unseen)
    changes = {
        "description": f"{settings.backbone} on {data.name}, with the settings of {loaded.name}.",
        "data": AdapterData(config=OWN, knowledge=settings.data.knowledge),
        "trainer": trainer,
        "init_adapter": InitAdapter(path=init_adapter) if init_adapter else settings.init_adapter,
    }
    changed: Loaded[Any] = replace(loaded, recipe=settings.model_copy(update=changes))
    path = out / f"{data.stem}.yaml"
    command = f"dlm-release adapter train {path} --dataset {out / 'dataset'}"
    header = f"# The settings of {loaded.name} on {data.name}.\n# Command: {command}\n"
    write_text(path, f"{header}{as_yaml(changed)}\n")
    return NewRecipe(path, out / "dataset", manifest)


def merge_adapter(
    adapter: Path,
    out: Path | None = None,
    *,
    backbones: Path = BUILD / "backbones",
    again: bool = False,
) -> Made[MergedManifest]:
    """The folder of a model with an adapter in its weights, proven to answer as base and adapter do.

    Args:
        adapter: Folder that `train_adapter` made.
        out: None is `build/merged/NAME`.
        backbones: Where backbones of our own making lie.

    Raises:
        DataError: There is no adapter, its base cannot be had, or the merged model answers otherwise.
        MissingExtraError: The extra `train` is not installed.
    """
    from dialoguellm_release.training import merge

    trained = read_manifest(adapter, AdapterManifest)
    name = str(trained.recipe.resolved["backbone"])
    backbone = load_recipe(name, "backbone", BackboneRecipe)
    folder = out or BUILD / "merged" / adapter.name
    content = trained.content_sha256
    if not again and (
        found := current_folder(
            folder, lambda made: made.figures.adapter_content_sha256 == content, MergedManifest
        )
    ):
        return found
    manifest = merge.merge_adapter(adapter, backbone, built_backbone(name, backbone, backbones), folder)
    return Made(folder, manifest, was_current=False)


def export_training(
    recipe: str,
    tool: str,
    dataset: Path = BUILD / "dataset",
    out: Path | None = None,
    *,
    tokenizer: Path | None = None,
    backbones: Path = BUILD / "backbones",
    overrides: Sequence[str] = (),
) -> Made[ExportManifest]:
    """The folder with an adapter recipe's training text for another tool, and a configuration for it.

    Args:
        recipe: Name of a bundled adapter recipe, or a path.
        tool: `trl`, `messages` (for chat models), `axolotl` or `llama-factory`.
        out: None is `build/exports/TOOL-NAME`.
        tokenizer: Folder of the backbone's tokenizer; None takes what lies on this machine already.

    Raises:
        DataError: There is no such tool, no tokenizer, a record does not fit, or the tool would train on
            other tokens.
    """
    from dialoguellm_release.backbones.load import tokenizer_at_hand
    from dialoguellm_release.training import export

    if tool not in export.TOOLS:
        raise DataError(Problem("TOOL", "not a tool that is known", ", ".join(export.TOOLS), tool))
    loaded = load_recipe(recipe, "adapter", AdapterRecipe, overrides)
    backbone = load_recipe(loaded.recipe.backbone, "backbone", BackboneRecipe)
    found = tokenizer_at_hand(backbone.recipe, backbones / backbone.name, tokenizer)
    if found is None:
        fix = "name its folder with --tokenizer"
        raise DataError(Problem(backbone.name, "its tokenizer is not on this machine", fix=fix))
    folder = out or BUILD / "exports" / f"{tool}-{loaded.name}"
    manifest = export.export_training(loaded, backbone, found, dataset, tool, folder)
    return Made(folder, manifest, was_current=False)
