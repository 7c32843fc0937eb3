"""The steps around an adapter: look ahead, train, train over seeds."""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from dialoguellm_release.backbones.load import local_tokenizer
from dialoguellm_release.backbones.weights import base_of
from dialoguellm_release.cards.model import render_adapter_card
from dialoguellm_release.errors import DataError, Problem, RecipeError
from dialoguellm_release.folders import (
    MANIFEST,
    canonical_json,
    read_manifest,
    staged,
    stamps,
    write_manifest,
    write_text,
)
from dialoguellm_release.processes import first_alone
from dialoguellm_release.processes import rank as rank
from dialoguellm_release.progress import say
from dialoguellm_release.prompts import load_prompt
from dialoguellm_release.recipes.catalogue import load_recipe
from dialoguellm_release.recipes.load import Loaded
from dialoguellm_release.resources import recording
from dialoguellm_release.schemas.dataset_manifest import DatasetManifest
from dialoguellm_release.schemas.manifests import AdapterManifest, BackboneManifest, TrainingRun
from dialoguellm_release.schemas.recipes.adapter import AdapterRecipe
from dialoguellm_release.schemas.recipes.backbone import BackboneRecipe
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
from dialoguellm_release.steps.model import built_backbone
from dialoguellm_release.training import check, train
from dialoguellm_release.training.adapter_folder import SEEDS_FILE, over_seeds
from dialoguellm_release.training.adapter_folder import MeanAndDeviation as MeanAndDeviation
from dialoguellm_release.training.adapter_folder import SeedsSummary as SeedsSummary
from dialoguellm_release.training.check import Check as Check
from dialoguellm_release.training.check import Footprint as Footprint
from dialoguellm_release.training.check import Tokens as Tokens
from dialoguellm_release.training.checkpoints import Unfinished as Unfinished
from dialoguellm_release.training.checkpoints import checkpoints_of
from dialoguellm_release.training.data import records_of, records_read
from dialoguellm_release.training.data import survival_table as survival_table


@dataclass(frozen=True)
class TrainedSeeds:
    """The adapters of several seeds: their folder, each one, and the figures over all of them."""

    folder: Path
    made: tuple[StepResult[AdapterManifest], ...]
    summary: SeedsSummary


def seeds_of(recipe: StrPath, overrides: Sequence[str] = ()) -> tuple[int, ...]:
    """The seeds of an adapter recipe; empty where it trains one adapter."""
    return load_recipe(os.fspath(recipe), "adapter", AdapterRecipe, overrides).recipe.seeds


def check_adapter(
    recipe: StrPath,
    dataset: StrPath | None = None,
    *,
    tokenizer: StrPath | None = None,
    tokens_per_second: float | None = None,
    backbones: StrPath = BUILD / "backbones",
    overrides: Sequence[str] = (),
) -> Check:
    """Estimates a training: sizes, lengths, steps, memory, time. Loads no weights.

    Args:
        recipe: Name of a bundled adapter recipe, or a path.
        dataset: Folder that `build_dataset` made; None is `build/dataset`, where there is one.
        tokenizer: Folder of the backbone's tokenizer; None takes one that is on this machine already.
        tokens_per_second: A throughput from which the time is computed.
        backbones: Where backbones are built.
        overrides: Settings `key.key=value` of the recipe.

    Returns:
        The figures, as far as they are known without weights, dataset or tokenizer.

    Raises:
        DataError: The dataset was built with another prompt, or there is no tokenizer in the folder.
        MissingExtraError: The extra `train` is not installed.

    Example:
        >>> check_adapter("llama-2-7b", tokens_per_second=9000)  # doctest: +SKIP
    """
    loaded = load_recipe(os.fspath(recipe), "adapter", AdapterRecipe, overrides)
    backbone = load_recipe(loaded.recipe.backbone, "backbone", BackboneRecipe)
    prompt = load_prompt(loaded.recipe.prompt)
    folder = Path(dataset or BUILD / "dataset")
    records = None
    if dataset or (folder / MANIFEST).is_file():
        built = read_manifest(folder, DatasetManifest)
        records = records_of(folder, built, loaded.recipe, prompt, "train")
    found = local_tokenizer(
        backbone.recipe, Path(backbones) / backbone.name, Path(tokenizer) if tokenizer else None
    )
    return check.check_adapter(loaded, backbone, records, prompt, found, tokens_per_second=tokens_per_second)


