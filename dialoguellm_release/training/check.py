"""What can be told of a training before it: sizes, lengths, steps, memory and time, without any weights."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from dialoguellm_release.encoding import Encoder
from dialoguellm_release.prompts import Prompt
from dialoguellm_release.recipes.load import Loaded
from dialoguellm_release.schemas.recipes.adapter import AdapterRecipe
from dialoguellm_release.schemas.recipes.backbone import BackboneRecipe
from dialoguellm_release.schemas.record import Record
from dialoguellm_release.schemas.statistics import Spread
from dialoguellm_release.training.attention import parity_of
from dialoguellm_release.training.examples import EpochOrder, Row, training_rows
from dialoguellm_release.training.footprint import Footprint, footprint, trainable_parameters
from dialoguellm_release.training.packs import division
from dialoguellm_release.training.survival import Survival, survival

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

GUESSED_TARGETS = 4
"""Tokens of a completion where no tokenizer tells: a label of at most three, and the end of the sequence."""


@dataclass(frozen=True)
class Tokens:
    """What a tokenizer tells of the training records.

    Attributes:
        lengths: Of prompt and longest label, before anything is shortened.
        shortened: Records that lose context or description to fit.
        per_epoch: Of all sequences, each in full.
        computed_per_epoch: That pass through the model in the first epoch, by the recipe's packing.
        largest_micro_batch: The most of these in one forward pass of that epoch.
    """

    lengths: Spread
    survival: tuple[Survival, ...]
    shortened: int
    per_epoch: int
    computed_per_epoch: int
    largest_micro_batch: int


@dataclass(frozen=True)
class Check:
    """What can be told of a training; None and a line in `unknown` for what cannot.

    Attributes:
        records: Training records; None without a dataset.
        memory: Of one step, in the precision that the recipe's hardware favours (bf16), or float32.
        seconds: Of the whole training at the throughput that was stated.
    """

    recipe: str
    backbone: str
    parameters: int | None
    trainable_parameters: int | None
    batch_size: int
    records: int | None
    steps_per_epoch: int | None
    steps: int | None
    tokens: Tokens | None
    memory: Footprint | None
    seconds: float | None
    unknown: tuple[str, ...]

    @property
    def refused(self) -> int:
        """Records that would stop the training; 0 where that is not known."""
        if self.tokens is None:
            return 0
        return next(row.refused for row in self.tokens.survival if row.is_of_recipe)

    def as_data(self) -> dict[str, Any]:
        """The check as JSON data; bytes and seconds as numbers."""
        data = asdict(self)
        if self.tokens is not None:
            data["tokens"]["lengths"] = self.tokens.lengths.model_dump()
        if self.memory is not None:
            data["memory"]["total"] = self.memory.total
        return data


def check_adapter(
    recipe: Loaded[AdapterRecipe],
    backbone: Loaded[BackboneRecipe],
    records: Sequence[Record] | None,
    prompt: Prompt,
    tokenizer: PreTrainedTokenizerBase | None,
    *,
    tokens_per_second: float | None = None,
) -> Check:
    """What can be told of a training by its recipe, its records and a tokenizer, as far as they are there.

    Args:
        records: As the adapter sees them; None where there is no dataset.
        tokenizer: Of the backbone; None where there is none at hand.
        tokens_per_second: A throughput to reckon the time with, as `run` in an adapter's manifest has it.
    """
    settings, architecture = recipe.recipe, backbone.recipe.source.architecture
    trainer = settings.trainer
    tokens = targets = None
    if records is not None and tokenizer is not None:
        parity = parity_of(architecture) if architecture else math.inf
        tokens, targets = _tokens(settings, records, Encoder(prompt, tokenizer, trainer.max_length), parity)
    per_epoch = None if records is None else steps_per_epoch(settings, len(records))
    steps = per_epoch and math.ceil(trainer.num_train_epochs * per_epoch)
    if trainer.max_steps > 0:
        steps = trainer.max_steps
    seconds = None
    if tokens and tokens_per_second and steps and per_epoch:
        seconds = tokens.per_epoch * steps / per_epoch / tokens_per_second
    at_most = trainer.per_device_train_batch_size * trainer.max_length
    guessed = trainer.per_device_train_batch_size * GUESSED_TARGETS
    memory = None
    if architecture:
        memory = footprint(
            architecture,
            settings,
            tokens.largest_micro_batch if tokens else at_most,
            targets or (guessed if trainer.completion_only_loss else at_most),
        )
    return Check(
        recipe=recipe.name,
        backbone=backbone.name,
        parameters=architecture.parameters if architecture else None,
        trainable_parameters=trainable_parameters(architecture, settings) if architecture else None,
        batch_size=trainer.per_device_train_batch_size * trainer.gradient_accumulation_steps,
        records=None if records is None else len(records),
        steps_per_epoch=per_epoch,
        steps=steps,
        tokens=tokens,
        memory=memory,
        seconds=seconds,
        unknown=tuple(_unknown(backbone, records, tokenizer, tokens_per_second)),
    )


def steps_per_epoch(recipe: AdapterRecipe, records: int) -> int:
    """Optimiser steps of one epoch on one device; the last batch may be smaller."""
    trainer = recipe.trainer
    micro_batches = math.ceil(records / trainer.per_device_train_batch_size)
    return math.ceil(micro_batches / trainer.gradient_accumulation_steps)


def _tokens(
    recipe: AdapterRecipe, records: Sequence[Record], encoder: Encoder, parity: float
) -> tuple[Tokens, int]:
    """What the tokenizer tells, and the targets in the largest micro-batch."""
    prompts = encoder.fit_all(records)
    lengths = encoder.lengths(prompts)
    rows = training_rows(encoder, prompts, completion_only=recipe.trainer.completion_only_loss)
    computed = [(_computed(recipe, batch, parity), batch) for batch in _micro_batches(recipe, rows)]
    largest, batch = max(computed, key=lambda pair: pair[0])
    found = Tokens(
        lengths=Spread.of(one.whole for one in lengths),
        survival=tuple(survival(lengths, encoder.max_length)),
        shortened=sum(prompt.is_shortened for prompt in prompts),
        per_epoch=sum(len(row["input_ids"]) for row in rows),
        computed_per_epoch=sum(tokens for tokens, _ in computed),
        largest_micro_batch=largest,
    )
    return found, sum(len(row["input_ids"]) - row["first_target"] for row in batch)


def _micro_batches(recipe: AdapterRecipe, rows: Sequence[Row]) -> Iterator[list[Row]]:
    size = recipe.trainer.per_device_train_batch_size
    step = size * recipe.trainer.gradient_accumulation_steps
    order = list(EpochOrder([row["input_ids"] for row in rows], step, recipe.packing, recipe.seed))
    for start in range(0, len(order), size):
        yield [rows[index] for index in order[start : start + size]]


def _computed(recipe: AdapterRecipe, batch: Sequence[Row], parity: float) -> int:
    sequences = [row["input_ids"] for row in batch]
    if recipe.packing == "shared_prefix":
        return division(sorted(sequences), parity).tokens
    return len(sequences) * max(map(len, sequences))


def _unknown(
    backbone: Loaded[BackboneRecipe],
    records: Sequence[Record] | None,
    tokenizer: PreTrainedTokenizerBase | None,
    tokens_per_second: float | None,
) -> Iterator[str]:
    if backbone.recipe.source.architecture is None:
        yield f"parameters and memory: the backbone recipe {backbone.name} states no architecture"
    if records is None:
        yield "records and steps: no dataset is built; name its folder with --dataset"
    if tokenizer is None:
        yield "token lengths, and which records fit: no tokenizer is here; name its folder with --tokenizer"
        yield "memory: taken as if every sequence had max_length tokens"
    if tokens_per_second is None:
        yield "time: no throughput is stated; give one with --tokens-per-second"
    yield "memory of CUDA itself and its allocator: about 1 GB more; estimates were not tried on a GPU"
