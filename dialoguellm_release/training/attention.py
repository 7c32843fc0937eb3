"""How a model is told which token of a pack sees which, and what that costs it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from dialoguellm_release.errors import Problem, RecipeError
from dialoguellm_release.schemas.recipes.backbone import Architecture

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

MaskMaker = Callable[["torch.Tensor"], "torch.Tensor"]

MASKED_LAYERS = frozenset({"full_attention", "sliding_attention"})
"""The types of layers, in the words of `transformers`, that see no more than the mask lets them."""

_ATTENTION_COST = 2
"""How much longer than a linear layer attention with a mask takes for as many operations, about.

Fitted by hand to one CPU thread and LLaMAs of 64, 256 and 1,024 hidden units, where it lay between 1 and 2;
bench/packs.py shows what comes of it. It was not fitted to a GPU."""


def boolean_mask(last_seen: torch.Tensor) -> torch.Tensor:
    """Which token (row) sees which (column), of shape (packs, 1, tokens, tokens).

    Why: depth first, the tokens below one are those from it to `last_seen`, so one number a token is all
    that has to travel to the device, and all that a kernel with a mask function needs.

    Args:
        last_seen: Of each token of each pack, of shape (packs, tokens).
    """
    import torch

    index = torch.arange(last_seen.shape[-1], device=last_seen.device)
    mask = (index[None, :] <= index[:, None]) & (index[:, None] < last_seen[:, None, :])
    return mask[:, None]


def additive_mask(last_seen: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """The same as what is added to attention scores."""
    import torch

    seen = boolean_mask(last_seen)
    return torch.zeros(seen.shape, dtype=dtype, device=seen.device).masked_fill(~seen, torch.finfo(dtype).min)


def mask_maker(model: PreTrainedModel, longest: int) -> MaskMaker:
    """The function that makes of `last_seen` the mask that a model takes.

    Args:
        longest: Tokens of the longest sequence.

    Raises:
        RecipeError: The model has layers that no mask binds, its attention takes none, or it does not see as
            far back as a sequence is long.
    """
    config = model.config.get_text_config()
    others = sorted(set(getattr(config, "layer_types", None) or ()) - MASKED_LAYERS)
    if others:
        raise RecipeError(
            Problem(
                "packing: shared_prefix",
                "the backbone has layers that look at all tokens before them, whatever the mask",
                expected=", ".join(sorted(MASKED_LAYERS)),
                got=", ".join(others),
                fix="set packing: none",
            )
        )
    window = getattr(config, "sliding_window", None)
    if window is not None and longest > window:
        raise RecipeError(
            Problem(
                "packing: shared_prefix",
                "the backbone's attention sees fewer tokens back than the longest sequence has",
                expected=f"at most {window} tokens",
                got=str(longest),
                fix="set packing: none, or trainer.max_length to the window",
            )
        )
    match model.config._attn_implementation:
        case "sdpa":
            return boolean_mask
        case "eager":
            return lambda last_seen: additive_mask(last_seen, model.dtype)
    raise RecipeError(
        Problem(
            "packing: shared_prefix",
            "the backbone's attention takes no mask of our own",
            expected="sdpa or eager",
            got=str(model.config._attn_implementation),
            fix="set packing: none",
        )
    )


def parity_of(architecture: Architecture) -> float:
    """The length of a pack at which attention takes as long as the linear layers, in tokens."""
    _, queries = architecture.linear_layers["q_proj"]
    return _parity(architecture.linear_parameters, architecture.num_hidden_layers * queries)


def parity_of_model(model: PreTrainedModel) -> float:
    """The same for a model that is loaded, whatever its architecture."""
    import torch

    config = model.config.get_text_config()
    head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    linear = {
        part
        for name, part in model.named_modules()
        if isinstance(part, torch.nn.Linear) and "lora_" not in name
    }
    weights = sum(part.in_features * part.out_features for part in linear - {model.get_output_embeddings()})
    return _parity(weights, config.num_hidden_layers * config.num_attention_heads * head)


def _parity(linear_weights: int, queries: int) -> float:
    """Linear layers take an operation a weight and token, attention two a query and token that it sees."""
    return linear_weights / (2 * queries * _ATTENTION_COST)
