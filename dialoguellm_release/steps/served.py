"""The step that scores a model behind a server."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dialoguellm_release.folders import read_manifest
from dialoguellm_release.recipes.catalogue import load_recipe
from dialoguellm_release.schemas.dataset_manifest import DatasetManifest
from dialoguellm_release.schemas.manifests import ScoreManifest
from dialoguellm_release.schemas.recipes.score import ScoreRecipe
from dialoguellm_release.scoring import served as scoring
from dialoguellm_release.serve.client import ServedModel
from dialoguellm_release.step import BUILD, StepResult, current_folder
from dialoguellm_release.steps.score import written_scores


def score_served(
    recipe: str,
    served: ServedModel,
    dataset: Path = BUILD / "dataset",
    out: Path | None = None,
    *,
    cache: Path = BUILD / "cache",
    overrides: Sequence[str] = (),
    again: bool = False,
) -> StepResult[ScoreManifest]:
    """Scores a model behind an OpenAI-compatible server: vLLM, llama.cpp, the OpenAI API.

    Args:
        recipe: Name of a bundled score recipe, or a path.
        out: None is `build/scores/RECIPE-MODEL`.
        served: The server, and the model that it has.
        dataset: The dataset folder.
        cache: Holds every answer as it comes, so that an interrupted run continues.
        overrides: Settings `key.key=value` of the recipe.
        again: Ask the model again, even where the folder is current or the cache has the answer.

    Returns:
        The folder and its manifest.

    Raises:
        DataError: The server refuses or gives no answer.
        MissingExtraError: The extra `served` is not installed.
    """
    loaded = load_recipe(recipe, "score", ScoreRecipe, overrides)
    folder = out or BUILD / "scores" / f"{loaded.name}-{served.name}"
    content = read_manifest(dataset, DatasetManifest).content_sha256

    def is_unchanged(made: ScoreManifest) -> bool:
        protocol, system, figures = made.figures.protocol, made.figures.system, made.figures.served
        is_alike = made.recipe == loaded.stamp and protocol.dataset_content_sha256 == content
        asked = (system.base, system.server_api, figures and figures.server_sha256)
        return is_alike and asked == (served.model, served.api, served.sha256)

    if not again and (found := current_folder(folder, is_unchanged, ScoreManifest)):
        return found
    answers = scoring.score_served(loaded.recipe, dataset, served, cache, again=again)
    return written_scores(loaded, dataset, answers, folder)
