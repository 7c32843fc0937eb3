"""The step that makes a backbone of our own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dialoguellm_release.recipes.catalogue import load_recipe
from dialoguellm_release.recipes.load import Loaded
from dialoguellm_release.schemas.manifests import BackboneManifest
from dialoguellm_release.schemas.recipes.backbone import BackboneRecipe, HubSource
from dialoguellm_release.step import BUILD, StepResult, current_folder


def build_backbone(
    recipe: str, out: Path | None = None, *, overrides: Sequence[str] = (), again: bool = False
) -> StepResult[BackboneManifest]:
    """The folder of a backbone of our own making.

    Args:
        recipe: Name of a bundled backbone recipe, or a path.
        out: None is `build/backbones/NAME`.

    Raises:
        DataError: The recipe names a model on the Hub, which is not built.
    """
    from dialoguellm_release.backbones import build

    loaded = load_recipe(recipe, "backbone", BackboneRecipe, overrides)
    folder = out or BUILD / "backbones" / loaded.name
    if not again and (
        found := current_folder(folder, lambda made: made.recipe == loaded.stamp, BackboneManifest)
    ):
        return found
    return StepResult(folder, build.build_backbone(loaded, folder), was_current=False)


def built_backbone(reference: str, backbone: Loaded[BackboneRecipe], backbones: Path) -> Path | None:
    """The folder of a backbone of our own making, built where needed; None for one from the Hub."""
    if isinstance(backbone.recipe.source, HubSource):
        return None
    return build_backbone(reference, backbones / backbone.name).folder
