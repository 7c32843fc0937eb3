"""Which tokens of a pack see each other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from inspect import signature
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from dialoguellm_release.errors import Problem, RecipeError

if TYPE_CHECKING:
    import torch
    from peft import PeftModel
    from transformers import PreTrainedModel

BY_SEGMENT = "by_segment"
"""The name of our attention in transformers' `AttentionInterface`."""


@dataclass(frozen=True)
class Segment:
    """Tokens of a pack that follow each other in the same sequences."""

    start: int  # the place of the first
    end: int  # the place after the last
    seen: tuple[int, ...]  # the numbers of the segments that its sequences begin with, and its own


def segments_of(position_ids: Sequence[int], last_seen: Sequence[int]) -> tuple[Segment, ...]:
    """The segments of a pack in its order, by the depths in the tree and the index after each last reader."""
    starts = [
        place
        for place in range(len(position_ids))
        if place == 0
        or last_seen[place] != last_seen[place - 1]
        or position_ids[place] != position_ids[place - 1] + 1
    ]
    found: list[Segment] = []
    path: list[int] = []
    for start, end in zip(starts, [*starts[1:], len(position_ids)], strict=True):
        while path and last_seen[found[path[-1]].start] <= start:
            path.pop()
        path.append(len(found))
        found.append(Segment(start, end, tuple(path)))
    return tuple(found)


class Ragged(NamedTuple):
    """Segments as FlashAttention takes sequences of any length.

    Attributes:
        keys: The places of the tokens that each segment sees, segment after segment.
        query_starts: Where the tokens of each segment start, and the end.
        key_starts: The same in `keys`.
        longest_query: The most tokens of a segment.
        longest_keys: The most tokens that one sees.
    """

    keys: torch.Tensor
    query_starts: torch.Tensor
    key_starts: torch.Tensor
    longest_query: int
    longest_keys: int


def ragged(segments: Sequence[Segment], device: torch.device) -> Ragged:
    """The segments of a pack on a device."""
    import torch

    places = [torch.arange(one.start, one.end) for one in segments]
    keys = [torch.cat([places[number] for number in one.seen]) for one in segments]

    def starts(parts: list[torch.Tensor]) -> torch.Tensor:
        return torch.tensor([0, *map(len, parts)]).cumsum(0).to(device, torch.int32)

    longest_query, longest_keys = (max(map(len, parts)) for parts in (places, keys))
    return Ragged(torch.cat(keys).to(device), starts(places), starts(keys), longest_query, longest_keys)


def _flash_attention(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, places: Ragged, scale: float | None
) -> torch.Tensor:
    """FlashAttention of all segments in one call, each with a copy of the keys that it sees.

    The copies are of float32, because the gradients of all copies of a token are summed.
    """
    import torch
    from torch.nn.attention.varlen import varlen_attn

    kind = query.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else query.dtype
    groups = query.shape[1] // key.shape[1]
    exact = torch.promote_types(query.dtype, torch.float32)
    keys, values = (
        states[0]
        .transpose(0, 1)
        .to(exact)
        .index_select(0, places.keys)
        .to(dtype)
        .repeat_interleave(groups, 1)
        for states in (key, value)
    )
    output = varlen_attn(
        query[0].transpose(0, 1).to(dtype).contiguous(),
        keys,
        values,
        *places[1:],
        scale=scale,
        window_size=(-1, 0),
    )
    return cast("torch.Tensor", output)[None]


def _has_flash_attention(model: PreTrainedModel | PeftModel) -> bool:
    """Whether the device and this torch have FlashAttention over sequences of any length.

    It came to PyTorch as `varlen_attn`, with windows from 2.11 on, and knows no dropout.
    """
    import torch

    if model.device.type != "cuda" or torch.cuda.get_device_capability(model.device) < (8, 0):
        return False
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return False
    has_dropout = bool(getattr(model.config.get_text_config(), "attention_dropout", 0))
    return "window_size" in signature(varlen_attn).parameters and not has_dropout


