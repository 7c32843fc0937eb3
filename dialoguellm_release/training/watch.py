"""A training is watched: progress on the screen, the count of tokens, and a stop when it diverges."""

from __future__ import annotations

import math
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Protocol

from dialoguellm_release.errors import DataError, Problem
from dialoguellm_release.progress import progress
from dialoguellm_release.training.processes import rank

if TYPE_CHECKING:
    from transformers import TrainerState
    from trl import SFTTrainer

LogEntry = dict[str, float]
"""What was measured at a step: `step`, `epoch`, and either `loss` and its companions or `eval_loss`."""


class Watcher(Protocol):
    """A callback of the trainer.

    Attributes:
        started: When the first step of this run began, by `time.perf_counter`.
        before: The tokens that were counted by then, and those computed: not 0 in a resumed run.
    """

    started: float
    before: tuple[int, int]


def watcher(trainer: SFTTrainer, around: ExitStack) -> Watcher:
    """A callback for a trainer that `sft_trainer` made.

    Args:
        around: What is left when the training ends; it takes the progress bar down.
    """
    from transformers import TrainerCallback

    class Callback(TrainerCallback):  # type: ignore[misc]
        note = ""

        def on_train_begin(self, _args: Any, state: TrainerState, _control: Any, **_: Any) -> None:
            self.before = _tokens_at(state)
            # That is the count of all processes; one of them goes on from it.
            trainer.tokens = (0, 0) if rank() else self.before
            self.advance = around.enter_context(progress("train", state.max_steps, start=state.global_step))
            self.started = time.perf_counter()

        def on_step_end(self, _args: Any, _state: TrainerState, _control: Any, **_: Any) -> None:
            seconds = time.perf_counter() - self.started - trainer.seconds_of_evaluation
            tokens = (trainer.tokens[0] - self.before[0]) * trainer.args.world_size
            self.advance(1, f"{self.note}{tokens / seconds:,.0f} tokens/s")

        def on_log(self, _args: Any, _state: Any, _control: Any, logs: LogEntry, **_: Any) -> None:
            for name in ("loss", "eval_loss"):
                if not math.isfinite(logs.get(name, 0.0)):
                    raise DataError(diverged(f"{name} {logs[name]}"))
            if "loss" in logs:
                self.note = f"loss {logs['loss']:.3f}, "

    callback: Watcher = Callback()
    return callback


def diverged(got: str) -> Problem:
    """What to tell whoever trained with too high a learning rate."""
    return Problem(
        "the training",
        "has diverged",
        expected="losses and weights that are finite",
        got=got,
        fix="train with a lower trainer.learning_rate",
    )


def _tokens_at(state: TrainerState) -> tuple[int, int]:
    """The tokens that were counted when a checkpoint was written.

    Checkpoints are written at steps that are logged (the recipe's schema sees to it), so the last entry
    holds all of them.
    """
    counted = [entry for entry in state.log_history if "num_tokens" in entry]
    return (counted[-1]["num_tokens"], counted[-1]["num_computed_tokens"]) if counted else (0, 0)
