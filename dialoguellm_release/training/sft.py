"""The tuning itself: rows of ids through TRL's trainer with PEFT's LoRA, and what it took."""

from __future__ import annotations

import importlib.util
import os
import tempfile
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dialoguellm_release.errors import DataError, Problem, RecipeError, needing
from dialoguellm_release.processes import rank
from dialoguellm_release.progress import silence_transformers
from dialoguellm_release.schemas.recipes.adapter import AdapterRecipe, LoraRecipe
from dialoguellm_release.schemas.recipes.backbone import Architecture
from dialoguellm_release.training.check import footprint, out_of_memory
from dialoguellm_release.training.checkpoints import last_whole_checkpoint
from dialoguellm_release.training.data import Row
from dialoguellm_release.training.devices import (
    cpu_threads,
    gather_trained,
    precision,
    share_of,
    threads_of,
)
from dialoguellm_release.training.packs import linear_weights
from dialoguellm_release.training.trainer import LogEntry, diverged, measured, sft_trainer, watcher

if TYPE_CHECKING:
    from peft import LoraConfig, PeftModel
    from transformers import PreTrainedModel, PreTrainedTokenizerBase
    from trl import SFTConfig, SFTTrainer


@dataclass(frozen=True)
class Work:
    """Where a training writes while it runs; None keeps nothing of a kind."""

    checkpoints: Path | None = None  # checkpoints; the training resumes from the last whole one
    log: Path | None = None
    tracking: Path | None = None  # TensorBoard's events, where the recipe asks for them


@dataclass(frozen=True)
class Tuned:
    """A trained model and how the training went."""

    model: PeftModel
    trainable_parameters: int
    steps: int
    log: list[LogEntry]
    validation_loss: float | None  # of the weights that were kept; None where there are no rows to look at
    row_tokens: int  # of the training rows, each counted once
    seconds: float  # spent on training steps by this run; a resumed run counts only its own
    tokens: int  # of the rows that were trained on in that time, each row's counted in full
    computed_tokens: int  # that passed through the model in that time, padding included
    threads: int
    linear_weights: int  # of the layers that each of these tokens passed through

    @property
    def losses(self) -> list[float]:
        """The training losses that were logged."""
        return [entry["loss"] for entry in self.log if "loss" in entry]


def tune(
    model: PreTrainedModel | PeftModel,
    tokenizer: PreTrainedTokenizerBase,
    rows: list[Row],
    recipe: AdapterRecipe,
    *,
    validation: Sequence[Row] = (),
    work: Work | None = None,
    architecture: Architecture | None = None,
) -> Tuned:
    """The model with a trained LoRA adapter; the model that is passed is changed in place.

    With an adapter, the training goes on from it. `architecture` is for advice where memory runs out.
    """
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    with needing("train"):
        import torch
        from transformers.trainer_callback import PrinterCallback

    silence_transformers()
    is_new = not hasattr(model, "peft_config")
    if is_new:
        _check_target_modules(model, recipe.lora)
    longest = max(len(row["input_ids"]) for row in [*rows, *validation])
    with ExitStack() as around:
        around.enter_context(warnings.catch_warnings())
        # TRL itself still uses names that transformers has deprecated.
        warnings.simplefilter("ignore", FutureWarning)
        # PEFT asks at every checkpoint whether the vocabulary was changed; here it never is.
        warnings.filterwarnings("ignore", message="Could not find a config file")
        threads = threads_of(recipe.trainer, model)
        around.enter_context(cpu_threads(threads))
        work = work or Work()
        around.enter_context(_tracked(recipe, work.tracking))
        folder = work.checkpoints or Path(
            around.enter_context(tempfile.TemporaryDirectory(prefix="dlm-release-"))
        )
        trainer = sft_trainer(
            model,
            tokenizer,
            rows,
            list(validation),
            _sft_config(recipe, folder, has_validation=bool(validation)),
            _lora_config(recipe.lora) if is_new else None,
            recipe.packing,
        )
        trainer.remove_callback(PrinterCallback)
        watch = watcher(trainer, around, work.log)
        trainer.add_callback(watch)
        resumed = last_whole_checkpoint(folder)
        if rank():
            # Every process begins with the recipe's seed; their dropout must not be the same.
            torch.manual_seed(recipe.seed + rank())
        try:
            trainer.train(resume_from_checkpoint=str(resumed) if resumed else None)
        except torch.OutOfMemoryError as error:
            tokens = longest * recipe.trainer.per_device_train_batch_size
            estimate = footprint(architecture, recipe, tokens, tokens) if architecture else None
            raise DataError(out_of_memory(recipe, estimate, str(error))) from error
        seconds = time.perf_counter() - watch.started - trainer.seconds_of_evaluation
        validation_loss = _validation_loss(trainer) if validation else None
        gather_trained(trainer.model)
        _check_trained(trainer.model)
    trainable, _ = trainer.model.get_nb_trainable_parameters()
    tokens, computed_tokens = trainer.all_tokens()
    return Tuned(
        model=trainer.model.eval(),
        trainable_parameters=trainable,
        steps=trainer.state.global_step,
        log=measured(trainer.state.log_history),
        validation_loss=validation_loss,
        row_tokens=sum(len(row["input_ids"]) for row in rows),
        seconds=seconds,
        tokens=tokens - watch.before[0],
        computed_tokens=computed_tokens - watch.before[1],
        threads=threads,
        linear_weights=linear_weights(trainer.model),
    )