def _attention_by_segment(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    segments: tuple[Segment, ...] | Ragged | None = None,
    **settings: Any,
) -> tuple[torch.Tensor, None]:
    """Attention as transformers' `AttentionInterface` wants it; without segments it is that of `sdpa`.

    Why: of all pairs of tokens of a pack most do not see each other, and a mask over them takes as long as if
    they did. A segment looks at itself and at those before it only.
    """
    import torch
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    if segments is None:
        plain: tuple[torch.Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, **settings
        )
        return plain
    if isinstance(segments, Ragged):
        return _flash_attention(query, key, value, segments, settings.get("scaling")), None
    # On a CPU the gradient takes several times as long in half precision as in float32.
    exact = torch.promote_types(query.dtype, torch.float32)
    sizes = [one.end - one.start for one in segments]
    lengths = [sum(sizes[other] for other in one.seen) for one in segments]
    asking, counts = _asking(module, sizes, settings.get("needed"))
    queries = torch.split((query if asking is None else query.index_select(2, asking)).to(exact), counts, 2)
    keys, values = (torch.split(states.to(exact), sizes, 2) for states in (key, value))
    causal = torch.full((max(lengths),) * 2, float("-inf"), dtype=exact, device=query.device).triu(1)
    depths = torch.cat(
        [torch.arange(length - size, length) for size, length in zip(sizes, lengths, strict=True)]
    )
    rows = torch.split(depths if asking is None else depths[asking], counts)
    outputs = []
    with torch.autocast(query.device.type, enabled=False):
        for number, one in enumerate(segments):
            if counts[number]:
                outputs.append(
                    torch.nn.functional.scaled_dot_product_attention(
                        queries[number],
                        torch.cat([keys[other] for other in one.seen], 2),
                        torch.cat([values[other] for other in one.seen], 2),
                        attn_mask=causal[rows[number], : lengths[number]],
                        dropout_p=settings.get("dropout", 0.0),
                        scale=settings.get("scaling"),
                        enable_gqa=key.shape[1] != query.shape[1],
                    )
                )
    output = torch.cat(outputs, 2).to(query.dtype)
    if asking is not None:
        output = torch.zeros_like(query).index_copy(2, asking, output)
    return output.transpose(1, 2), None


def _asking(
    module: Any, sizes: list[int], needed: torch.Tensor | None
) -> tuple[torch.Tensor | None, list[int]]:
    """The tokens that look at others, None for all, and how many of them each segment has."""
    import torch

    if needed is None or not len(needed) or module.layer_idx != module.config.num_hidden_layers - 1:
        return None, sizes
    ends = torch.tensor(sizes).cumsum(0)
    counts = torch.searchsorted(needed, ends).diff(prepend=torch.zeros(1, dtype=torch.long))
    return needed, counts.tolist()


MaskMaker = Callable[["torch.Tensor"], "torch.Tensor"]

MASKED_LAYERS = frozenset({"full_attention", "sliding_attention"})
"""The types of layers, in the words of `transformers`, that see no more than the mask lets them."""


def boolean_mask(last_seen: torch.Tensor) -> torch.Tensor:
    """Which token (row) sees which (column), of shape (packs, 1, tokens, tokens).

    Why: depth first, the tokens below one are those from it to `last_seen`, so one number a token is all
    that has to travel to the device.
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


def attention_for_packs(
    model: PreTrainedModel | PeftModel, longest: int, dtype: torch.dtype
) -> MaskMaker | None:
    """Makes a model ready to read packs, of so many tokens at most.

    Gives the function that makes of `last_seen` the mask that the model takes; None where it computes
    attention by segment, which it does from now on.
    """
    config = model.config.get_text_config()
    others = sorted(set(getattr(config, "layer_types", None) or ()) - MASKED_LAYERS)
    if others:
        what = "the backbone has layers that look at all tokens before them, whatever the mask"
        masked = ", ".join(sorted(MASKED_LAYERS))
        raise _no_packs(what, masked, ", ".join(others), code="training.layers_without_mask")
    window = getattr(config, "sliding_window", None)
    if window is not None and longest > window:
        what = "the backbone's attention sees fewer tokens back than the longest sequence has"
        expected, or_else = f"at most {window} tokens", ", or trainer.max_length to the window"
        raise _no_packs(what, expected, str(longest), or_else, code="training.window_too_short")
    is_by_segment = model.device.type == "cpu" or (dtype.itemsize == 2 and _has_flash_attention(model))
    if is_by_segment and model.config._attn_implementation == "sdpa":
        _set_attention_by_segment(model)
    match attention := model.config._attn_implementation:
        case "by_segment":
            return None
        case "sdpa":
            return boolean_mask
        case "eager":
            return lambda last_seen: additive_mask(last_seen, model.dtype)
    what, code = "the backbone's attention takes no mask of our own", "training.attention_without_mask"
    raise _no_packs(what, "sdpa or eager", str(attention), code=code)


def _set_attention_by_segment(model: PreTrainedModel | PeftModel) -> None:
    """Registers our attention and chooses it, where the model's code lets anyone choose."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    AttentionInterface.register(BY_SEGMENT, _attention_by_segment)
    AttentionMaskInterface.register(BY_SEGMENT, sdpa_mask)
    model.set_attn_implementation(BY_SEGMENT)


def _no_packs(what: str, expected: str, got: str, or_else: str = "", *, code: str) -> RecipeError:
    fix = f"set packing: none{or_else}"
    return RecipeError(Problem("packing: shared_prefix", what, expected, got, fix, code=code))
