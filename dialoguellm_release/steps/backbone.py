"""The step that builds a backbone of random weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dialoguellm_release.recipes.load import Loaded
from dialoguellm_release.resources import recording
from dialoguellm_release.schemas.manifests import BackboneManifest
from dialoguellm_release.schemas.recipes.backbone import BackboneRecipe, BuiltSource
from dialoguellm_release.step import (
    BUILD,
    Inputs,
    Output,
    StepResult,
    StrPath,
    folder_name,
    main_recipe,
    run_step,
)

PACKAGES = ("torch", "transformers", "tokenizers")
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
    from dialoguellm_release.backbones import build

    loaded = main_recipe(recipe, "backbone", BackboneRecipe, overrides)

    def make(folder: Path) -> Output:
        built = build.build_backbone(loaded, folder)
        return Output(built.content_sha256, {"parameters": built.parameters})

    folder = Path(out or BUILD / "backbones" / folder_name(loaded.name, overrides))
    inputs = Inputs(loaded.stamp, packages=PACKAGES)
    return run_step(BackboneManifest, folder, inputs, make, again=again, replace=replace)


def built_backbone(reference: str, backbone: Loaded[BackboneRecipe], backbones: Path) -> Path | None:
    """The folder of a backbone that is built here, built where needed; None for one from elsewhere."""
    if not isinstance(backbone.recipe.source, BuiltSource):
        return None
    return build_backbone(reference, backbones / backbone.name).folder
