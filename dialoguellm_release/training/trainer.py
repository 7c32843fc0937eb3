"""TRL's trainer with our batches, our loss and our count of tokens; and what is watched while it runs."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from dialoguellm_release.errors import DataError, Problem
from dialoguellm_release.processes import rank
from dialoguellm_release.progress import progress
from dialoguellm_release.training.attention import MaskMaker, attention_for_packs
from dialoguellm_release.training.checkpoints import writing_weights
from dialoguellm_release.training.data import FILLER, EpochOrder, Row, sorted_alike
from dialoguellm_release.training.packs import (
    Batch,
    Collator,
    computed_tokens,
    packed,
    padded,
    summed_loss,
)
from dialoguellm_release.training.shortcuts import lora_in_place, only_needed_in_last_layer

if TYPE_CHECKING:
    import torch
    from peft import LoraConfig, PeftModel
    from transformers import PreTrainedModel, PreTrainedTokenizerBase, TrainerControl, TrainerState
    from trl import SFTConfig, SFTTrainer

    from dialoguellm_release.schemas.recipes.adapter import Packing

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


def measured(history: Iterable[LogEntry]) -> list[LogEntry]:
    """The entries of a trainer's history that hold a loss."""
    return [entry for entry in history if "loss" in entry or "eval_loss" in entry]


def log_lines(log: Iterable[LogEntry]) -> str:
    """Entries as JSON, one a line."""
    return "".join(json.dumps(entry, sort_keys=True) + "\n" for entry in log)


def watcher(trainer: SFTTrainer, around: ExitStack, log: Path | None = None) -> Watcher:
    """A callback for a trainer that `sft_trainer` made; it closes `around`, and the bar, at the end."""
    from transformers import TrainerCallback

    class Callback(TrainerCallback):  # type: ignore[misc]
        note = ""

        def on_train_begin(self, _args: Any, state: TrainerState, _control: Any, **_: Any) -> None:
            self.before = _tokens_at(state)
            # That is the count of all processes; one of them goes on from it.
            trainer.tokens = (0, 0) if rank() else self.before
            self.advance = around.enter_context(progress("train", state.max_steps, start=state.global_step))
            self.started = time.perf_counter()
            self.write(log_lines(measured(state.log_history)), "w")

        def write(self, lines: str, mode: str = "a") -> None:
            if log and not rank():
                with log.open(mode, encoding="utf-8") as file:
                    file.write(lines)

        def on_step_end(self, _args: Any, _state: TrainerState, _control: Any, **_: Any) -> None:
            seconds = time.perf_counter() - self.started - trainer.seconds_of_evaluation
            tokens = (trainer.tokens[0] - self.before[0]) * trainer.args.world_size
            self.advance(1, f"{self.note}{tokens / seconds:,.0f} tokens/s")

        def on_log(self, _args: Any, state: TrainerState, _control: Any, logs: LogEntry, **_: Any) -> None:
            for name in ("loss", "eval_loss"):
                if not math.isfinite(logs.get(name, 0.0)):
                    raise DataError(diverged(f"{name} {logs[name]}"))
            if "loss" in logs:
                self.note = f"loss {logs['loss']:.3f}, "
            self.write(log_lines(measured(state.log_history[-1:])))

    callback: Watcher = Callback()
    return callback


def diverged(got: str) -> Problem:
    """What to tell whoever trained with too high a learning rate."""
    expected, fix = "losses and weights that are finite", "train with a lower trainer.learning_rate"
    return Problem("the training", "has diverged", expected, got, fix, code="training.diverged")


def _tokens_at(state: TrainerState) -> tuple[int, int]:
    """The tokens that were counted when a checkpoint was written.

    Checkpoints are written at steps that are logged (the recipe's schema sees to it), so the last entry
    holds all of them.
    """
    counted = [entry for entry in state.log_history if "num_tokens" in entry]
    return (counted[-1]["num_tokens"], counted[-1]["num_computed_tokens"]) if counted else (0, 0)


