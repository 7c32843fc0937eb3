"""How much memory a training needs, by part, from sizes alone."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from dialoguellm_release.errors import Problem
from dialoguellm_release.schemas.recipes.adapter import AdapterRecipe, QuantizationRecipe
from dialoguellm_release.schemas.recipes.backbone import Architecture

_SAVED_BYTES = {2: (17.4, 6.7, 6.1), 4: (26.6, 13.4, 8.1)}
"""What autograd keeps of one token and block: bytes per hidden unit, per inner unit, and per input of a layer
that LoRA targets, by the width of the weights in bytes.

Source: measured with torch's saved-tensor hooks on small LLaMAs (transformers 5.23, fused attention with a
mask). Kernels of a GPU may keep less."""

_BYTES_PER_LOGIT = 16
"""The logit, its copy in float32, its log-probability and its gradient."""


@dataclass(frozen=True)
class Footprint:
    """Bytes by part, without what CUDA itself and its allocator take (about 1 GB).

    Attributes:
        weights: The frozen weights.
        adapter: The trained weights, in float32.
        gradients: Of the trained weights.
        optimizer: Two moments of each trained weight.
        activations: What is kept of a forward pass for the backward pass.
        logits: At the positions of the targets.
    """

    weights: int
    adapter: int
    gradients: int
    optimizer: int
    activations: int
    logits: int

    @property
    def total(self) -> int:
        """All parts together."""
        return sum(asdict(self).values())


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

    Args:
        tokens: That pass through the model in one micro-batch, padding included.
        targets: Positions of a micro-batch whose logits are needed.
        width: Bytes of a weight: 2 for bf16, 4 for float32.
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


def out_of_memory(recipe: AdapterRecipe, estimate: Footprint | None, said: str) -> Problem:
    """What to tell whoever ran out of memory, from the estimate."""
    advice = []
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
    return Problem(
        "the training",
        f"ran out of memory: {said}",
        expected=f"about {as_text(estimate)}" if estimate else None,
        fix="; or ".join(advice) or "use a device with more memory",
        code="training.out_of_memory",
    )


def as_text(estimate: Footprint) -> str:
    """The estimate in one line."""
    parts = ", ".join(f"{name} {gigabytes(size)}" for name, size in asdict(estimate).items())
    return f"{gigabytes(estimate.total)}: {parts}"


def gigabytes(size: int) -> str:
    """A size in GB of 10^9 bytes.

    >>> gigabytes(13_476_839_424)
    '13.48 GB'
    """
    return f"{size / 1e9:.2f} GB"


def _weight_bytes(architecture: Architecture, quantization: QuantizationRecipe | None, width: int) -> int:
    """Quantisation is of the linear layers of the blocks; embeddings and output layer stay as they are."""
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
    block = (
        per_hidden * architecture.hidden_size
        + per_inner * architecture.intermediate_size
        + per_input * targeted
    )
    if not recipe.trainer.activation_checkpointing:
        return block * architecture.num_hidden_layers
    # Of each block its input stays; one block at a time is computed again.
    return block + width * architecture.hidden_size * architecture.num_hidden_layers