def train_adapter(
    recipe: StrPath,
    dataset: StrPath = BUILD / "dataset",
    out: StrPath | None = None,
    *,
    backbones: StrPath = BUILD / "backbones",
    overrides: Sequence[str] = (),
    unfinished: Unfinished = "refuse",
    again: bool = False,
    replace: bool = False,
) -> StepResult[AdapterManifest]:
    """Trains a LoRA adapter; a backbone that is built here is built first where it is missing.

    Args:
        recipe: Name of a bundled adapter recipe, or a path; its `seeds` must be empty.
        dataset: Folder that `build_dataset` made.
        out: None is `build/adapters/NAME`.
        backbones: Where backbones are built, each under the name of its recipe.
        overrides: Settings `key.key=value` of the recipe.
        unfinished: What to do with a training that did not end: `refuse` to begin, `resume` from its last
            checkpoint, or `discard` it.
        again: Train even where the folder is current.
        replace: Replace a finished adapter that was made from anything else.

    Returns:
        The adapter folder and its manifest.

    Raises:
        RecipeError: The recipe is not valid, or names several seeds.
        DataError: Dataset and recipe do not belong together, a record does not fit, training failed, or an
            unfinished training or a finished adapter is in the way.
        MissingExtraError: The extra `train` is not installed.

    Example:
        >>> train_adapter("tiny", overrides=["trainer.max_steps=20"])  # doctest: +SKIP
        StepResult(build/adapters/tiny-trainer.max_steps=20: adapter, new, content 7c0f2d3e4a5b)
    """
    loaded = main_recipe(recipe, "adapter", AdapterRecipe, overrides)
    if loaded.recipe.seeds:
        fix = "call train_seeds, or set seeds to []"
        raise RecipeError(Problem(loaded.name, "names several seeds", fix=fix, code="training.seeds"))
    target = Path(out or BUILD / "adapters" / folder_name(loaded.name, overrides))
    return trained(
        loaded, target, Path(dataset), Path(backbones), unfinished=unfinished, again=again, replace=replace
    )


def train_seeds(
    recipe: StrPath,
    dataset: StrPath = BUILD / "dataset",
    out: StrPath | None = None,
    *,
    backbones: StrPath = BUILD / "backbones",
    overrides: Sequence[str] = (),
    unfinished: Unfinished = "refuse",
    again: bool = False,
    replace: bool = False,
) -> TrainedSeeds:
    """Trains one adapter for each of a recipe's `seeds`, and writes mean and deviation to `seeds.json`.

    A seed whose folder is current is not trained again.

    Args:
        recipe: Name of a bundled adapter recipe, or a path; its `seeds` say which.
        dataset: Folder that `build_dataset` made.
        out: Gets a folder `seed-N` for each; None is `build/adapters/NAME`.
        backbones: Where backbones are built, each under the name of its recipe.
        overrides: Settings `key.key=value` of the recipe.
        unfinished: As in `train_adapter`.
        again: Train even where a folder is current.
        replace: Replace finished adapters that were made from anything else.

    Returns:
        The adapters, and the figures over all of them.

    Raises:
        DataError: As `train_adapter`.

    Example:
        >>> train_seeds("tiny", overrides=["seeds=[1, 2, 3]"]).summary  # doctest: +SKIP
    """
    loaded = main_recipe(recipe, "adapter", AdapterRecipe, overrides)
    folder = Path(out or BUILD / "adapters" / folder_name(loaded.name, overrides))
    made = []
    for seed in loaded.recipe.seeds:
        one = dataclasses.replace(loaded, recipe=loaded.recipe.model_copy(update={"seed": seed, "seeds": ()}))
        target, ways = folder / f"seed-{seed}", (Path(dataset), Path(backbones))
        made.append(trained(one, target, *ways, unfinished=unfinished, again=again, replace=replace))
    summary = over_seeds(loaded, [one.manifest for one in made])
    if not rank():
        write_text(folder / SEEDS_FILE, summary.model_dump_json(indent=2) + "\n")
    return TrainedSeeds(folder, tuple(made), summary)


