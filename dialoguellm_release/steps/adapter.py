"""The steps around an adapter: look ahead, train, train over seeds."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from dialoguellm_release.backbones.identity import Base, base_of
from dialoguellm_release.errors import Problem, RecipeError
from dialoguellm_release.folders import MANIFEST, read_manifest, write_text
from dialoguellm_release.prompts import load_prompt
from dialoguellm_release.recipes.catalogue import load_recipe
from dialoguellm_release.recipes.load import Loaded
from dialoguellm_release.schemas.dataset_manifest import DatasetManifest
from dialoguellm_release.schemas.manifests import AdapterManifest, BackboneManifest
from dialoguellm_release.schemas.recipes.adapter import AdapterRecipe
from dialoguellm_release.schemas.recipes.backbone import BackboneRecipe
from dialoguellm_release.step import BUILD, StepResult, current_folder
from dialoguellm_release.steps.backbone import built_backbone

if TYPE_CHECKING:
    from dialoguellm_release.training.check import Check
    from dialoguellm_release.training.seeds import SeedsSummary


@dataclass(frozen=True)
class TrainedSeeds:
    """The adapters of several seeds: their folder, each one, and the figures over all of them."""

    folder: Path
    made: tuple[StepResult[AdapterManifest], ...]
    summary: SeedsSummary


def check_adapter(
    recipe: str,
    dataset: Path | None = None,
    *,
    tokenizer: Path | None = None,
    tokens_per_second: float | None = None,
    backbones: Path = BUILD / "backbones",
    overrides: Sequence[str] = (),
) -> Check:
    """What can be told of a training beforehand: sizes, lengths, steps, memory, time. Loads no weights.

    Args:
        recipe: Name of a bundled adapter recipe, or a path.
        dataset: Folder that `build_dataset` made; None is `build/dataset`, where there is one.
        tokenizer: Folder of the backbone's tokenizer; None takes what lies on this machine already.
        tokens_per_second: A throughput to reckon the time with.

    Raises:
        DataError: The dataset was built with another prompt, or there is no tokenizer where it should be.
        MissingExtraError: The extra `train` is not installed.
    """
    from dialoguellm_release.backbones.load import local_tokenizer
    from dialoguellm_release.training import check
    from dialoguellm_release.training.data import records_of

    loaded = load_recipe(recipe, "adapter", AdapterRecipe, overrides)
    backbone = load_recipe(loaded.recipe.backbone, "backbone", BackboneRecipe)
    prompt = load_prompt(loaded.recipe.prompt)
    folder = dataset or BUILD / "dataset"
    records = None
    if dataset or (folder / MANIFEST).is_file():
        built = read_manifest(folder, DatasetManifest)
        records = records_of(folder, built, loaded.recipe, prompt, "train")
    found = local_tokenizer(backbone.recipe, backbones / backbone.name, tokenizer)
    return check.check_adapter(loaded, backbone, records, prompt, found, tokens_per_second=tokens_per_second)


def train_adapter(
    recipe: str,
    dataset: Path = BUILD / "dataset",
    out: Path | None = None,
    *,
    backbones: Path = BUILD / "backbones",
    overrides: Sequence[str] = (),
    resume: bool = False,
    again: bool = False,
) -> StepResult[AdapterManifest]:
    """The folder of a trained adapter; a backbone of our own making is built first where it is not there.

    Args:
        recipe: Name of a bundled adapter recipe, or a path; its `seeds` must be empty.
        dataset: Folder that `build_dataset` made.
        out: None is `build/adapters/NAME`.
        backbones: Where backbones of our own making lie, each under the name of its recipe.
        resume: Go on from the last checkpoint of a training that did not end.

    Raises:
        RecipeError: The recipe is not valid, or names several seeds.
        DataError: Dataset and recipe do not belong together, a record does not fit, training failed, or an
            unfinished one is in the way.
        MissingExtraError: The extra `train` is not installed.
    """
    loaded = load_recipe(recipe, "adapter", AdapterRecipe, overrides)
    if loaded.recipe.seeds:
        problem = Problem(loaded.name, "names several seeds", fix="call train_seeds, or set seeds to []")
        raise RecipeError(problem)
    return _trained(loaded, dataset, out or BUILD / "adapters" / loaded.name, backbones, resume, again)


def train_seeds(
    recipe: str,
    dataset: Path = BUILD / "dataset",
    out: Path | None = None,
    *,
    backbones: Path = BUILD / "backbones",
    overrides: Sequence[str] = (),
    resume: bool = False,
    again: bool = False,
) -> TrainedSeeds:
    """One adapter folder for each of a recipe's `seeds`, and `seeds.json` with mean and standard deviation.

    A seed whose folder is current is not trained again. The arguments and errors are those of
    `train_adapter`; the folders are `out/seed-N`.
    """
    from dialoguellm_release.training.processes import rank
    from dialoguellm_release.training.seeds import SEEDS_FILE, over_seeds

    loaded = load_recipe(recipe, "adapter", AdapterRecipe, overrides)
    folder = out or BUILD / "adapters" / loaded.name
    made = []
    for seed in loaded.recipe.seeds:
        one = replace(loaded, recipe=loaded.recipe.model_copy(update={"seed": seed, "seeds": ()}))
        made.append(_trained(one, dataset, folder / f"seed-{seed}", backbones, resume, again))
    summary = over_seeds(loaded, [one.manifest for one in made])
    if not rank():
        write_text(folder / SEEDS_FILE, summary.model_dump_json(indent=2) + "\n")
    return TrainedSeeds(folder, tuple(made), summary)


def _trained(
    loaded: Loaded[AdapterRecipe], dataset: Path, folder: Path, backbones: Path, resume: bool, again: bool
) -> StepResult[AdapterManifest]:
    from dialoguellm_release.cards.model import render_adapter_card
    from dialoguellm_release.training import train
    from dialoguellm_release.training.checkpoints import checkpoints_of
    from dialoguellm_release.training.init import init_adapter_sha256
    from dialoguellm_release.training.processes import first_alone

    built = read_manifest(dataset, DatasetManifest)
    backbone = load_recipe(loaded.recipe.backbone, "backbone", BackboneRecipe)
    with first_alone():
        backbone_folder = built_backbone(loaded.recipe.backbone, backbone, backbones)
    base = base_of(backbone.recipe, backbone_folder)

    def is_unchanged(made: AdapterManifest) -> bool:
        figures = made.figures
        return (
            made.recipe == loaded.stamp
            and figures.dataset_content_sha256 == built.content_sha256
            and figures.prompt_sha256 == load_prompt(loaded.recipe.prompt).sha256
            and Base.of(figures) == base
            and figures.init_adapter_sha256 == init_adapter_sha256(loaded.recipe.init_adapter)
        )

    def card(made: AdapterManifest) -> str:
        own = read_manifest(backbone_folder, BackboneManifest) if backbone_folder else None
        return render_adapter_card(made, [], loaded.name, dataset=built, backbone=own)

    if not again and (found := current_folder(folder, is_unchanged, AdapterManifest)):
        # Left behind where a run was killed between placing the folder and clearing up.
        shutil.rmtree(checkpoints_of(folder), ignore_errors=True)
        return found
    manifest = train.train_adapter(
        loaded, backbone, backbone_folder, dataset, folder, resume=resume, again=again, card=card
    )
    return StepResult(folder, manifest, was_current=False)
