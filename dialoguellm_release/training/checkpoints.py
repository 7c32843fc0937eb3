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


@contextmanager
def writing_weights(place: Path) -> Iterator[None]:
    """Tells what safetensors and torch raise where a file cannot be written as a problem of the user.

    Raises:
        DataError: Something could not be written.
    """
    from safetensors import SafetensorError

    try:
        yield
    except SafetensorError as error:
        raise DataError(_not_written(place, error)) from error
    except RuntimeError as error:
        # torch has no exception of its own for this: its zip writer fails an assertion.
        if "inline_container" not in str(error) and "PytorchStreamWriter" not in str(error):
            raise
        raise DataError(_not_written(place, error)) from error


def _not_written(place: Path, error: Exception) -> Problem:
    return Problem(
        str(place),
        f"cannot be written: {error}",
        fix="free some space and run the same command again (with --resume, if the recipe has save_steps)",
        code="training.disk_full",
    )


RUN = "run.json"
Unfinished = Literal["refuse", "resume", "discard"]


def last_whole_checkpoint(folder: Path) -> Path | None:
    """The checkpoint to go on from: the latest that was written to its end and has steps left to do.

    The trainer writes `trainer_state.json` last, so a checkpoint that was cut off has none, or half of one.
    It always takes a step more, also from a checkpoint of the last one; so that one is passed over, and the
    steps before it are taken again.
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

    Args:
        run: What the training is of: a hash over recipe, dataset, backbone and versions.
        unfinished: Refuse an unfinished training, resume one of the same, or discard it.

    Raises:
        DataError: There is an unfinished run and neither is asked for, or it is of something else.
    """
    checkpoint = last_whole_checkpoint(folder)
    if checkpoint is not None and unfinished != "discard":
        steps = checkpoint.name.rpartition("-")[2]
        if unfinished == "refuse":
            raise DataError(
                Problem(
                    str(folder),
                    f"an unfinished training of {steps} steps lies here",
                    fix="go on with --resume, or begin anew with --again",
                    code="training.unfinished",
                )
            )
        if _run_of(folder) != run:
            raise DataError(
                Problem(
                    str(folder),
                    f"the unfinished training of {steps} steps that lies here is of something else",
                    expected=f"the same recipe, dataset, backbone and package versions ({run})",
                    got=str(_run_of(folder)),
                    fix="run the command that began it, with --resume; or begin anew with --again",
                    code="training.other_run",
                )
            )
        return
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    write_text(folder / RUN, json.dumps({"run": run}) + "\n")


@contextmanager
def cleared_unless_useful(folder: Path) -> Iterator[None]:
    """On a failure of the block, removes the folder where it holds no whole checkpoint to go on from."""
    try:
        yield
    except BaseException:
        if last_whole_checkpoint(folder) is None:
            shutil.rmtree(folder, ignore_errors=True)
        raise


def _run_of(folder: Path) -> str | None:
    try:
        run = json.loads((folder / RUN).read_bytes())["run"]
    except (OSError, ValueError, KeyError):
        return None
    return str(run)


def checkpoints_of(out: Path) -> Path:
    """Where the checkpoints of an adapter folder lie while it is trained."""
    out = out.absolute()
    return out.with_name(f".{out.name}.training")


def tracking_of(checkpoints: Path) -> Path:
    """Where TensorBoard's events of a training are: a folder beside the adapter, as `tiny.tensorboard`."""
    name = checkpoints.name.removeprefix(".").removesuffix(".training")
    return checkpoints.with_name(f"{name}.tensorboard")
