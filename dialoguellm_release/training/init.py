"""A training that goes on from an adapter."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from dialoguellm_release.backbones.adapters import (
    CONFIG,
    WEIGHTS,
    adapter_files_sha256,
    check_adapter_files,
    load_adapter,
)
from dialoguellm_release.backbones.identity import Base
from dialoguellm_release.backbones.refusals import place_at, refused_by_hub
from dialoguellm_release.errors import DataError, Problem, RecipeError
from dialoguellm_release.schemas.recipes.adapter import InitAdapter, LoraRecipe

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel


def with_init_adapter(model: PreTrainedModel, init: InitAdapter, lora: LoraRecipe, base: Base) -> PeftModel:
    """The model with the weights of an adapter, ready to be trained on.

    Raises:
        DataError: There is no such adapter, or it is in pickles.
        RecipeError: It is of another base, its LoRA settings are not those of the recipe, or it is on the Hub
            and no commit is named.
    """
    from peft import PeftConfig

    place = place_at(init.path, init.revision)
    folder = Path(init.path) if Path(init.path).is_dir() else _fetched(init)
    check_adapter_files(folder, place)
    try:
        config = PeftConfig.from_pretrained(folder)
    except (OSError, ValueError, TypeError) as error:
        raise DataError(Problem(place, f"{CONFIG} cannot be read: {error}")) from error
    _check_settings(config, lora, base, place)
    return load_adapter(model, folder, place, is_trainable=True)


def init_adapter_sha256(init: InitAdapter | None) -> str | None:
    """The hash of the folder that a training goes on from.

    None where it starts anew, and for an adapter on the Hub, whose commit says as much.

    Raises:
        DataError: The folder holds no adapter.
    """
    if init is None or not Path(init.path).is_dir():
        return None
    check_adapter_files(Path(init.path), init.path)
    return adapter_files_sha256(Path(init.path))


def _fetched(init: InitAdapter) -> Path:
    """Where the configuration and weights of an adapter on the Hub lie on this machine.

    Why: PEFT itself takes a pickle where a repository has no safetensors, and tells nobody why the Hub
    refused.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    if init.revision is None:
        raise RecipeError(
            Problem(
                "init_adapter.revision",
                f"{init.path} is no folder here, and an adapter on the Hub needs its commit",
                expected="40 hexadecimal digits",
                fix=f"set init_adapter.revision to a commit of {init.path}, or name a folder that is there",
            )
        )
    try:
        return Path(snapshot_download(init.path, revision=init.revision, allow_patterns=[CONFIG, WEIGHTS]))
    except (OSError, HFValidationError) as error:
        fix = "check init_adapter.path and init_adapter.revision"
        problem = refused_by_hub(init.path, init.revision, error) or Problem(
            place_at(init.path, init.revision), f"cannot be had from the Hub: {error}", fix=fix
        )
        raise DataError(problem) from error


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
