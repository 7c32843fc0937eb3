"""What a training runs on: processes, threads, precision, and how much of the hardware is used."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING

from dialoguellm_release.errors import Problem, RecipeError
from dialoguellm_release.processes import started
from dialoguellm_release.schemas.manifests import Precision, TrainingRun
from dialoguellm_release.schemas.recipes.adapter import TrainerRecipe

if TYPE_CHECKING:
    import torch
    from peft import PeftModel
    from transformers import PreTrainedModel

    from dialoguellm_release.training.sft import Tuned


def share_of(gradient_accumulation_steps: int) -> int:
    """How many of the micro-batches of a step each process takes.

    Why: a recipe tells the batch, so the same recipe must train the same on one device and on eight.
    """
    share, rest = divmod(gradient_accumulation_steps, started())
    if rest or not share:
        where = "trainer.gradient_accumulation_steps"
        what = "the micro-batches of a step cannot be shared out evenly among the processes"
        expected, got = f"a multiple of {started()}", str(gradient_accumulation_steps)
        fix = "raise it and lower trainer.per_device_train_batch_size, or start fewer processes"
        raise RecipeError(Problem(where, what, expected, got, fix, code="training.uneven_share"))
    return share


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


LARGE = 20_000_000
"""Weights from which a model trains on every core unless the recipe says otherwise."""

FLOPS_PER_WEIGHT = 4
"""Of one weight and token: two forward, two for the gradient of the activations; frozen weights have none."""


def training_run(tuned: Tuned, trainer: TrainerRecipe, steps: int) -> TrainingRun:
    """What a training took; it names the kind of hardware, never the machine."""
    from accelerate import PartialState

    seconds = max(tuned.seconds, 1e-9)
    used = precision(trainer)
    peak = _peak(used, tuned.threads)
    achieved = FLOPS_PER_WEIGHT * tuned.linear_weights * tuned.computed_tokens / seconds
    return TrainingRun(
        hardware=hardware_name(tuned.threads),
        devices=PartialState().num_processes,
        precision=used,
        steps=steps,
        seconds=round(tuned.seconds, 3),
        tokens_per_second=round(tuned.tokens / seconds, 1),
        computed_tokens_per_second=round(tuned.computed_tokens / seconds, 1),
        matmul_share=float(f"{achieved / peak / PartialState().num_processes:.3g}"),
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


@cache
def _peak(used: Precision, threads: int) -> float:
    """The largest rate of a matrix product with so many threads, measured once a process."""
    with cpu_threads(threads):
        return matmul_flops(used)


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
