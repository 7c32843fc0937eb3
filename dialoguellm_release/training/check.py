"""What is known of a training before it: sizes, lengths, steps, memory and time, without any weights."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from pydantic_core import to_jsonable_python

from dialoguellm_release.encoding import Encoder, RecordLengths, in_batches, longer_than_window
from dialoguellm_release.errors import Problem
from dialoguellm_release.progress import Advance, progress
from dialoguellm_release.prompts import Prompt
from dialoguellm_release.recipes.load import Loaded
from dialoguellm_release.render import numbers
from dialoguellm_release.schemas.audit import Spread
from dialoguellm_release.schemas.recipes.adapter import AdapterRecipe, QuantizationRecipe
from dialoguellm_release.schemas.recipes.backbone import Architecture, BackboneRecipe
from dialoguellm_release.schemas.record import Record
from dialoguellm_release.training.data import EpochOrder, Survival, survival, training_rows
from dialoguellm_release.training.packs import pack_size

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

GUESSED_TARGETS = 4
"""Tokens of a completion without a tokenizer: a label of at most three, and the end of the sequence."""

SMALL_PACK, LARGE_MODEL = 32, 1_000_000_000
"""Packs of fewer records were slower than padding on a GPU, with a model of 7 billion weights."""

_SAVED_BYTES = {2: (17.4, 6.7, 6.1), 4: (26.6, 13.4, 8.1)}
"""What autograd keeps of one token and block: bytes per hidden unit, per inner unit, and per input of a layer
that LoRA targets, by the width of the weights in bytes.

Source: measured with torch's saved-tensor hooks on small LLaMAs (transformers 5.23, fused attention with a
mask). Kernels of a GPU may keep less."""

_BYTES_PER_LOGIT = 16
"""The logit, its copy in float32, its log-probability and its gradient."""


@dataclass(frozen=True)
class Tokens:
    """The training records as a tokenizer sees them."""

    lengths: Spread  # of prompt and longest label, before anything is shortened
    survival: tuple[Survival, ...]
    shortened: int  # records that lose context or description to fit
    longest: int  # of a sequence, once it is shortened
    per_epoch: int  # of all sequences, each in full
    computed_per_epoch: int  # that pass through the model in the first epoch, by the recipe's packing
    largest_micro_batch: int  # the most of these in one forward pass of that epoch
    targets: int  # what that micro-batch has to predict


@dataclass(frozen=True)
class Footprint:
    """Bytes by part, without what CUDA itself and its allocator take (about 1 GB)."""

    weights: int
    adapter: int  # the trained weights, in float32
    gradients: int
    optimizer: int  # two moments of each trained weight
    activations: int  # what is kept of a forward pass for the backward pass
    logits: int  # at the positions of the targets

    @property
    def total(self) -> int:
        """All parts together."""
        return sum(asdict(self).values())


@dataclass(frozen=True)
class Check:
    """What is known of a training; None and a line in `unknown` for what is not.

    Attributes:
        records: Training records; None without a dataset.
        memory: Of one step in bf16.
        too_long: The longest sequence, where the backbone reads fewer tokens: the training would be refused.
        seconds: Of the whole training at the throughput that was stated.
        advice: What would make the training faster.
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
    too_long: Problem | None
    memory: Footprint | None
    seconds: float | None
    advice: tuple[str, ...]
    unknown: tuple[str, ...]

    @property
    def refused(self) -> int:
        """Records that would stop the training; 0 where that is not known."""
        return sum(row.refused for row in self.tokens.survival if row.is_of_recipe) if self.tokens else 0

    def as_data(self) -> dict[str, Any]:
        """The check as JSON data; bytes and seconds as numbers."""
        data: dict[str, Any] = to_jsonable_python(self)
        if self.memory is not None:
            data["memory"]["total"] = self.memory.total
        return data


