"""An adapter of somebody's, put onto its backbone: from safetensors alone."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from dialoguellm_release.errors import DataError, MissingExtraError, Problem
from dialoguellm_release.folders import combined_sha256, sha256_of

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"


def load_adapter(
    model: PreTrainedModel, folder: Path, place: str | None = None, *, is_trainable: bool = False
) -> PeftModel:
    """The model with the adapter of a folder.

    Why: where there are no safetensors PEFT itself takes a pickle, which can run anything.

    Args:
        place: What an error calls the folder; None calls it by its path.
        is_trainable: False freezes the adapter.

    Raises:
        DataError: The folder holds no adapter in safetensors, or one that does not fit the model.
        MissingExtraError: peft is not installed.
    """
    try:
        from peft import PeftModel
        from safetensors import SafetensorError
    except ModuleNotFoundError as error:
        raise MissingExtraError("train", str(error.name)) from error

    where = place or str(folder)
    check_adapter_files(folder, where)
    try:
        with warnings.catch_warnings():
            # PEFT still uses a name that transformers has deprecated.
            warnings.simplefilter("ignore", FutureWarning)
            return PeftModel.from_pretrained(model, folder, is_trainable=is_trainable)
    except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
        raise DataError(Problem(where, f"cannot be loaded as an adapter: {error}")) from error


def check_adapter_files(folder: Path, where: str) -> None:
    """Looks whether a folder holds the files of an adapter.

    Raises:
        DataError: It does not, or in another form.
    """
    problems = [
        Problem(where, f"no {name} here", fix="name the folder of an adapter")
        for name in (CONFIG, WEIGHTS)
        if not (folder / name).is_file()
    ]
    if problems:
        raise DataError(problems)


def adapter_files_sha256(folder: Path) -> str:
    """A hash over settings and weights of an adapter, whoever made it."""
    return combined_sha256((name, sha256_of(folder / name)) for name in (CONFIG, WEIGHTS))
