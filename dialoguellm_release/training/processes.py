"""Several processes that train one adapter together: the first one writes, the others follow."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from dialoguellm_release.errors import DataError, Problem, RecipeError

if TYPE_CHECKING:
    from peft import PeftModel


def rank() -> int:
    """The number of this process among those that `torchrun` or `accelerate launch` started; else 0."""
    return int(os.environ.get("RANK", "0"))


def share_of(gradient_accumulation_steps: int) -> int:
    """How many of the micro-batches of a step each process takes.

    Why: a recipe tells the batch, so the same recipe must train the same on one device and on eight.

    Raises:
        RecipeError: They cannot be shared out evenly.
    """
    share, rest = divmod(gradient_accumulation_steps, _started())
    if rest or not share:
        raise RecipeError(
            Problem(
                "trainer.gradient_accumulation_steps",
                "the micro-batches of a step cannot be shared out evenly among the processes",
                expected=f"a multiple of {_started()}",
                got=str(gradient_accumulation_steps),
                fix="raise it and lower trainer.per_device_train_batch_size, or start fewer processes",
                code="training.uneven_share",
            )
        )
    return share


@contextmanager
def first_alone() -> Iterator[None]:
    """A block that the first process goes through before all others, so that these find what it made."""
    if rank():
        _wait_for_all()
    yield
    if not rank():
        _wait_for_all()


def gather_trained(model: PeftModel) -> None:
    """Makes the trained weights whole in every process, where FSDP or ZeRO-3 has spread them over several.

    The frozen weights stay where they are: an adapter is written without them.
    """
    import torch
    from torch.distributed.tensor import DTensor

    for part in model.modules():
        for name, weight in list(part.named_parameters(recurse=False)):
            if not weight.requires_grad:
                continue
            if isinstance(weight, DTensor):
                setattr(part, name, torch.nn.Parameter(weight.full_tensor().detach().clone()))
            elif hasattr(weight, "ds_id"):
                from deepspeed.runtime.zero import GatheredParameters

                with GatheredParameters([weight]):
                    whole = weight.detach().clone()
                setattr(part, name, torch.nn.Parameter(whole))


def _started() -> int:
    return int(os.environ.get("WORLD_SIZE", "1"))


def _wait_for_all() -> None:
    """Returns when every process is here and has a device of its own; at once where there is but one process.

    Raises:
        DataError: Several were started, but each would train alone.
    """
    if _started() == 1:
        return
    import torch
    from accelerate import PartialState

    state = PartialState(cpu=not torch.cuda.is_available())
    if state.num_processes != _started():
        raise DataError(
            Problem(
                "the training",
                f"{_started()} processes were started, but each sees {state.num_processes}",
                fix="start them with torchrun or accelerate launch",
                code="training.separate_processes",
            )
        )
    state.wait_for_everyone()
