"""The steps that lead on from an adapter or its recipe: merge it, train it elsewhere, or on other data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dialoguellm_release.backbones.identity import base_of, pinned
from dialoguellm_release.errors import DataError, Problem
from dialoguellm_release.folders import canonical_json, read_manifest, sha256_of_text, stamp, write_text
from dialoguellm_release.layout import CLEAN_CONFIG
from dialoguellm_release.recipes.catalogue import load_recipe
from dialoguellm_release.recipes.load import Loaded
from dialoguellm_release.resources import recording
from dialoguellm_release.schemas.dataset_manifest import DatasetManifest
from dialoguellm_release.schemas.labels import OWN, Split
from dialoguellm_release.schemas.manifests import AdapterManifest, ExportManifest, MergedManifest
from dialoguellm_release.schemas.recipes.adapter import AdapterData, AdapterRecipe, InitAdapter
from dialoguellm_release.schemas.recipes.backbone import BackboneRecipe
from dialoguellm_release.schemas.recipes.score import ScoreRecipe
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
from dialoguellm_release.steps.backbone import built_backbone

HELD_OUT: tuple[Split, ...] = ("test", "validation")
"""Where a user's own data is scored, the better choice first."""

SCORED_AT_ONCE = 16
"""The batch size of the bundled score recipes."""


@dataclass(frozen=True)
class NewRecipe:
    """Recipes for a user's own data, and the dataset folder that they are for.

    Attributes:
        recipe: Of the adapter.
        score: Of its scores on the test split, else on the validation split; None where all is to train on.
    """

    recipe: Path
    score: Path | None
    dataset: Path
    manifest: DatasetManifest


def new_recipe(
    parent: str, data: Path, out: Path, *, context_k: int = 1, init_adapter: str | None = None
) -> NewRecipe:
    """Writes recipes to train and to score on a table of one's own, and its records as a dataset folder.

    Args:
        parent: The adapter recipe whose settings are taken: a bundled one, or a path.
        data: A CSV file with the columns text and label, and where wanted speaker, dialogue and split.
        out: Gets `NAME.yaml`, `NAME-score.yaml` and `dataset/`; NAME is that of the file.
        context_k: How many past turns of the same dialogue a prompt shows.
        init_adapter: A folder or repository id of an adapter to go on from; None starts anew.

    Raises:
        DataError: Columns or rows of the table are wrong, each named by its line.
    """
    loaded = load_recipe(parent, "adapter", AdapterRecipe)
    settings = loaded.recipe
    manifest = _own_dataset(data, settings.prompt, context_k, out / "dataset")
    records = manifest.figures.records
    trainer = settings.trainer
    if not records["validation"]:
        unseen = {"eval_steps": None, "load_best_model_at_end": False}
        trainer = trainer.model_copy(update=unseen)
    config = CLEAN_CONFIG if settings.data.config == CLEAN_CONFIG else OWN
    changes = {
        "description": f"{settings.backbone} on {data.name}, with the settings of {loaded.name}.",
        "data": AdapterData(config=config, knowledge=settings.data.knowledge),
        "trainer": trainer,
        "init_adapter": InitAdapter(path=init_adapter) if init_adapter else settings.init_adapter,
    }
    changed = replace(loaded, recipe=settings.model_copy(update=changes))
    recipe = out / f"{data.stem}.yaml"
    command = f"dlm-release adapter train {recipe} --dataset {out / 'dataset'}"
    _write_recipe(recipe, changed, f"The settings of {loaded.name} on {data.name}.", command)
    held_out = next((split for split in HELD_OUT if records[split]), None)
    score = _write_score_recipe(data, held_out, trainer.max_length, out) if held_out else None
    return NewRecipe(recipe, score, out / "dataset", manifest)


def _own_dataset(data: Path, prompt: str, context_k: int, out: Path) -> DatasetManifest:
    """The manifest of the dataset folder of a table."""
    from dialoguellm_release.cards.dataset import render_own_card
    from dialoguellm_release.dataset.build import SHAPED_BY, dataset_sha256
    from dialoguellm_release.dataset.own import own_recipe, write_own_dataset
    from dialoguellm_release.progress import progress

    def make(folder: Path) -> Output:
        with progress(f"building {out.name}", None) as advance:
            figures = write_own_dataset(data, prompt, context_k, folder, advance)
        return Output(dataset_sha256(figures), {"figures": figures}, (stamp(data, data.parent),))

    def finish(folder: Path, manifest: DatasetManifest) -> None:
        write_text(folder / "README.md", render_own_card(manifest))

    recipe = own_recipe(data, prompt, context_k)
    inputs = Inputs(recipe.stamp, packages=SHAPED_BY, sources=data.parent)
    return run_step(DatasetManifest, out, inputs, make, finish).manifest


def _write_score_recipe(data: Path, split: Split, max_length: int, out: Path) -> Path:
    """The path of the recipe that scores a split of a table."""
    path = out / f"{data.stem}-score.yaml"
    recipe = ScoreRecipe(
        version=1,
        kind="score",
        description=f"{data.name}, {split} split, headline weighted F1.",
        corpus=OWN,
        split=split,
        max_length=max_length,
        batch_size=SCORED_AT_ONCE,
    )
    adapter = BUILD / "adapters" / data.stem
    command = f"dlm-release score run {path} --dataset {out / 'dataset'} --adapter {adapter}"
    _write_recipe(
        path, Loaded(path.stem, recipe, {}), f"Scores on the {split} split of {data.name}.", command
    )
    return path


def _write_recipe(path: Path, loaded: Loaded[Any], what: str, command: str) -> None:
    from dialoguellm_release.recipes.catalogue import as_yaml

    write_text(path, f"# {what}\n# Command: {command}\n{as_yaml(loaded)}\n")


@recording()
def merge_adapter(
    adapter: Path,
    out: Path | None = None,
    *,
    backbones: Path = BUILD / "backbones",
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
    """
    from dialoguellm_release.training import merge

    adapter = Path(adapter)
    trained = read_manifest(adapter, AdapterManifest)
    name = str(trained.recipe.resolved["backbone"])
    backbone = load_recipe(name, "backbone", BackboneRecipe)
    folder = built_backbone(name, backbone, Path(backbones))
    base = base_of(pinned(backbone.recipe, trained.figures.base_revision), folder)
    inputs = Inputs(
        trained.recipe,
        folders={"adapter": trained.content_sha256, "backbone": canonical_json(base.as_data())},
        packages=("torch", "transformers", "peft"),
    )

    def make(target: Path) -> Output:
        merged = merge.merge_adapter(adapter, backbone, folder, target)
        return Output(merged.content_sha256, {"figures": merged.figures}, trained.outputs)

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
        DataError: There is no such tool, no tokenizer, a record does not fit, or the tool would train on
            other tokens.

    Example:
        >>> export_training("tiny", "trl")  # doctest: +SKIP
        StepResult(build/exports/trl-tiny: export, new, content 2f0c2d3e4a5b)
    """
    from dialoguellm_release.backbones.load import local_tokenizer
    from dialoguellm_release.training import export

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

    def make(folder: Path) -> Output:
        made = export.export_training(loaded, backbone, found, data, tool, folder)
        return Output(made.content_sha256, {"figures": made.figures}, made.files)

    target = Path(out or BUILD / "exports" / f"{tool}-{folder_name(loaded.name, overrides)}")
    return run_step(ExportManifest, target, inputs, make, replace=replace)
