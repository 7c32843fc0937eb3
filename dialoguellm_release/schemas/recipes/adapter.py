"""The adapter recipe: backbone, records, LoRA and trainer, in the keys of PEFT and TRL."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from dialoguellm_release.schemas.base import Schema, Text
from dialoguellm_release.schemas.recipes.backbone import Positive

Fraction = Annotated[float, Field(ge=0, lt=1)]


class LoraRecipe(Schema):
    """Keys of `peft.LoraConfig`."""

    r: Positive
    lora_alpha: Positive
    lora_dropout: Fraction = 0.0
    target_modules: Annotated[tuple[Text, ...], Field(min_length=1)]


class TrainerRecipe(Schema):
    """Keys of `trl.SFTConfig`.

    Attributes:
        max_steps: Stop after so many steps; -1 trains `num_train_epochs`.
        max_length: Longest sequence in tokens; records are shortened to it, never their input or label.
    """

    learning_rate: Annotated[float, Field(gt=0)]
    num_train_epochs: Annotated[float, Field(gt=0)]
    max_steps: Literal[-1] | Positive = -1
    per_device_train_batch_size: Positive
    gradient_accumulation_steps: Positive = 1
    max_length: Positive
    lr_scheduler_type: Literal["constant", "linear", "cosine", "cosine_with_min_lr"] = "linear"
    lr_scheduler_kwargs: dict[str, float] = {}
    warmup_steps: Annotated[float, Field(ge=0)] = 0
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    adam_beta1: Fraction = 0.9
    adam_beta2: Fraction = 0.999
    max_grad_norm: Annotated[float, Field(gt=0)] = 1.0
    logging_steps: Positive = 10


class AdapterData(Schema):
    """Which records are trained on: a config of the dataset folder, its `train` split.

    Attributes:
        max_records: Only the first so many records; None for all.
    """

    config: Text
    max_records: Positive | None = None


class AdapterRecipe(Schema):
    """An adapter to train.

    Attributes:
        backbone: Name of a backbone recipe.
        prompt: Name of a prompt recipe; must be the one that the dataset was built with.
    """

    version: Literal[1]
    kind: Literal["adapter"]
    description: Text
    backbone: Text
    prompt: Text
    data: AdapterData
    lora: LoraRecipe
    trainer: TrainerRecipe
    seed: int