def sft_trainer(
    model: PreTrainedModel | PeftModel,
    tokenizer: PreTrainedTokenizerBase,
    rows: list[Row],
    validation: list[Row],
    config: SFTConfig,
    lora: LoraConfig | None,
    packing: Packing,
) -> SFTTrainer:
    """A trainer that has not begun; without `lora` the model has its adapter already."""
    import torch
    from accelerate import PartialState
    from datasets import Dataset
    from trl import SFTTrainer

    sequences = [row["input_ids"] for row in rows]
    mask_of: MaskMaker | None = None
    collate: Collator = padded
    if packing == "shared_prefix":
        longest = max(len(row["input_ids"]) for row in [*rows, *validation])
        dtype = torch.bfloat16 if config.bf16 else torch.float16 if config.fp16 else torch.float32
        mask_of, collate = attention_for_packs(model, longest, dtype), packed
    devices: int = PartialState().num_processes
    step = config.per_device_train_batch_size * config.gradient_accumulation_steps * devices
    # Accelerate would fill the last batches up with rows a second time, which would then count twice.
    fillers = -len(rows) % step if devices > 1 else 0
    held_out_fillers = -len(validation) % (config.per_device_eval_batch_size * devices) if devices > 1 else 0

    class Trainer(SFTTrainer):  # type: ignore[misc]
        """Counts the tokens of the rows (`num_tokens`) and those that the model computed."""

        tokens = (0, 0)
        seconds_of_evaluation = 0.0

        def train(self, *arguments: Any, **settings: Any) -> Any:
            with ExitStack() as around:
                around.enter_context(only_needed_in_last_layer(self.model))
                if devices == 1:
                    around.enter_context(lora_in_place(self.model))
                return super().train(*arguments, **settings)

        def _get_train_sampler(self, _dataset: Any = None) -> EpochOrder:
            return EpochOrder(sequences, step, packing, config.seed, fillers)

        def compute_loss(
            self,
            model: Any,
            inputs: Batch,
            return_outputs: bool = False,
            num_items_in_batch: torch.Tensor | None = None,
        ) -> torch.Tensor:
            if return_outputs:
                raise RuntimeError("the loss is computed without the logits of all tokens")
            loss: torch.Tensor = summed_loss(model, inputs, mask_of)
            if self.model.training:
                rows, computed = self.tokens
                self.tokens = (rows + inputs["num_tokens"], computed + computed_tokens(inputs))
            if num_items_in_batch is None:
                return loss / len(inputs["labels"])
            # The count is that of all devices, over which the gradients will be averaged.
            return loss / num_items_in_batch * devices

        def evaluate(self, *_: Any, metric_key_prefix: str = "eval", **__: Any) -> dict[str, float]:
            """The mean loss over all targets of the validation rows, however they are batched."""
            import torch

            started = time.perf_counter()
            self.model.eval()
            sums = torch.zeros(2, dtype=torch.float64)
            with torch.no_grad(), self.compute_loss_context_manager():
                for batch in self.get_eval_dataloader():
                    inputs = self._prepare_inputs(batch)
                    loss = summed_loss(self.model, inputs, mask_of)
                    sums += torch.tensor([loss.item(), len(inputs["labels"])], dtype=torch.float64)
            self.model.train()
            loss_sum, targets = self.accelerator.reduce(sums.to(self.accelerator.device)).tolist()
            metrics = {f"{metric_key_prefix}_loss": loss_sum / targets}
            self.log(dict(metrics))
            self.control: TrainerControl = self.callback_handler.on_evaluate(
                self.args, self.state, self.control, metrics
            )
            self.seconds_of_evaluation += time.perf_counter() - started
            return metrics

        def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
            if "loss" in logs:
                logs |= dict(zip(("num_tokens", "num_computed_tokens"), self.all_tokens(), strict=True))
            super().log(logs, start_time)

        def floating_point_ops(self, _inputs: Batch) -> int:
            """None are counted: it goes through all weights at each step."""
            return 0

        def _save_checkpoint(self, model: Any, trial: Any) -> None:
            with writing_weights(Path(config.output_dir)):
                super()._save_checkpoint(model, trial)

        def all_tokens(self) -> tuple[int, int]:
            """The tokens so far, on all devices."""
            import torch

            counted = self.accelerator.reduce(torch.tensor(self.tokens, device=self.accelerator.device))
            rows, computed = counted.tolist()
            return rows, computed

    order = sorted_alike(range(len(validation)), [row["input_ids"] for row in validation], packing)
    held_out = [validation[index] for index in order] + [FILLER] * held_out_fillers
    trainer = Trainer(
        model=model,
        args=config,
        data_collator=collate,
        train_dataset=Dataset.from_list(rows + [FILLER] * fillers),
        eval_dataset=Dataset.from_list(held_out) if held_out else None,
        processing_class=tokenizer,
        peft_config=lora,
    )
    # The loss is divided by the targets of the whole step; it must not be divided by the micro-batches too.
    trainer.model_accepts_loss_kwargs = True
    return trainer
