"""The processes that `torchrun` or `accelerate launch` starts for one run: who is who, and who waits."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar

from dialoguellm_release.errors import DataError, Problem

Own = TypeVar("Own")

LONGEST_WAIT = timedelta(days=1)
"""Processes wait for each other this long: one may have far more to do than the others, and a launcher ends
all of them when one dies."""


def rank() -> int:
    """The number of this process among those that a launcher started; else 0."""
    return int(os.environ.get("RANK", "0"))


def started() -> int:
    """How many processes a launcher started for this run; else 1."""
    return int(os.environ.get("WORLD_SIZE", "1"))


@contextmanager
def first_alone() -> Iterator[None]:
    """A block that the first process goes through before all others, so that these find what it made."""
    if rank():
        _wait_for_all()
    yield
    if not rank():
        _wait_for_all()


def gathered(own: Own) -> list[Own]:
    """What each process gives, by rank; every process gets all of it."""
    if started() == 1:
        return [own]
    import torch.distributed

    _wait_for_all()
    found: list[Own] = [own] * started()
    torch.distributed.all_gather_object(found, own)
    return found


def _wait_for_all() -> None:
    """Returns when every process is here and has a device of its own; at once where there is but one."""
    if started() == 1:
        return
    import torch
    from accelerate import PartialState

    here, devices = int(os.environ.get("LOCAL_WORLD_SIZE", "1")), torch.cuda.device_count()
    if 0 < devices < here:
        what, fix = "more processes were started here than there are GPUs", f"start {devices} or fewer"
        expected, got = f"at most {devices}", str(here)
        raise DataError(Problem("the processes", what, expected, got, fix, code="processes.devices"))
    state = PartialState(cpu=not devices, timeout=LONGEST_WAIT)
    if state.num_processes != started():
        what = f"{started()} processes were started, but each sees {state.num_processes}"
        fix = "start them with torchrun or accelerate launch"
        raise DataError(Problem("the processes", what, fix=fix, code="processes.separate"))
    state.wait_for_everyone()