def check_adapter(
    recipe: Loaded[AdapterRecipe],
    backbone: Loaded[BackboneRecipe],
    records: Iterable[Record] | None,
    prompt: Prompt,
    tokenizer: PreTrainedTokenizerBase | None,
    *,
    tokens_per_second: float | None = None,
) -> Check:
    """What is known of a training from its recipe, its records and a tokenizer, as far as there are any.

    Args:
        records: As the adapter sees them, read once; None where there is no dataset.
        tokenizer: Of the backbone; None where there is none at hand.
        tokens_per_second: A throughput to estimate the time with, as `run` in an adapter's manifest has it.
    """
    settings, architecture = recipe.recipe, backbone.recipe.source.architecture
    trainer, micro_batch = settings.trainer, settings.trainer.per_device_train_batch_size
    tokens = count = None
    if records is not None:
        with progress("read", None) as advance:
            if tokenizer is None:
                count = sum(1 for _ in _counted(records, advance))
            else:
                encoder = Encoder(prompt, tokenizer, trainer.max_length)
                count, tokens = _tokens(settings, _counted(records, advance), encoder)
    per_epoch = None if count is None else steps_per_epoch(settings, count)
    steps = per_epoch and math.ceil(trainer.num_train_epochs * per_epoch)
    if trainer.max_steps > 0:
        steps = trainer.max_steps
    seconds = memory = None
    if tokens and tokens_per_second and steps and per_epoch:
        seconds = tokens.per_epoch * steps / per_epoch / tokens_per_second
    if architecture and tokens:
        memory = footprint(architecture, settings, tokens.largest_micro_batch, tokens.targets)
    elif architecture:
        targets = GUESSED_TARGETS if trainer.completion_only_loss else trainer.max_length
        memory = footprint(architecture, settings, micro_batch * trainer.max_length, micro_batch * targets)
    return Check(
        recipe=recipe.name,
        backbone=backbone.name,
        parameters=architecture.parameters if architecture else None,
        trainable_parameters=trainable_parameters(architecture, settings) if architecture else None,
        batch_size=micro_batch * trainer.gradient_accumulation_steps,
        records=count,
        steps_per_epoch=per_epoch,
        steps=steps,
        tokens=tokens,
        too_long=too_long(backbone, tokens.longest) if tokens else None,
        memory=memory,
        seconds=seconds,
        advice=tuple(_advice(settings, architecture)),
        unknown=tuple(_unknown(backbone, count, tokenizer, tokens_per_second)),
    )


def too_long(backbone: Loaded[BackboneRecipe], longest: int) -> Problem | None:
    """The problem of a sequence that is longer than what a backbone reads, where its recipe states that."""
    architecture = backbone.recipe.source.architecture
    if architecture is None or longest <= architecture.max_position_embeddings:
        return None
    return longer_than_window(
        backbone.name, architecture.max_position_embeddings, longest, "trainer.max_length"
    )


def steps_per_epoch(recipe: AdapterRecipe, records: int) -> int:
    """Optimiser steps of one epoch on one device; the last batch may be smaller."""
    trainer = recipe.trainer
    micro_batches = math.ceil(records / trainer.per_device_train_batch_size)
    return math.ceil(micro_batches / trainer.gradient_accumulation_steps)


def _tokens(recipe: AdapterRecipe, records: Iterable[Record], encoder: Encoder) -> tuple[int, Tokens]:
    """How many records there are, and their tokens; of a record only ids and lengths are kept in memory."""
    rows, first_targets = list["array[int]"](), list[int]()  # in an array an id takes 4 bytes, in a list 36
    lengths, shortened = list[RecordLengths](), 0
    for some in in_batches(records):
        prompts = encoder.fit_all(some)
        lengths += encoder.lengths(prompts)
        shortened += sum(prompt.is_shortened for prompt in prompts)
        for row in training_rows(encoder, prompts, completion_only=recipe.trainer.completion_only_loss):
            rows.append(array("i", row["input_ids"]))
            first_targets.append(row["first_target"])
    size = recipe.trainer.per_device_train_batch_size
    step = size * recipe.trainer.gradient_accumulation_steps
    order = iter(EpochOrder(rows, step, recipe.packing, recipe.seed))
    computed, largest, targets = 0, 0, 0
    while batch := list(islice(order, size)):
        sequences = [rows[index] for index in batch]
        tokens = len(sequences) * max(map(len, sequences))
        if recipe.packing == "shared_prefix":
            tokens = pack_size(sequences)
        computed += tokens
        if tokens > largest:
            largest = tokens
            targets = sum(len(rows[index]) - first_targets[index] for index in batch)
    found = Tokens(
        lengths=Spread.of(one.whole for one in lengths),
        survival=tuple(survival(lengths, encoder.max_length)),
        shortened=shortened,
        longest=max(map(len, rows), default=0),
        per_epoch=sum(map(len, rows)),
        computed_per_epoch=computed,
        largest_micro_batch=largest,
        targets=targets,
    )
    return len(rows), found


def _counted(records: Iterable[Record], advance: Advance) -> Iterator[Record]:
    for record in records:
        advance(1)
        yield record


