"""The steps of scoring: from a dataset and a model, a baseline or predictions to a score folder."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dialoguellm_release.backbones.identity import base_of
from dialoguellm_release.errors import DataError, MissingExtraError, Problem
from dialoguellm_release.folders import read_manifest, staged, stamps, write_manifest, write_text
from dialoguellm_release.recipes.catalogue import load_recipe
from dialoguellm_release.recipes.load import Loaded
from dialoguellm_release.schemas.dataset_manifest import DatasetManifest
from dialoguellm_release.schemas.manifests import AdapterManifest, ScoreManifest
from dialoguellm_release.schemas.recipes.backbone import BackboneRecipe
from dialoguellm_release.schemas.recipes.score import ScoreRecipe
from dialoguellm_release.schemas.scores import BaselineName, ScorerName
from dialoguellm_release.step import BUILD, StepResult, current_folder
from dialoguellm_release.steps.backbone import built_backbone

if TYPE_CHECKING:
    from dialoguellm_release.scoring.model import ModelFolders
    from dialoguellm_release.scoring.task import Scored


@dataclass(frozen=True)
class WorkFolders:
    """Where scoring keeps what it makes on the way.

    Attributes:
        backbones: Backbones that are built from a recipe.
        cache: Answers of models, each kept at once, so that an interrupted run continues.
    """

    backbones: Path = BUILD / "backbones"
    cache: Path = BUILD / "cache"


WORK_FOLDERS = WorkFolders()


@dataclass(frozen=True)
class ModelChoice:
    """A model to score.

    Attributes:
        adapter: Folder of an adapter; None for the backbone alone.
        backbone: A backbone recipe; None for the one of the adapter.
    """

    adapter: Path | None = None
    backbone: str | None = None
    folders: WorkFolders = WORK_FOLDERS


def score(
    recipe: str,
    dataset: Path = BUILD / "dataset",
    adapter: Path | None = None,
    out: Path | None = None,
    *,
    backbone: str | None = None,
    folders: WorkFolders = WORK_FOLDERS,
    overrides: Sequence[str] = (),
    again: bool = False,
) -> StepResult[ScoreManifest]:
    """The score folder of an adapter, or of a backbone alone.

    Args:
        recipe: Name of a bundled score recipe, or a path.
        adapter: Folder that `train_adapter` made; None scores the backbone alone.
        out: None is `build/scores/RECIPE-ADAPTER`, or `build/scores/RECIPE-BACKBONE` without an adapter.
        backbone: Name of a backbone recipe; None is the one that the adapter was trained on.
        folders: Where backbones are built and answers are kept.
        again: Ask the model anew, even where the folder is current or the cache knows the answer.

    Raises:
        DataError: Dataset, adapter and backbone do not belong together.
        MissingExtraError: The extra `score` is not installed.
    """
    from dialoguellm_release.scoring.model import score_model

    loaded = load_recipe(recipe, "score", ScoreRecipe, overrides)
    model = _model_folders(ModelChoice(adapter, backbone, folders))
    folder = out or BUILD / "scores" / f"{loaded.name}-{model.name}"
    if not again and (found := _current_scores(folder, loaded, dataset, model)):
        return found
    ((_, scored),) = score_model(
        loaded.recipe, dataset, model, [loaded.recipe.scorer], folders.cache, again=again
    )
    return written_scores(loaded, dataset, scored, folder)


def score_each_way(
    recipe: str,
    scorers: Sequence[ScorerName],
    dataset: Path = BUILD / "dataset",
    model: ModelChoice | None = None,
    out: Path | None = None,
    *,
    overrides: Sequence[str] = (),
    again: bool = False,
) -> dict[ScorerName, StepResult[ScoreManifest]]:
    """A score folder for each scorer, as `score` with that scorer makes it; the model is loaded once.

    Args:
        scorers: `first_token` is left out where the tokenizer gives two labels the same first token.
        out: Holds a folder a scorer; None is `build/scores/RECIPE-ADAPTER-scorers`.

    Raises:
        DataError: As `score`.
    """
    from dialoguellm_release.scoring.model import score_model

    each = {
        name: load_recipe(recipe, "score", ScoreRecipe, [*overrides, f"scorer={name}"]) for name in scorers
    }
    chosen = model or ModelChoice()
    folders_of_model = _model_folders(chosen)
    loaded = load_recipe(recipe, "score", ScoreRecipe, overrides)
    folder = out or BUILD / "scores" / f"{loaded.name}-{folders_of_model.name}-scorers"
    made: dict[ScorerName, StepResult[ScoreManifest]] = {}
    for name, one in each.items():
        if not again and (found := _current_scores(folder / name, one, dataset, folders_of_model)):
            made[name] = found
    stale = [name for name in each if name not in made]
    if stale:
        scorer_by_scorer = score_model(
            loaded.recipe,
            dataset,
            folders_of_model,
            stale,
            chosen.folders.cache,
            again=again,
            leave_out_unfit=True,
        )
        for name, scored in scorer_by_scorer:
            made[name] = written_scores(each[name], dataset, scored, folder / name)
    return {name: made[name] for name in each if name in made}


def score_baseline(
    recipe: str,
    baseline: BaselineName,
    dataset: Path = BUILD / "dataset",
    out: Path | None = None,
    *,
    overrides: Sequence[str] = (),
    again: bool = False,
) -> StepResult[ScoreManifest]:
    """The score folder of a baseline that costs nothing.

    Args:
        baseline: `majority`, `random` (its expected value), `tfidf` or `tfidf-context`.
        out: None is `build/scores/RECIPE-BASELINE`.

    Raises:
        DataError: The dataset has no such records, or no training split of the corpus.
        MissingExtraError: The extra `score` is not installed.
    """
    from dialoguellm_release.scoring import baselines

    loaded = load_recipe(recipe, "score", ScoreRecipe, overrides)
    folder = out or BUILD / "scores" / f"{loaded.name}-{baseline}"
    content = read_manifest(dataset, DatasetManifest).content_sha256

    def is_unchanged(made: ScoreManifest) -> bool:
        figures = made.figures
        is_alike = made.recipe == loaded.stamp and figures.protocol.dataset_content_sha256 == content
        return is_alike and (figures.system.kind, figures.system.name) == ("baseline", baseline)

    if not again and (found := current_folder(folder, is_unchanged, ScoreManifest)):
        return found
    return written_scores(loaded, dataset, baselines.score_baseline(loaded.recipe, dataset, baseline), folder)


def score_predictions(
    recipe: str,
    predictions: Path,
    dataset: Path = BUILD / "dataset",
    out: Path | None = None,
    *,
    overrides: Sequence[str] = (),
) -> StepResult[ScoreManifest]:
    """The score folder of predictions that were made elsewhere.

    Args:
        predictions: CSV, JSON lines or Parquet with the columns `id` and `prediction`.
        out: None is `build/scores/RECIPE-FILE`.

    Raises:
        DataError: The file does not hold one prediction for each record, and nothing else.
    """
    from dialoguellm_release.scoring import predictions as scoring

    loaded = load_recipe(recipe, "score", ScoreRecipe, overrides)
    folder = out or BUILD / "scores" / f"{loaded.name}-{predictions.stem}"
    scored = scoring.score_predictions(loaded.recipe, dataset, predictions)
    return written_scores(loaded, dataset, scored, folder)


def _model_folders(model: ModelChoice) -> ModelFolders:
    """The folders of a model; its backbone is built first where it has to be."""
    from dialoguellm_release.scoring.model import ModelFolders

    trained = read_manifest(model.adapter, AdapterManifest) if model.adapter else None
    reference = model.backbone or _backbone_of(trained)
    loaded = load_recipe(reference, "backbone", BackboneRecipe)
    return ModelFolders(loaded, built_backbone(reference, loaded, model.folders.backbones), model.adapter)


def _backbone_of(trained: AdapterManifest | None) -> str:
    if trained is None:
        fix = "name the folder of an adapter with --adapter, or a backbone recipe with --backbone"
        raise DataError(Problem("--adapter", "there is nothing to score", fix=fix))
    return str(trained.recipe.resolved["backbone"])


def _current_scores(
    folder: Path, loaded: Loaded[ScoreRecipe], dataset: Path, model: ModelFolders
) -> StepResult[ScoreManifest] | None:
    """The score folder of a model, where scoring would make the same again."""
    built = read_manifest(dataset, DatasetManifest)
    trained = read_manifest(model.adapter, AdapterManifest) if model.adapter else None
    base = base_of(model.backbone.recipe, model.backbone_folder)

    def is_unchanged(made: ScoreManifest) -> bool:
        protocol, system = made.figures.protocol, made.figures.system
        return (
            made.recipe == loaded.stamp
            and protocol.dataset_content_sha256 == built.content_sha256
            and protocol.prompt_sha256 == built.figures.prompt_sha256
            and system.adapter_content_sha256 == (trained.content_sha256 if trained else None)
            and (system.base, system.base_revision) == (base.repo_id, base.revision)
            and system.base_content_sha256 == base.content_sha256
        )

    return current_folder(folder, is_unchanged, ScoreManifest)


def written_scores(
    loaded: Loaded[ScoreRecipe], dataset: Path, scored: Scored, out: Path
) -> StepResult[ScoreManifest]:
    """The score folder of some answers, with its report; no heat map where matplotlib is not installed."""
    from dialoguellm_release.cards.score import render_score_report
    from dialoguellm_release.scoring.folder import CONFUSION, write_confusion, write_scores

    with staged(out, "score") as folder:
        manifest = write_scores(loaded, dataset, scored, folder)
        with suppress(MissingExtraError):
            write_confusion(folder, manifest.figures)
        figure = CONFUSION if (folder / CONFUSION).is_file() else None
        write_text(folder / "README.md", render_score_report(manifest, figure))
        manifest = manifest.model_copy(update={"outputs": stamps(folder)})
        write_manifest(folder, manifest)
    return StepResult(out, manifest, was_current=False)