@recording()
def trained(
    loaded: Loaded[AdapterRecipe],
    out: Path,
    dataset: Path,
    backbones: Path,
    *,
    unfinished: Unfinished = "refuse",
    again: bool = False,
    replace: bool = False,
) -> StepResult[AdapterManifest]:
    """The folder of the adapter of a loaded recipe."""
    built = read_manifest(dataset, DatasetManifest)
    backbone = main_recipe(loaded.recipe.backbone, "backbone", BackboneRecipe)
    with first_alone():
        backbone_folder = built_backbone(loaded.recipe.backbone, backbone, backbones)
    load_prompt(loaded.recipe.prompt)  # a resource, which is compared by its path where it is not bundled
    init = train.init_adapter_sha256(loaded.recipe.init_adapter)
    base = {"backbone": canonical_json(base_of(backbone.recipe, backbone_folder).as_data())}
    read = records_read(dataset, loaded.recipe)
    inputs = Inputs(
        loaded.stamp,
        folders={
            **{f"{split} records": digest for split, digest in read.items()},
            **base,
            **({"init adapter": init} if init else {}),
        },
        settings={
            # The longest of them decides how much of a record fits.
            "labels": list(built.figures.class_labels),
            "backbone": backbone.recipe.source.model_dump(mode="json"),
        },
        packages=train.PACKAGES,
    )
    checkpoints = checkpoints_of(out)

    def make(folder: Path) -> Output:
        done = train.train_adapter(
            loaded,
            backbone,
            backbone_folder,
            dataset,
            folder,
            records_sha256=read,
            checkpoints=checkpoints,
            unfinished="discard" if again else unfinished,
        )
        run = _first_run(out, loaded, done.content_sha256)
        return dataclasses.replace(done, fields={**done.fields, "run": run}) if run else done

    def finish(folder: Path, manifest: AdapterManifest) -> None:
        own = read_manifest(backbone_folder, BackboneManifest) if backbone_folder else None
        text = render_adapter_card(manifest, [], loaded.name, dataset=built, backbone=own)
        write_text(folder / "README.md", text)

    result = run_step(AdapterManifest, out, inputs, make, finish, again=again, replace=replace)
    if result.manifest.figures.dataset_content_sha256 != built.content_sha256:
        result = _of_dataset(result, built.content_sha256, finish)
    if not rank():
        # Also where the folder was current: a run may have been killed just before it cleared up.
        shutil.rmtree(checkpoints, ignore_errors=True)
    return result


def _of_dataset(
    current: StepResult[AdapterManifest],
    content_sha256: str,
    finish: Callable[[Path, AdapterManifest], None],
) -> StepResult[AdapterManifest]:
    """A current adapter, said to be of the dataset whose records it was trained on.

    Why: other corpora of the dataset changed, and a release has one dataset; training again gives the same.
    """
    figures = current.manifest.figures.model_copy(update={"dataset_content_sha256": content_sha256})
    manifest = current.manifest.model_copy(update={"figures": figures})
    with staged(current.folder, "adapter") as folder:
        shutil.copytree(current.folder, folder, dirs_exist_ok=True)
        finish(folder, manifest)
        manifest = manifest.model_copy(update={"outputs": stamps(folder)})
        write_manifest(folder, manifest)
    say(f"{current.folder} was trained on these records; its manifest now names the dataset as it is.")
    return dataclasses.replace(current, manifest=manifest)


def _first_run(out: Path, loaded: Loaded[AdapterRecipe], content_sha256: str) -> TrainingRun | None:
    """The run that the manifest in `out` tells of, where it is of the same adapter.

    Why: a release that is made again from the same recipe must not change because a clock was read.
    """
    try:
        before = read_manifest(out, AdapterManifest)
    except DataError:
        return None
    is_same = (before.content_sha256, before.recipe) == (content_sha256, loaded.stamp)
    return before.run if is_same else None
