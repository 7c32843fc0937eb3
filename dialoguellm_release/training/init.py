"""A training that goes on from an adapter."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dialoguellm_release.backbones.adapters import (
    CONFIG,
    WEIGHTS,
    adapter_files_sha256,
    check_adapter_files,
    config_problems,
    load_adapter,
    read_config,
)
from dialoguellm_release.backbones.identity import Base
from dialoguellm_release.backbones.load import location_at, refused_by_hub
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
    location = location_at(init.path, init.revision)
    folder = Path(init.path) if Path(init.path).is_dir() else _fetched(init)
    config = read_config(folder, location)
    problems = [
        *config_problems(config, lora.model_dump(), location),
        *_base_problems(config, base, location),
    ]
    if problems:
        raise RecipeError(problems)
    return load_adapter(model, folder, location, is_trainable=True)


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
            location_at(init.path, init.revision), f"cannot be had from the Hub: {error}", fix=fix
        )
        raise DataError(problem) from error


def _base_problems(config: dict[str, Any], base: Base, location: str) -> Iterator[Problem]:
    stated, revision = config.get("base_model_name_or_path"), config.get("revision")
    if stated != base.repo_id:
        what = f"is not the base of {location}"
        yield Problem("backbone", what, str(stated), base.repo_id, code="adapters.other_base")
    elif revision and base.revision and revision != base.revision:
        what = f"is another revision than the base of {location}"
        yield Problem("backbone", what, revision, base.revision, code="adapters.other_revision")
