"""A training that goes on from an adapter."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from dialoguellm_release.backbones.identity import Base
from dialoguellm_release.errors import DataError, Problem, RecipeError
from dialoguellm_release.schemas.recipes.adapter import InitAdapter, LoraRecipe

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel


def with_init_adapter(model: PreTrainedModel, init: InitAdapter, lora: LoraRecipe, base: Base) -> PeftModel:
    """The model with the weights of an adapter, ready to be trained on.

    Raises:
        DataError: There is no such adapter, or it is in pickles.
        RecipeError: It is of another base, or its LoRA settings are not those of the recipe.
    """
    from peft import PeftConfig, PeftModel
    from safetensors import SafetensorError

    place = f"{init.path} at {init.revision}" if init.revision else init.path
    folder = Path(init.path)
    if folder.is_dir() and not (folder / "adapter_model.safetensors").is_file():
        raise DataError(
            Problem(place, "no adapter_model.safetensors here", fix="name the folder of an adapter")
        )
    try:
        config = PeftConfig.from_pretrained(init.path, revision=init.revision)
        _check_settings(config, lora, base, place)
        return PeftModel.from_pretrained(
            model, init.path, revision=init.revision, is_trainable=True, use_safetensors=True
        )
    except (OSError, ValueError, SafetensorError) as error:
        raise DataError(
            Problem(
                place,
                f"cannot be loaded as an adapter: {error}",
                fix="check init_adapter.path and revision; for a private repository: hf auth login",
            )
        ) from error


def _check_settings(config: object, lora: LoraRecipe, base: Base, place: str) -> None:
    wanted = {**lora.model_dump(), "target_modules": sorted(lora.target_modules)}
    found = {name: getattr(config, name, None) for name in wanted}
    targets = found["target_modules"]
    found["target_modules"] = sorted(targets) if isinstance(targets, (set, list)) else targets
    # Dropout is of the training, not of the adapter.
    differing = [name for name in wanted if name != "lora_dropout" and wanted[name] != found[name]]
    problems = [
        Problem(f"lora.{name}", f"differs from {place}", expected=str(found[name]), got=str(wanted[name]))
        for name in differing
    ]
    stated = getattr(config, "base_model_name_or_path", None)
    if stated != base.repo_id:
        problems.append(
            Problem("backbone", f"is not the base of {place}", expected=str(stated), got=base.repo_id)
        )
    if problems:
        raise RecipeError(problems)
