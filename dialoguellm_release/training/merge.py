"""An adapter goes into the weights of its base: one model, for those who serve without PEFT."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dialoguellm_release.backbones.adapters import check_unchanged, load_adapter
from dialoguellm_release.backbones.context_window import context_window
from dialoguellm_release.backbones.load import load_backbone, load_model
from dialoguellm_release.backbones.weights import (
    Base,
    base_of,
    pinned,
    weights_sha256,
    write_for_earlier_versions,
)
from dialoguellm_release.errors import DataError, Problem
from dialoguellm_release.folders import read_manifest
from dialoguellm_release.recipes.load import Loaded
from dialoguellm_release.schemas.manifests import AdapterManifest, MergedFigures
from dialoguellm_release.schemas.recipes.backbone import BackboneRecipe
from dialoguellm_release.training.checkpoints import writing_weights

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

TOLERANCES = {"torch.float32": 1e-4, "torch.bfloat16": 5e-2, "torch.float16": 1e-2}
"""How far a merged logit may lie from the unmerged one, as a part of the largest logit.

Why: the sum of weight and adapter is rounded to the type of the weights, which has 24, 8 or 11 bits."""

_CARRIED = (
    "chat_template.jinja",
    "golden_prompt.json",
    "prompt.json",
    "prompt_template.jinja",
    "tokenizer.json",
    "tokenizer_config.json",
)


@dataclass(frozen=True)
class Merged:
    """What a merged model is: the hash of its weights, and the figures of the merge."""

    content_sha256: str
    figures: MergedFigures


def merge_adapter(
    adapter: Path, backbone: Loaded[BackboneRecipe], backbone_folder: Path | None, folder: Path
) -> Merged:
    """Writes the merged model with tokenizer and prompt into an empty folder, if it answers as before.

    Args:
        adapter: Folder that a training made.
        backbone_folder: Where a backbone was built here; None for one from the Hub.

    Raises:
        DataError: The adapter is of another base, or the merged model answers otherwise.
    """
    trained = read_manifest(adapter, AdapterManifest)
    check_unchanged(adapter, trained)
    recipe = pinned(backbone.recipe, trained.figures.base_revision)
    base = base_of(recipe, backbone_folder)
    _check_base(trained, base, adapter)
    model, _ = load_backbone(recipe, backbone_folder)
    tuned = load_adapter(model, adapter).eval()
    golden = json.loads((adapter / "golden_prompt.json").read_text(encoding="utf-8"))
    ids = golden["prompt_ids"] + golden["completion_ids"]
    ids = ids[: context_window(model.config.get_text_config())]  # the records may be shorter than these
    expected = _logits(tuned, ids)
    merged = tuned.merge_and_unload(safe_merge=True)
    merged.config._name_or_path = ""
    with writing_weights(folder):
        merged.save_pretrained(folder)
    write_for_earlier_versions(folder)
    for name in _CARRIED:
        shutil.copyfile(adapter / name, folder / name)
    again = load_model(folder, dtype=merged.dtype).to(merged.device).eval()
    difference = float((_logits(again, ids) - expected).abs().max())
    largest = float(expected.abs().max())
    _check_equal(difference, largest, str(merged.dtype), adapter)
    figures = MergedFigures(
        adapter_content_sha256=trained.content_sha256,
        base=base.repo_id,
        base_revision=base.revision,
        dtype=str(merged.dtype).removeprefix("torch."),
        largest_difference=difference,
        largest_logit=largest,
        task=trained.figures.task,
    )
    return Merged(weights_sha256(merged.state_dict()), figures)


def _logits(model: PreTrainedModel, ids: list[int]) -> torch.Tensor:
    import torch

    with torch.inference_mode():
        logits: torch.Tensor = model(input_ids=torch.tensor([ids], device=model.device)).logits
    return logits.float().cpu()


def _check_base(trained: AdapterManifest, base: Base, adapter: Path) -> None:
    stated = Base.of(trained.figures)
    if stated != base:
        raise DataError(
            Problem(
                str(adapter),
                "was trained on another base",
                expected=str(stated.as_data()),
                got=str(base.as_data()),
                fix="name the backbone recipe that it was trained with, and build it again if it changed",
                code="training.other_base",
            )
        )


def _check_equal(difference: float, largest: float, dtype: str, adapter: Path) -> None:
    if not difference <= TOLERANCES[dtype] * largest:
        raise DataError(
            Problem(
                str(adapter),
                "the merged model gives other logits than base and adapter",
                expected=f"a difference of at most {TOLERANCES[dtype] * largest:g} in {dtype}",
                got=f"{difference:g}",
                fix="serve the adapter beside its base",
                code="training.merged_differs",
            )
        )
