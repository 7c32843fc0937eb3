"""The steps of scoring: a model, a baseline, a served model or predictions become a score folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import get_args

from dialoguellm_release.backbones.weights import base_of, pinned
from dialoguellm_release.cards.model import render_score_report
from dialoguellm_release.corpora.registry import bundled_entry
from dialoguellm_release.errors import DataError, Problem
from dialoguellm_release.folders import (
    canonical_json,
    read_calibration,
    read_manifest,
    sha256_of,
    sha256_of_text,
    write_text,
)
from dialoguellm_release.processes import first_alone
from dialoguellm_release.processes import rank as rank
from dialoguellm_release.recipes.load import Loaded
from dialoguellm_release.resources import recording
from dialoguellm_release.schemas.corpus import AuthorsScript
from dialoguellm_release.schemas.dataset_manifest import DatasetManifest
from dialoguellm_release.schemas.manifests import CALIBRATION, AdapterManifest, Calibration, ScoreManifest
from dialoguellm_release.schemas.scores import BaselineName, ScoreRecipe, ScorerName
from dialoguellm_release.scoring import baselines
from dialoguellm_release.scoring import served as scoring
from dialoguellm_release.scoring.answers import authors_script_of
from dialoguellm_release.scoring.calibrate import fit_calibration
from dialoguellm_release.scoring.folder import score_predictions as scored
from dialoguellm_release.scoring.folder import write_scores
from dialoguellm_release.scoring.model import ModelFolders, score_model
from dialoguellm_release.scoring.task import Scored
from dialoguellm_release.serve.client import ServedModel as ServedModel
from dialoguellm_release.step import (
    BUILD,
    Inputs,
    Output,
    StrPath,
    current_result,
    folder_name,
    main_recipe,
    run_step,
)
from dialoguellm_release.step import StepResult as StepResult
from dialoguellm_release.steps.model import ModelChoice as ModelChoice
from dialoguellm_release.steps.model import model_folders

MODEL_PACKAGES = ("torch", "transformers", "peft", "numpy", "pyarrow")
SERVED_PACKAGES = ("openai", "numpy", "pyarrow")
BASELINE_PACKAGES = ("numpy", "scikit-learn", "scipy", "pyarrow")
PREDICTION_PACKAGES = ("numpy", "pyarrow")


@recording()
def score(
    recipe: StrPath,
    dataset: StrPath = BUILD / "dataset",
    model: StrPath | ModelChoice | None = None,
    out: StrPath | None = None,
    *,
    overrides: Sequence[str] = (),
    again: bool = False,
    replace: bool = False,
) -> StepResult[ScoreManifest]:
    """Scores an adapter, or a backbone alone.

    Args:
        recipe: Name of a bundled score recipe, or a path.
        dataset: Folder that `build_dataset` made.
        model: Folder that `train_adapter` made; for a backbone alone or another backbone, a `ModelChoice`.
        out: None is `build/scores/RECIPE-ADAPTER`, or `build/scores/RECIPE-BACKBONE` without an adapter.
        overrides: Settings `key.key=value` of the recipe.
        again: Ask the model again, even where the folder is current or the cache has the answer.
        replace: Replace scores of another recipe, other settings or another system.

    Returns:
        The score folder and its manifest.

    Raises:
        DataError: Dataset, adapter and backbone do not belong together, or the folder holds other scores.
        MissingExtraError: The extra `score` is not installed.

    Example:
        >>> score("my-recipe.yaml", model="build/adapters/tiny")  # doctest: +SKIP
        StepResult(build/scores/my-recipe-tiny: score, new, content 1f0c2d3e4a5b)
    """
    loaded = main_recipe(recipe, "score", ScoreRecipe, overrides)
    chosen = model if isinstance(model, ModelChoice) else ModelChoice(model)
    with first_alone():
        folders = model_folders(chosen)
    data, target = Path(dataset), _folder(out, loaded, overrides, folders.name)

    def answer() -> Scored:
        scorers, cache = [loaded.recipe.scorer], Path(chosen.cache)
        ((_, scored),) = score_model(loaded.recipe, data, folders, scorers, cache, again=again)
        return scored

    inputs = _model_inputs(loaded, data, folders)
    return _scored(target, loaded, data, inputs, answer, again=again, replace=replace)


@recording()
def score_each_way(
    recipe: StrPath,
    scorers: Sequence[ScorerName],
    dataset: StrPath = BUILD / "dataset",
    model: StrPath | ModelChoice | None = None,
    out: StrPath | None = None,
    *,
    overrides: Sequence[str] = (),
    again: bool = False,
    replace: bool = False,
) -> dict[ScorerName, StepResult[ScoreManifest]]:
    """Scores a model once for each way to read its answer; the model is loaded once.

    Args:
        recipe: Name of a bundled score recipe, or a path.
        scorers: `first_token` is left out where the tokenizer gives two labels the same first token.
        dataset: Folder that `build_dataset` made.
        model: As in `score`.
        out: Holds a folder a scorer; None is `build/scores/RECIPE-ADAPTER-scorers`.
        overrides: Settings `key.key=value` of the recipe.
        again: Ask the model again.
        replace: Replace scores of another recipe, other settings or another system.

    Returns:
        The score folder of each scorer.

    Raises:
        DataError: As `score`.

    Example:
        >>> both = ["full_likelihood", "free_generation"]
        >>> score_each_way("my-recipe.yaml", both, model="build/adapters/tiny")  # doctest: +SKIP
    """
    chosen = model if isinstance(model, ModelChoice) else ModelChoice(model)
    with first_alone():
        folders = model_folders(chosen)
    loaded = main_recipe(recipe, "score", ScoreRecipe, overrides)
    each = {
        name: main_recipe(recipe, "score", ScoreRecipe, [*overrides, f"scorer={name}"]) for name in scorers
    }
    data, above = Path(dataset), _folder(out, loaded, overrides, f"{folders.name}-scorers")
    inputs = {name: _model_inputs(one, data, folders) for name, one in each.items()}
    made = {
        name: found
        for name in each
        if (found := current_result(ScoreManifest, above / name, inputs[name], again=again, replace=replace))
    }
    if stale := [name for name in each if name not in made]:
        answers = score_model(
            loaded.recipe, data, folders, stale, Path(chosen.cache), again=again, leave_out_unfit=True
        )
        for name, scored in answers:

            def answered(found: Scored = scored) -> Scored:
                return found

            target = above / name
            made[name] = _scored(
                target, each[name], data, inputs[name], answered, again=again, replace=replace
            )
    return {name: made[name] for name in each if name in made}


@recording()
def score_baseline(
    recipe: StrPath,
    baseline: BaselineName,
    dataset: StrPath = BUILD / "dataset",
    out: StrPath | None = None,
    *,
    overrides: Sequence[str] = (),
    again: bool = False,
    replace: bool = False,
) -> StepResult[ScoreManifest]:
    """Scores a baseline that needs no language model.

    Args:
        recipe: Name of a bundled score recipe, or a path.
        baseline: `majority`, `random` (its expected value), `tfidf` or `tfidf-context`.
        dataset: Folder that `build_dataset` made.
        out: None is `build/scores/RECIPE-BASELINE`.
        overrides: Settings `key.key=value` of the recipe.
        again: Score even where the folder is current.
        replace: Replace scores of another recipe, other settings or another system.

    Returns:
        The score folder and its manifest.

    Raises:
        DataError: There is no such baseline, the dataset has no such records, or no training split.
        MissingExtraError: The extra `score` is not installed.

    Example:
        >>> score_baseline("my-recipe.yaml", "majority")  # doctest: +SKIP
        StepResult(build/scores/my-recipe-majority: score, new, content 5d0c2d3e4a5b)
    """
    if baseline not in get_args(BaselineName):
        known = ", ".join(get_args(BaselineName))
        raise DataError(Problem("baseline", "no such baseline", known, baseline, code="scoring.no_baseline"))
    loaded = main_recipe(recipe, "score", ScoreRecipe, overrides)
    data, target = Path(dataset), _folder(out, loaded, overrides, baseline)
    inputs = _inputs(loaded, data, {"baseline": baseline}, {}, BASELINE_PACKAGES)
    answer = partial(baselines.score_baseline, loaded.recipe, data, baseline)
    return _scored(target, loaded, data, inputs, answer, again=again, replace=replace)


@recording()
def score_predictions(
    recipe: StrPath,
    predictions: StrPath,
    dataset: StrPath = BUILD / "dataset",
    out: StrPath | None = None,
    *,
    overrides: Sequence[str] = (),
    again: bool = False,
    replace: bool = False,
) -> StepResult[ScoreManifest]:
    """Scores the predictions of another program.

    Args:
        recipe: Name of a bundled score recipe, or a path.
        predictions: CSV, JSON Lines or Parquet with the columns `id` and `prediction`.
        dataset: Folder that `build_dataset` made.
        out: None is `build/scores/RECIPE-FILE`.
        overrides: Settings `key.key=value` of the recipe.
        again: Score even where the folder is current.
        replace: Replace scores of another recipe, other settings or another system.

    Returns:
        The score folder and its manifest.

    Raises:
        DataError: The file does not hold one prediction for each record, and nothing else.

    Example:
        >>> score_predictions("my-recipe.yaml", "mine.csv")  # doctest: +SKIP
        StepResult(build/scores/my-recipe-mine: score, new, content 9a0c2d3e4a5b)
    """
    loaded = main_recipe(recipe, "score", ScoreRecipe, overrides)
    data, file = Path(dataset), Path(predictions)
    target = _folder(out, loaded, overrides, file.stem)
    content = {"predictions": sha256_of(file)} if file.is_file() else {}
    inputs = _inputs(loaded, data, {"predictions": file.name}, content, PREDICTION_PACKAGES)
    answer = partial(scored, loaded.recipe, data, file)
    return _scored(target, loaded, data, inputs, answer, again=again, replace=replace)


@recording()
def score_served(
    recipe: StrPath,
    served: ServedModel,
    dataset: StrPath = BUILD / "dataset",
    out: StrPath | None = None,
    *,
    cache: StrPath = BUILD / "cache",
    overrides: Sequence[str] = (),
    again: bool = False,
    replace: bool = False,
) -> StepResult[ScoreManifest]:
    """Scores a model behind a server that speaks OpenAI's protocol: vLLM, llama.cpp, the OpenAI API.

    Args:
        recipe: Name of a bundled score recipe, or a path.
        served: The model and its server.
        dataset: Folder that `build_dataset` made.
        out: None is `build/scores/RECIPE-MODEL`.
        cache: Keeps each answer at once, so that an interrupted run continues.
        overrides: Settings `key.key=value` of the recipe.
        again: Ask the model again, even where the folder is current or the cache has the answer.
        replace: Replace scores of another recipe, other settings or another system.

    Returns:
        The score folder and its manifest.

    Raises:
        DataError: The server refuses or gives no answer.
        MissingExtraError: The extra `served` is not installed.

    Example:
        >>> score_served("my.yaml", ServedModel("http://127.0.0.1:8000/v1", "my-model"))  # doctest: +SKIP
        StepResult(build/scores/my-my-model: score, new, content 3c0c2d3e4a5b)
    """
    loaded = main_recipe(recipe, "score", ScoreRecipe, overrides)
    data, target = Path(dataset), _folder(out, loaded, overrides, served.name)
    settings = {"served model": served.model, "server address": served.sha256, "server API": served.api}
    inputs = _inputs(loaded, data, settings, {}, SERVED_PACKAGES)
    answer = partial(scoring.score_served, loaded.recipe, data, served, Path(cache), again=again)
    return _scored(target, loaded, data, inputs, answer, again=again, replace=replace)


def calibrate_adapter(scores: StrPath, adapter: StrPath, *, replace: bool = False) -> Calibration:
    """Fits the temperature of an adapter and writes it into its folder, as `calibration.json`.

    Neither the content hash of the adapter nor any step changes by it. The scores of the adapter are made
    again with it, from the kept answers, when they are asked for next.

    Args:
        scores: Score folder of this adapter on a validation split.
        adapter: Folder that `train_adapter` made.
        replace: Replace another calibration.

    Returns:
        The temperature, what it was fitted on, and the errors of the probabilities before and after.

    Raises:
        DataError: The score is of another split or adapter, its records do not determine a temperature, or
            the adapter has another calibration.

    Example:
        >>> calibrate_adapter("build/scores/validation", "build/adapters/my")  # doctest: +SKIP
        Calibration(version=1, temperature=1.43, ...)
    """
    folder = Path(adapter)
    fitted = fit_calibration(Path(scores), folder)
    before = None if replace else read_calibration(folder, read_manifest(folder, AdapterManifest))
    if before is not None and before != fitted:
        path = str(folder / CALIBRATION)
        got = f"temperature {before.temperature:.4f}, fitted on {before.corpus}; now {fitted.temperature:.4f}"
        what, fix = "the adapter has another calibration", "keep it, or replace it with --replace"
        raise DataError(Problem(path, what, got=got, fix=fix, code="calibration.finished"))
    write_text(folder / CALIBRATION, fitted.model_dump_json(indent=2) + "\n")
    return fitted


def _folder(out: StrPath | None, loaded: Loaded[ScoreRecipe], overrides: Sequence[str], system: str) -> Path:
    """The folder that was named, or the default one."""
    return Path(out or BUILD / "scores" / f"{folder_name(loaded.name, overrides)}-{system}")


def _scored(
    folder: Path,
    loaded: Loaded[ScoreRecipe],
    dataset: Path,
    inputs: Inputs,
    answer: Callable[[], Scored],
    *,
    again: bool,
    replace: bool,
) -> StepResult[ScoreManifest]:
    """The score folder; `answer` is called only where it is not current."""

    def make(staged: Path) -> Output:
        figures, content_sha256, files = write_scores(loaded.recipe, dataset, answer(), staged)
        return Output(content_sha256, {"figures": figures}, files)

    def finish(staged: Path, manifest: ScoreManifest) -> None:
        write_text(staged / "README.md", render_score_report(manifest))

    return run_step(ScoreManifest, folder, inputs, make, finish, again=again, replace=replace)


def _inputs(
    loaded: Loaded[ScoreRecipe],
    dataset: Path,
    settings: Mapping[str, str | None],
    folders: Mapping[str, str],
    packages: tuple[str, ...],
) -> Inputs:
    built = read_manifest(dataset, DatasetManifest)
    return Inputs(
        loaded.stamp,
        folders={"dataset": built.content_sha256, **folders},
        settings={"dataset": built.request, **settings},
        packages=packages,
    )


def _model_inputs(loaded: Loaded[ScoreRecipe], dataset: Path, model: ModelFolders) -> Inputs:
    trained = read_manifest(model.adapter, AdapterManifest) if model.adapter else None
    backbone = pinned(model.backbone.recipe, trained.figures.base_revision if trained else None)
    folders = {"backbone": canonical_json(base_of(backbone, model.backbone_folder).as_data())}
    if model.adapter and trained:
        folders["adapter"] = trained.content_sha256
        if calibration := read_calibration(model.adapter, trained):
            folders["calibration"] = sha256_of_text(canonical_json(calibration))
    names = {"adapter": trained.recipe.name if trained else None, "backbone": model.backbone.name}
    corpus = loaded.recipe.corpus
    script = authors_script_of(corpus, read_manifest(dataset, DatasetManifest))
    if not bundled_entry(corpus) and script != AuthorsScript():
        names["authors_script"] = sha256_of_text(canonical_json(script))
    return _inputs(loaded, dataset, names, folders, MODEL_PACKAGES)
