"""The steps that lead on from an adapter or its recipe: merge it, or train it with another tool."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dialoguellm_release.errors import DataError, Problem
from dialoguellm_release.folders import read_manifest
from dialoguellm_release.recipes.catalogue import load_recipe
from dialoguellm_release.schemas.manifest import AdapterManifest, ExportManifest, MergedManifest
from dialoguellm_release.schemas.recipes.adapter import AdapterRecipe
from dialoguellm_release.schemas.recipes.backbone import BackboneRecipe
from dialoguellm_release.steps import BUILD, Made, built_backbone, current


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
        found := current(folder, lambda made: made.figures.adapter_content_sha256 == content, MergedManifest)
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
    from dialoguellm_release.backbones import tokenizer_at_hand
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
