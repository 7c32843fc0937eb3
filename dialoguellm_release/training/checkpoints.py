"""The folder of a training that has not ended, and a full disk as a problem of the user."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from dialoguellm_release.errors import DataError, Problem
from dialoguellm_release.folders import write_text
from dialoguellm_release.progress import say
from dialoguellm_release.schemas.manifests import TRAINING_LOG


@contextmanager
def writing_weights(folder: Path) -> Iterator[None]:
    """Turns what safetensors and torch raise where a file cannot be written into a problem."""
    from safetensors import SafetensorError

    try:
        yield
    except (SafetensorError, RuntimeError) as error:
        # torch has no exception of its own for this: its zip writer fails an assertion.
        is_of_torch = "inline_container" in str(error) or "PytorchStreamWriter" in str(error)
        if not isinstance(error, SafetensorError) and not is_of_torch:
            raise
        fix = "free some space and run the same command again (with --resume, if the recipe has save_steps)"
        what = f"cannot be written: {error}"
        raise DataError(Problem(str(folder), what, fix=fix, code="training.disk_full")) from error


RUN = "run.json"
Unfinished = Literal["refuse", "resume", "discard"]


def last_whole_checkpoint(folder: Path) -> Path | None:
    """The checkpoint to resume from: the latest that is complete and has steps left to do.

    The trainer writes `trainer_state.json` last, so a checkpoint that was cut off has none, or half of one.
    It always takes a step more, also from a checkpoint of the last step, so that one is not used.
    """
    found = {int(path.name.rpartition("-")[2]): path for path in folder.glob("checkpoint-*")}
    usable = [step for step, path in found.items() if _has_steps_left(path)]
    return found[max(usable)] if usable else None


def steps_done(folder: Path) -> int:
    """The steps that a training need not take again; 0 where there is no whole checkpoint."""
    checkpoint = last_whole_checkpoint(folder)
    return int(checkpoint.name.rpartition("-")[2]) if checkpoint else 0


def _has_steps_left(checkpoint: Path) -> bool:
    try:
        state = json.loads((checkpoint / "trainer_state.json").read_bytes())
    except (OSError, ValueError):
        return False
    return bool(state["global_step"] < state["max_steps"])


def open_run(folder: Path, run: str, unfinished: Unfinished) -> None:
    """Makes the folder ready for a training, empty or with the checkpoints of the same one.

    `run` identifies the training: a hash over recipe, records, backbone and versions.
    """
    steps = steps_done(folder)
    if not steps or unfinished == "discard":
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        write_text(folder / RUN, json.dumps({"run": run}) + "\n")
        return
    if unfinished == "refuse":
        what = f"holds an unfinished training of {steps} steps"
        fix = "continue it with --resume, or start again with --again"
        raise DataError(Problem(str(folder), what, fix=fix, code="training.unfinished"))
    try:
        stored = json.loads((folder / RUN).read_bytes())["run"]
    except (OSError, ValueError, KeyError):
        stored = None
    if stored != run:
        what = f"holds an unfinished training of {steps} steps with other inputs"
        expected, got = f"the same recipe, dataset, backbone and package versions ({run})", str(stored)
        fix = "run the command that started it, with --resume; or start again with --again"
        raise DataError(Problem(str(folder), what, expected, got, fix, code="training.other_run"))


@contextmanager
def kept_on_failure(folder: Path) -> Iterator[None]:
    """Where the block fails, keeps of the folder what is of use: whole checkpoints, else the log alone."""
    try:
        yield
    except BaseException:
        log = folder / TRAINING_LOG
        if not steps_done(folder):
            for path in set(folder.iterdir()) - {log}:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            if not log.is_file() or not log.stat().st_size:
                shutil.rmtree(folder)
        if log.is_file():
            say(f"What was logged is in {log}.")
        raise


def checkpoints_of(out: Path) -> Path:
    """Where the checkpoints of an adapter folder lie while it is trained."""
    out = out.absolute()
    return out.with_name(f".{out.name}.training")


def tracking_of(checkpoints: Path) -> Path:
    """Where TensorBoard's events of a training are: a folder beside the adapter, as `tiny.tensorboard`."""
    name = checkpoints.name.removeprefix(".").removesuffix(".training")
    return checkpoints.with_name(f"{name}.tensorboard")
