"""The steps that make models and training text besides training: backbone, merged model, export."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from dialoguellm_release.backbones import weights
from dialoguellm_release.backbones.adapters import find_adapter
from dialoguellm_release.backbones.load import local_tokenizer
from dialoguellm_release.errors import DataError, Problem
from dialoguellm_release.folders import canonical_json, read_manifest, sha256_of_text
from dialoguellm_release.prompts import load_prompt
from dialoguellm_release.recipes.catalogue import load_recipe
from dialoguellm_release.recipes.load import Loaded
from dialoguellm_release.resources import recording
from dialoguellm_release.schemas.dataset_manifest import DatasetManifest
from dialoguellm_release.schemas.manifests import (
    AdapterManifest,
    BackboneManifest,
    ExportManifest,
    MergedManifest,
)
from dialoguellm_release.schemas.recipes.adapter import AdapterRecipe
from dialoguellm_release.schemas.recipes.backbone import BackboneRecipe, BuiltSource
from dialoguellm_release.scoring.model import ModelFolders
from dialoguellm_release.step import (
    BUILD,
    Inputs,
    StepResult,
    StrPath,
    folder_name,
    main_recipe,
    run_step,
)
from dialoguellm_release.training import adapter_folder, export

BACKBONE_PACKAGES = ("torch", "transformers", "tokenizers")
"""Whose versions shape the weights and the tokenizer."""


@recording()
def build_backbone(
    recipe: StrPath,
    out: StrPath | None = None,
    *,
    overrides: Sequence[str] = (),
    again: bool = False,
    replace: bool = False,
) -> StepResult[BackboneManifest]:
    """Builds a small language model of random weights from its recipe, without a download.

    Args:
        recipe: Name of a bundled backbone recipe, or a path.
        out: The folder to write; None is `build/backbones/NAME`.
        overrides: Settings `key.key=value` of the recipe.
        again: Build even where the folder is current.
        replace: Replace the backbone of another recipe.

    Returns:
        The folder and its manifest.

    Raises:
        RecipeError: The recipe is not valid.
        DataError: The recipe names a model on the Hub, which is not built.
        MissingExtraError: The extra `train` is not installed.

    Example:
        >>> build_backbone("tiny")  # doctest: +SKIP
        StepResult(build/backbones/tiny: backbone, new, content 0f5a1c2b3d4e)
    """
    loaded = main_recipe(recipe, "backbone", BackboneRecipe, overrides)
    make = partial(weights.build_backbone, loaded)
    folder = Path(out or BUILD / "backbones" / folder_name(loaded.name, overrides))
    inputs = Inputs(loaded.stamp, packages=BACKBONE_PACKAGES)
    return run_step(BackboneManifest, folder, inputs, make, again=again, replace=replace)


def built_backbone(reference: str, backbone: Loaded[BackboneRecipe], backbones: Path) -> Path | None:
    """The folder of a backbone that is built here, built where needed; None for one from elsewhere."""
    if not isinstance(backbone.recipe.source, BuiltSource):
        return None
    return build_backbone(reference, backbones / backbone.name).folder


@recording()
def merge_adapter(
    adapter: StrPath,
    out: StrPath | None = None,
    *,
    backbones: StrPath = BUILD / "backbones",
    again: bool = False,
    replace: bool = False,
) -> StepResult[MergedManifest]:
    """The folder of a model with an adapter in its weights, proven to answer as base and adapter do.

    Args:
        adapter: Folder that `train_adapter` made.
        out: None is `build/merged/NAME`.
        backbones: Where the backbones are that were built here.
        again: Merge even where the folder is current.
        replace: Replace the merged model of another adapter's recipe.

    Returns:
        The folder and its manifest.

    Raises:
        DataError: There is no adapter, its base is not available, or the merged model answers otherwise.
        MissingExtraError: The extra `train` is not installed.

    Example:
        >>> merge_adapter("build/adapters/tiny")  # doctest: +SKIP
        StepResult(build/merged/tiny: merged, new, content 4a0c2d3e4a5b)
    """
    adapter = Path(adapter)
    trained = read_manifest(adapter, AdapterManifest)
    name = str(trained.recipe.resolved["backbone"])
    backbone = load_recipe(name, "backbone", BackboneRecipe)
    folder = built_backbone(name, backbone, Path(backbones))
    base = weights.base_of(weights.pinned(backbone.recipe, trained.figures.base_revision), folder)
    inputs = Inputs(
        trained.recipe,
        folders={"adapter": trained.content_sha256, "backbone": canonical_json(base.as_data())},
        packages=("torch", "transformers", "peft"),
    )
    make = partial(adapter_folder.merge_adapter, adapter, backbone, folder)
    target = Path(out or BUILD / "merged" / adapter.name)
    return run_step(MergedManifest, target, inputs, make, again=again, replace=replace)


@recording()
def export_training(
    recipe: StrPath,
    tool: str,
    dataset: StrPath = BUILD / "dataset",
    out: StrPath | None = None,
    *,
    tokenizer: StrPath | None = None,
    backbones: StrPath = BUILD / "backbones",
    overrides: Sequence[str] = (),
    replace: bool = False,
) -> StepResult[ExportManifest]:
    """Writes an adapter recipe's training text for another tool, and a configuration for it.

    Args:
        recipe: Name of a bundled adapter recipe, or a path.
        tool: `trl`, `messages` (for chat models), `axolotl` or `llama-factory`.
        dataset: Folder that `build_dataset` made.
        out: None is `build/exports/TOOL-NAME`.
        tokenizer: Folder of the backbone's tokenizer; None takes one that is on this machine already.
        backbones: Where backbones are built.
        overrides: Settings `key.key=value` of the recipe.
        replace: Replace the export of another recipe or for another tool.

    Returns:
        The folder and its manifest.

    Raises:
        DataError: There is no such tool, no tokenizer, a record does not fit or is longer than what the
            backbone reads, or the tool would train on other tokens.

    Example:
        >>> export_training("tiny", "trl")  # doctest: +SKIP
        StepResult(build/exports/trl-tiny: export, new, content 2f0c2d3e4a5b)
    """
    if tool not in export.TOOLS:
        known = ", ".join(export.TOOLS)
        raise DataError(Problem("TOOL", "no such tool", known, tool, code="training.no_tool"))
    loaded = main_recipe(recipe, "adapter", AdapterRecipe, overrides)
    backbone = main_recipe(loaded.recipe.backbone, "backbone", BackboneRecipe)
    named = Path(tokenizer) if tokenizer else None
    found = local_tokenizer(backbone.recipe, Path(backbones) / backbone.name, named)
    if found is None:
        fix = "name its folder with --tokenizer"
        what = "its tokenizer is not on this machine"
        raise DataError(Problem(backbone.name, what, fix=fix, code="training.no_tokenizer"))
    load_prompt(loaded.recipe.prompt)
    data = Path(dataset)
    built = read_manifest(data, DatasetManifest)
    # The tokenizer is an input as much as the dataset; its name says nothing of its content.
    backend = getattr(found, "backend_tokenizer", None)
    content = sha256_of_text(backend.to_str() if backend else canonical_json(found.get_vocab()))
    inputs = Inputs(
        loaded.stamp,
        folders={"dataset": built.content_sha256, "tokenizer": content},
        settings={"tool": tool, "dataset": built.request, "backbone": backbone.name},
        packages=export.PACKAGES,
    )
    make = partial(export.export_training, loaded, backbone, found, data, tool)
    target = Path(out or BUILD / "exports" / f"{tool}-{folder_name(loaded.name, overrides)}")
    return run_step(ExportManifest, target, inputs, make, replace=replace)


@dataclass(frozen=True)
class ModelChoice:
    """A model to score.

    Attributes:
        adapter: Folder of an adapter, or its repository on the Hub (`owner/name@revision`); None for the
            backbone alone.
        backbone: A backbone recipe; None for the one of the adapter.
        backbones: Where backbones are built, each under the name of its recipe.
        cache: Keeps each answer at once, so that an interrupted run continues.
    """

    adapter: StrPath | None = None
    backbone: str | None = None
    backbones: StrPath = BUILD / "backbones"
    cache: StrPath = BUILD / "cache"


def model_folders(model: ModelChoice) -> ModelFolders:
    """The folders of a model; its backbone is built first where it has to be."""
    adapter = find_adapter(model.adapter) if model.adapter else None
    is_folder = adapter is None or Path(str(model.adapter)) == adapter
    name = None if is_folder else str(model.adapter).partition("@")[0].rpartition("/")[2]
    trained = read_manifest(adapter, AdapterManifest) if adapter else None
    reference = model.backbone or _backbone_of(trained)
    loaded = load_recipe(reference, "backbone", BackboneRecipe)
    backbone = built_backbone(reference, loaded, Path(model.backbones))
    return ModelFolders(loaded, backbone, adapter, name)


def _backbone_of(trained: AdapterManifest | None) -> str:
    if trained is None:
        fix = "name the folder of an adapter with --adapter, or a backbone recipe with --backbone"
        raise DataError(Problem("--adapter", "there is nothing to score", fix=fix, code="scoring.no_model"))
    return str(trained.recipe.resolved["backbone"])
