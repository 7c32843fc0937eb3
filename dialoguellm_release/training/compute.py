"""On what a training runs: threads, precision, and how much of the hardware's speed it reaches."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from dialoguellm_release.schemas.manifests import Precision, TrainingRun
from dialoguellm_release.schemas.recipes.adapter import TrainerRecipe

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

    from dialoguellm_release.training.sft import Tuned

LARGE = 20_000_000
"""Weights from which a model trains on every core unless the recipe says otherwise."""

FLOPS_PER_WEIGHT = 4
"""Of one weight and token: two forward, two for the gradient of the activations; frozen weights have none."""


def training_run(tuned: Tuned, trainer: TrainerRecipe, steps: int) -> TrainingRun:
    """What a training took; it names the kind of hardware, never the machine.

    Args:
        steps: That this run took, without those before it was resumed.
    """
    from accelerate import PartialState

    seconds = max(tuned.seconds, 1e-9)
    used = precision(trainer)
    with cpu_threads(tuned.threads):
        peak = matmul_flops(used)
    achieved = FLOPS_PER_WEIGHT * tuned.linear_weights * tuned.computed_tokens / seconds
    return TrainingRun(
        hardware=hardware_name(tuned.threads),
        devices=PartialState().num_processes,
        precision=used,
        steps=steps,
        seconds=round(tuned.seconds, 3),
        tokens_per_second=round(tuned.tokens / seconds, 1),
        computed_tokens_per_second=round(tuned.computed_tokens / seconds, 1),
        matmul_share=round(achieved / peak / PartialState().num_processes, 3),
    )


def precision(trainer: TrainerRecipe) -> Precision:
    """What a model is trained in: as the recipe says, else bf16 or fp16 on a GPU and float32 on a CPU."""
    import torch

    if trainer.precision != "auto":
        return trainer.precision
    if not torch.cuda.is_available():
        return "float32"
    return "bf16" if torch.cuda.is_bf16_supported() else "fp16"


def threads_of(trainer: TrainerRecipe, model: PreTrainedModel) -> int:
    """CPU threads of a training: the recipe's, else one for a small model and every core for a large one.

    Why: sums are taken in another order with another number of threads, so the adapter's last bits depend on
    it; and a small model trains no faster with more, but ten times slower where another process wants the
    same cores.
    """
    if trainer.threads is not None:
        return trainer.threads
    return len(os.sched_getaffinity(0)) if model.num_parameters() >= LARGE else 1


@contextmanager
def cpu_threads(count: int) -> Iterator[None]:
    """Keeps torch to so many CPU threads inside the block; what runs on a GPU is not touched."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def matmul_flops(used: Precision) -> float:
    """The largest rate of a matrix product here, in FLOP/s, with as many threads as torch may use now."""
    import torch

    on_gpu = torch.cuda.is_available()
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16, "float32": torch.float32}[used]
    rows, inner, columns = (8192, 8192, 8192) if on_gpu else (1536, 576, 1536)
    device = "cuda" if on_gpu else "cpu"
    one = torch.ones(rows, inner, dtype=dtype, device=device)
    other = torch.ones(inner, columns, dtype=dtype, device=device)
    return 2 * rows * inner * columns / min(_seconds(one, other) for _ in range(5))


def _seconds(one: torch.Tensor, other: torch.Tensor) -> float:
    import torch

    started = time.perf_counter()
    _ = one @ other
    if one.is_cuda:
        torch.cuda.synchronize()
    return max(time.perf_counter() - started, 1e-9)


def hardware_name(threads: int) -> str:
    """The accelerator's name, or the kind of processor and how many of its cores were used."""
    import torch

    if torch.cuda.is_available():
        return str(torch.cuda.get_device_name())
    return f"{platform.machine()} processor, {'one thread' if threads == 1 else f'{threads} threads'}"
