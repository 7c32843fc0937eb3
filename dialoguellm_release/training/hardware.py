"""On what a training ran, and how fast."""

from __future__ import annotations

import platform

from dialoguellm_release.schemas.manifests.adapter import TrainingRun
from dialoguellm_release.training.sft import Tuned


def training_run(tuned: Tuned) -> TrainingRun:
    """What a training took; it names the kind of hardware, never the machine."""
    from accelerate import PartialState

    seconds = max(tuned.seconds, 1e-9)
    return TrainingRun(
        hardware=hardware_name(),
        devices=PartialState().num_processes,
        seconds=round(tuned.seconds, 3),
        tokens_per_second=round(tuned.tokens / seconds, 1),
        computed_tokens_per_second=round(tuned.computed_tokens / seconds, 1),
    )


def hardware_name() -> str:
    """The accelerator's name, or the kind of processor."""
    import torch

    if torch.cuda.is_available():
        return str(torch.cuda.get_device_name())
    return f"{platform.machine()} processor, one thread"