_TRACKERS = {name: (name,) for name in ("wandb", "mlflow", "trackio")} | {
    "tensorboard": ("tensorboard", "tensorboardX")
}
"""The libraries of which a tracker needs one."""


@contextmanager
def _tracked(recipe: AdapterRecipe, folder: Path | None) -> Iterator[None]:
    """Lets TensorBoard write where the user finds it, which would be a folder that is deleted."""
    named = recipe.trainer.report_to
    missing = [name for name in named if not any(importlib.util.find_spec(one) for one in _TRACKERS[name])]
    if missing:
        what = f"{', '.join(missing)} is not installed"
        fix = f"pip install {' '.join(missing)}, or set trainer.report_to to []"
        raise DataError(Problem("trainer.report_to", what, fix=fix, code="training.no_tracker"))
    name = "TENSORBOARD_LOGGING_DIR"
    if "tensorboard" not in named or folder is None or name in os.environ:
        yield
        return
    os.environ[name] = str(folder)
    try:
        yield
    finally:
        del os.environ[name]


def _validation_loss(trainer: SFTTrainer) -> float:
    """The validation loss of the weights that are kept; they are looked at once more where nobody did."""
    looks = [entry for entry in trainer.state.log_history if "eval_loss" in entry]
    if trainer.args.load_best_model_at_end and looks:
        return min(float(entry["eval_loss"]) for entry in looks)
    if looks and looks[-1]["step"] == trainer.state.global_step:
        return float(looks[-1]["eval_loss"])
    return float(trainer.evaluate()["eval_loss"])


def _sft_config(recipe: AdapterRecipe, work: Path, *, has_validation: bool) -> SFTConfig:
    import torch
    from trl import SFTConfig

    on_gpu = torch.cuda.is_available()
    settings = recipe.trainer.model_dump(
        exclude={"max_length", "completion_only_loss", "threads", "precision"}
    )
    settings |= {
        "lr_scheduler_kwargs": settings["lr_scheduler_kwargs"] or None,
        "gradient_accumulation_steps": share_of(settings["gradient_accumulation_steps"]),
        "report_to": list(settings["report_to"]) or "none",
        "eval_strategy": "steps" if has_validation else "no",
        "save_strategy": "steps" if settings["save_steps"] else "no",
        "save_steps": settings["save_steps"] or 500,
        "load_best_model_at_end": settings["load_best_model_at_end"] and has_validation,
    }
    return SFTConfig(
        output_dir=str(work),
        seed=recipe.seed,
        **settings,
        per_device_eval_batch_size=recipe.trainer.per_device_train_batch_size,
        logging_first_step=True,
        # A loss that is not finite must be seen, not smoothed away.
        logging_nan_inf_filter=False,
        # The rows are ids that fit trainer.max_length; TRL would cut the label off, or drop the row.
        max_length=None,
        dataset_kwargs={"skip_prepare_dataset": True},
        remove_unused_columns=False,
        use_cpu=not on_gpu,
        ddp_find_unused_parameters=False,
        bf16=precision(recipe.trainer) == "bf16",
        fp16=precision(recipe.trainer) == "fp16",
        disable_tqdm=True,
        log_level="error",
    )


def _lora_config(lora: LoraRecipe) -> LoraConfig:
    from peft import LoraConfig

    return LoraConfig(task_type="CAUSAL_LM", **lora.model_dump() | {"target_modules": [*lora.target_modules]})


def _check_target_modules(model: PreTrainedModel, lora: LoraRecipe) -> None:
    import torch

    named = model.named_modules()
    linear = {name.rpartition(".")[2] for name, part in named if isinstance(part, torch.nn.Linear)}
    missing = [name for name in lora.target_modules if name not in linear]
    if missing:
        what, expected = "the backbone has no such linear layer", ", ".join(sorted(linear - {"lm_head"}))
        got, code = ", ".join(missing), "training.no_target_module"
        raise RecipeError(Problem("lora.target_modules", what, expected, got, code=code))


def _check_trained(model: PeftModel) -> None:
    import torch

    weights = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    if infinite := sorted(name for name, weight in weights.items() if not torch.isfinite(weight).all()):
        raise DataError(diverged(f"values that are not finite in {', '.join(infinite)}"))
    if not any(weight.any() for name, weight in weights.items() if "lora_B" in name):
        what = "every lora_B is zero, so it changes nothing"
        fix = "train with more steps or a higher trainer.learning_rate"
        raise DataError(Problem("the trained adapter", what, fix=fix, code="training.nothing_learned"))