def _advice(recipe: AdapterRecipe, architecture: Architecture | None) -> Iterator[str]:
    micro_batch = recipe.trainer.per_device_train_batch_size
    batch = micro_batch * recipe.trainer.gradient_accumulation_steps
    is_large = architecture is not None and architecture.parameters >= LARGE_MODEL
    if recipe.packing == "shared_prefix" and is_large and micro_batch < SMALL_PACK:
        yield (
            f"on an H200 packs of 8 records were no faster than padding, packs of 64 six times as fast; with "
            f"{micro_batch}, raise trainer.per_device_train_batch_size as far as memory allows, and lower "
            f"trainer.gradient_accumulation_steps so that the batch stays {batch}; or set packing: none"
        )


def _unknown(
    backbone: Loaded[BackboneRecipe],
    records: int | None,
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
    yield "memory of CUDA itself and its allocator: about 1 GB more"


def trainable_parameters(architecture: Architecture, recipe: AdapterRecipe) -> int | None:
    """The weights of the adapter: `r` rows and columns a layer that it targets.

    None where the recipe names a layer that the architecture lacks.
    """
    layers = architecture.linear_layers
    if not set(recipe.lora.target_modules) <= set(layers):
        return None
    per_block = sum(sum(layers[name]) for name in recipe.lora.target_modules)
    return recipe.lora.r * per_block * architecture.num_hidden_layers


def footprint(
    architecture: Architecture, recipe: AdapterRecipe, tokens: int, targets: int, width: int = 2
) -> Footprint:
    """The memory of a training step.

    `tokens` pass through the model in one micro-batch, padding included; the logits of `targets` are needed;
    `width` is the bytes of a weight.
    """
    trained = trainable_parameters(architecture, recipe) or 0
    return Footprint(
        weights=_weight_bytes(architecture, recipe.quantization, width),
        adapter=4 * trained,
        gradients=4 * trained,
        optimizer=8 * trained,
        activations=round(tokens * _bytes_per_token(architecture, recipe, width)),
        logits=targets * architecture.vocab_size * _BYTES_PER_LOGIT,
    )


def _weight_bytes(architecture: Architecture, quantization: QuantizationRecipe | None, width: int) -> int:
    """Only the linear layers of the blocks are quantised; embeddings and output layer stay as they are."""
    if quantization is None:
        return architecture.parameters * width
    linear = architecture.linear_parameters
    rest = (architecture.parameters - linear) * width
    if quantization.load_in_8bit:
        return linear + rest
    # A scale for every 64 weights: in float32, or in 8 bits with a float32 scale for every 256 of them.
    scales = (
        linear // 64 + linear // 64 // 256 * 4 if quantization.bnb_4bit_use_double_quant else linear // 16
    )
    return linear // 2 + scales + rest


def _bytes_per_token(architecture: Architecture, recipe: AdapterRecipe, width: int) -> float:
    per_hidden, per_inner, per_input = _SAVED_BYTES[width]
    layers = architecture.linear_layers
    targeted = sum(layers[name][0] for name in recipe.lora.target_modules if name in layers)
    hidden, inner = architecture.hidden_size, architecture.intermediate_size
    block = per_hidden * hidden + per_inner * inner + per_input * targeted
    if not recipe.trainer.activation_checkpointing:
        return block * architecture.num_hidden_layers
    # Of each block its input stays; one block at a time is computed again.
    return block + width * hidden * architecture.num_hidden_layers


def out_of_memory(recipe: AdapterRecipe, estimate: Footprint | None, said: str) -> Problem:
    """The problem of a training that ran out of memory, with advice from the estimate."""
    advice, expected = list[str](), None
    micro_batch = recipe.trainer.per_device_train_batch_size
    if not recipe.trainer.activation_checkpointing:
        advice.append("set trainer.activation_checkpointing: true")
    if micro_batch > 1:
        half, twice = micro_batch // 2, recipe.trainer.gradient_accumulation_steps * 2
        advice.append(
            f"set trainer.per_device_train_batch_size: {half} with "
            f"trainer.gradient_accumulation_steps: {twice} (the same batch in smaller parts)"
        )
    if recipe.quantization is None:
        advice.append("set quantization: {load_in_4bit: true}")
    if estimate:
        parts = ", ".join(f"{name} {numbers.size(size)}" for name, size in asdict(estimate).items())
        expected = f"about {numbers.size(estimate.total)}: {parts}"
    fix = "; or ".join(advice) or "use a device with more memory"
    what = f"ran out of memory: {said}"
    return Problem("the training", what, expected, fix=fix, code="training.out_of_memory")
