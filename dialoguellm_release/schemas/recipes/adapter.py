"""The adapter recipe: backbone, records, LoRA and trainer, in the keys of PEFT and TRL."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from dialoguellm_release.schemas.base import Commit, Positive, Recipe, Schema, Text
from dialoguellm_release.schemas.recipes.dataset import Knowledge

BelowOne = Annotated[float, Field(ge=0, lt=1)]
Packing = Literal["shared_prefix", "none"]


class LoraRecipe(Schema):
    """Keys of `peft.LoraConfig`."""

    r: Positive
    lora_alpha: Positive
    lora_dropout: BelowOne = 0.0
    target_modules: Annotated[tuple[Text, ...], Field(min_length=1)]


class QuantizationRecipe(Schema):
    """Keys of `transformers.BitsAndBytesConfig`: frozen weights in fewer bits (QLoRA, arXiv 2305.14314)."""

    load_in_4bit: bool = False
    load_in_8bit: bool = False
    bnb_4bit_quant_type: Literal["nf4", "fp4"] = "nf4"
    bnb_4bit_use_double_quant: bool = True
    bnb_4bit_compute_dtype: Literal["bfloat16", "float16", "float32"] = "bfloat16"

    @model_validator(mode="after")
    def _one_width(self) -> Self:
        if self.load_in_4bit == self.load_in_8bit:
            raise ValueError("set one of load_in_4bit and load_in_8bit to true")
        return self


class TrainerRecipe(Schema):
    """Keys of `trl.SFTConfig`, and `threads` and `precision`, which it does not have.

    Attributes:
        max_steps: Stop after so many steps; -1 trains `num_train_epochs`.
        gradient_accumulation_steps: Micro-batches of one step; several devices share them out, so that the
            batch is that of the recipe on any number of them.
        max_length: Longest sequence in tokens; records are shortened to it, never their input or label.
        completion_only_loss: False also trains on the prompt, which costs time and is not needed.
        activation_checkpointing: Compute activations a second time in place of keeping them: less memory,
            a third more time.
        eval_steps: Steps between two looks at the validation split; None never looks.
        load_best_model_at_end: Keep the weights of the lowest validation loss, not the last ones.
        save_steps: Steps between two checkpoints to resume from; None writes none.
        threads: CPU threads; None takes one for a model of less than 20 million weights, so that it trains to
            the same bytes everywhere, and every core for a larger one.
        precision: `auto` takes bf16 where a GPU has it, else fp16, and float32 on a CPU. The same recipe with
            the same threads and precision gives the same bytes on a CPU.
        report_to: Trackers of `transformers` that get the metrics as well; the files get them anyway.
    """

    learning_rate: Annotated[float, Field(gt=0)]
    num_train_epochs: Annotated[float, Field(gt=0)]
    max_steps: Literal[-1] | Positive = -1
    per_device_train_batch_size: Positive
    gradient_accumulation_steps: Positive = 1
    max_length: Positive
    completion_only_loss: bool = True
    optim: Literal["adamw_torch_fused", "adamw_torch", "paged_adamw_8bit"] = "adamw_torch_fused"
    lr_scheduler_type: Literal["constant", "linear", "cosine", "cosine_with_min_lr"] = "linear"
    lr_scheduler_kwargs: dict[str, float] = {}
    warmup_steps: Annotated[float, Field(ge=0)] = 0
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    adam_beta1: BelowOne = 0.9
    adam_beta2: BelowOne = 0.999
    max_grad_norm: Annotated[float, Field(gt=0)] = 1.0
    activation_checkpointing: bool = False
    logging_steps: Positive = 10
    eval_steps: Positive | None = None
    load_best_model_at_end: bool = False
    save_steps: Positive | None = None
    save_total_limit: Positive = 2
    threads: Positive | None = None
    precision: Literal["auto", "float32", "bf16"] = "auto"
    report_to: tuple[Literal["tensorboard", "wandb", "mlflow", "trackio"], ...] = ()

    @model_validator(mode="after")
    def _the_floor_is_stated(self) -> Self:
        wanted = {"min_lr"} if self.lr_scheduler_type == "cosine_with_min_lr" else set()
        stated = {"min_lr" if name == "min_lr_rate" else name for name in self.lr_scheduler_kwargs}
        if stated != wanted or len(self.lr_scheduler_kwargs) > 1:
            takes = "one of min_lr and min_lr_rate" if wanted else "nothing"
            raise ValueError(
                f"lr_scheduler_type {self.lr_scheduler_type} takes {takes} in lr_scheduler_kwargs"
            )
        return self

    @model_validator(mode="after")
    def _checkpoints_are_logged(self) -> Self:
        if self.save_steps is not None and self.save_steps % self.logging_steps:
            raise ValueError(
                "save_steps must be a multiple of logging_steps, so that a resumed log has no gap"
            )
        return self

    @model_validator(mode="after")
    def _the_best_can_be_kept(self) -> Self:
        if not self.load_best_model_at_end:
            return self
        if self.eval_steps is None or self.save_steps is None:
            raise ValueError("load_best_model_at_end needs eval_steps and save_steps")
        if self.save_steps % self.eval_steps:
            raise ValueError("load_best_model_at_end needs save_steps to be a multiple of eval_steps")
        return self


class AdapterData(Schema):
    """Which records are trained on: a config of the dataset folder, its `train` split.

    Attributes:
        max_records: Only so many records, drawn by the seed from all of the config; None for all.
        max_validation_records: Likewise of the `validation` split, where `trainer.eval_steps` looks at it.
    """

    config: Text
    max_records: Positive | None = None
    max_validation_records: Positive | None = None
    knowledge: Knowledge = Knowledge()


class InitAdapter(Schema):
    """An adapter to go on from: its weights and LoRA settings are the start.

    Attributes:
        path: A folder, absolute or relative to the recipe, or the id of a repository on the Hub.
        revision: Commit of the repository; None for a folder.
    """

    path: Text
    revision: Commit | None = None


class AdapterRecipe(Recipe):
    """An adapter to train.

    Attributes:
        prompt: Name of a prompt recipe; must be the one that the dataset was built with.
        packing: `shared_prefix` puts the records of a micro-batch into sequences that hold what their prompts
            begin with once, as many as are fastest; `none` pads each record to the longest. Loss and
            gradients are the same.
        seed: Of the weights, the order and the dropout.
        seeds: Train one adapter for each, in a folder of its own; empty trains one with `seed`.
    """

    kind: Literal["adapter"]
    backbone: Text
    prompt: Text
    data: AdapterData
    lora: LoraRecipe
    quantization: QuantizationRecipe | None = None
    init_adapter: InitAdapter | None = None
    trainer: TrainerRecipe
    packing: Packing = "shared_prefix"
    seed: int
    seeds: tuple[int, ...] = ()

    @model_validator(mode="after")
    def _seeds_differ(self) -> Self:
        if len(set(self.seeds)) != len(self.seeds):
            raise ValueError("seeds holds a number twice")
        return self
