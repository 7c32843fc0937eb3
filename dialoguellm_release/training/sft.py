"""The tuning itself: rows of ids through TRL's SFTTrainer with PEFT's LoRA."""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypedDict

from dialoguellm_release.encoding import EncodedPrompt, Encoder
from dialoguellm_release.errors import DataError, MissingExtraError, Problem, RecipeError
from dialoguellm_release.progress import progress, silence_transformers
from dialoguellm_release.schemas.recipes.adapter import AdapterRecipe, LoraRecipe

if TYPE_CHECKING:
    from peft import LoraConfig, PeftModel
    from transformers import PreTrainedModel, PreTrainedTokenizerBase, TrainerCallback, TrainerState
    from trl import SFTConfig


class Row(TypedDict):
    """A pre-tokenised example, as TRL takes it; the loss is where the mask is 1."""

    input_ids: list[int]
    completion_mask: list[int]


@dataclass(frozen=True)
class Tuned:
    """A trained model and how the training went."""

    model: PeftModel
    trainable_parameters: int
    steps: int
    first_loss: float
    last_loss: float


def training_rows(encoder: Encoder, prompts: Iterable[EncodedPrompt]) -> list[Row]:
    """One row a record: the prompt, which the model is given, then the completion, which it learns."""
    rows: list[Row] = []
    for prompt in prompts:
        completion = encoder.completion_ids(prompt.record.output)
        mask = [0] * len(prompt.ids) + [1] * len(completion)
        rows.append({"input_ids": prompt.ids + completion, "completion_mask": mask})
    return rows


def tune(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, rows: list[Row], recipe: AdapterRecipe
) -> Tuned:
    """The model with a trained LoRA adapter; the model that is passed is changed in place.

    Raises:
        RecipeError: The backbone has no layer of a target module's name.
        DataError: The training diverged or changed nothing.
        MissingExtraError: A library of the extra `train` is not installed.
    """
    try:
        import trl
        from datasets import Dataset
        from transformers.trainer_callback import PrinterCallback
    except ModuleNotFoundError as error:
        raise MissingExtraError("train", str(error.name)) from error

    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    silence_transformers()
    _check_target_modules(model, recipe.lora)
    with (
        tempfile.TemporaryDirectory(prefix="dlm-release-") as work,
        ExitStack() as bars,
        warnings.catch_warnings(),
        _one_thread(),
    ):
        # TRL itself still uses names that transformers has deprecated.
        warnings.simplefilter("ignore", FutureWarning)
        trainer = trl.SFTTrainer(
            model=model,
            args=_sft_config(recipe, work),
            train_dataset=Dataset.from_list(rows),
            processing_class=tokenizer,
            peft_config=_lora_config(recipe.lora),
        )
        if len(trainer.train_dataset) != len(rows):
            raise RuntimeError(f"TRL kept {len(trainer.train_dataset)} of {len(rows)} rows")
        trainer.remove_callback(PrinterCallback)
        trainer.add_callback(_progress_callback(bars))
        trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    _check_trained(trainer.model)
    trainable, _ = trainer.model.get_nb_trainable_parameters()
    return Tuned(trainer.model.eval(), trainable, trainer.state.global_step, losses[0], losses[-1])


@contextmanager
def _one_thread() -> Iterator[None]:
    """Keeps torch to one CPU thread inside the block.

    Why: sums are taken in another order with another number of threads, so the adapter's last bits would
    depend on the machine; and a small model trains no faster with more, but ten times slower where
    another process wants the same cores. What runs on a GPU is not touched.
    """
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _sft_config(recipe: AdapterRecipe, work: str) -> SFTConfig:
    import torch
    from trl import SFTConfig

    on_gpu = torch.cuda.is_available()
    has_bf16 = on_gpu and torch.cuda.is_bf16_supported()
    trainer = recipe.trainer
    return SFTConfig(
        output_dir=work,
        seed=recipe.seed,
        learning_rate=trainer.learning_rate,
        num_train_epochs=trainer.num_train_epochs,
        max_steps=trainer.max_steps,
        per_device_train_batch_size=trainer.per_device_train_batch_size,
        gradient_accumulation_steps=trainer.gradient_accumulation_steps,
        lr_scheduler_type=trainer.lr_scheduler_type,
        lr_scheduler_kwargs=trainer.lr_scheduler_kwargs or None,
        warmup_steps=trainer.warmup_steps,
        weight_decay=trainer.weight_decay,
        adam_beta1=trainer.adam_beta1,
        adam_beta2=trainer.adam_beta2,
        max_grad_norm=trainer.max_grad_norm,
        logging_steps=trainer.logging_steps,
        logging_first_step=True,
        # The rows fit trainer.max_length already; TRL would cut the label off, or drop the row.
        max_length=None,
        completion_only_loss=True,
        use_cpu=not on_gpu,
        bf16=has_bf16,
        fp16=on_gpu and not has_bf16,
        activation_checkpointing=on_gpu,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        log_level="error",
    )


def _lora_config(lora: LoraRecipe) -> LoraConfig:
    from peft import LoraConfig

    return LoraConfig(
        task_type="CAUSAL_LM",
        r=lora.r,
        lora_alpha=lora.lora_alpha,
        lora_dropout=lora.lora_dropout,
        target_modules=list(lora.target_modules),
    )


def _progress_callback(bars: ExitStack) -> TrainerCallback:
    from transformers import TrainerCallback

    class ProgressCallback(TrainerCallback):  # type: ignore[misc]
        def on_train_begin(self, _args: Any, state: TrainerState, _control: Any, **_: Any) -> None:
            self.advance = bars.enter_context(progress("train", state.max_steps))

        def on_step_end(self, _args: Any, _state: TrainerState, _control: Any, **_: Any) -> None:
            self.advance(1)

    return ProgressCallback()


def _check_target_modules(model: PreTrainedModel, lora: LoraRecipe) -> None:
    import torch

    named = model.named_modules()
    linear = {name.rpartition(".")[2] for name, part in named if isinstance(part, torch.nn.Linear)}
    missing = [name for name in lora.target_modules if name not in linear]
    if missing:
        raise RecipeError(
            Problem(
                "lora.target_modules",
                "the backbone has no such linear layer",
                expected=", ".join(sorted(linear - {"lm_head"})),
                got=", ".join(missing),
            )
        )


def _check_trained(model: PeftModel) -> None:
    import torch

    weights = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    infinite = sorted(name for name, weight in weights.items() if not torch.isfinite(weight).all())
    if infinite:
        raise DataError(
            Problem(
                "the trained adapter",
                f"holds values that are not finite in {', '.join(infinite)}",
                fix="train with a lower trainer.learning_rate",
            )
        )
    if not any(weight.any() for name, weight in weights.items() if "lora_B" in name):
        raise DataError(
            Problem(
                "the trained adapter",
                "every lora_B is zero, so it changes nothing",
                fix="train with more steps or a higher trainer.learning_rate",
            )
        )
