"""On what a training ran, and how fast."""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING

from dialoguellm_release.schemas.manifests import Precision, TrainingRun

if TYPE_CHECKING:
    from dialoguellm_release.training.sft import Tuned


def training_run(tuned: Tuned, steps: int) -> TrainingRun:
    """What a training took; it names the kind of hardware, never the machine.

    Args:
        steps: That were taken by this run, without those before it was resumed.
    """
    from accelerate import PartialState

    seconds = max(tuned.seconds, 1e-9)
    return TrainingRun(
        hardware=hardware_name(),
        devices=PartialState().num_processes,
        precision=precision(),
        steps=steps,
        seconds=round(tuned.seconds, 3),
        tokens_per_second=round(tuned.tokens / seconds, 1),
        computed_tokens_per_second=round(tuned.computed_tokens / seconds, 1),
    )


def precision() -> Precision:
    """What a model is trained in here: bf16 where the GPU has it, else fp16, and float32 on a CPU."""
    import torch

    if not torch.cuda.is_available():
        return "float32"
    return "bf16" if torch.cuda.is_bf16_supported() else "fp16"


def hardware_name() -> str:
    """The accelerator's name, or the kind of processor."""
    import torch

    if torch.cuda.is_available():
        return str(torch.cuda.get_device_name())
    return f"{platform.machine()} processor, one thread"
