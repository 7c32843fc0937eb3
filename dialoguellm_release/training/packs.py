"""Shared-prefix packs: several sequences as one, in which what they begin with stands once.

Every record of a corpus begins with the same instruction, about half of its prompt. A pack is the tree of
the sequences' tokens, written depth first: a token sees its ancestors and itself, nothing else, and its
position is its depth. So each sequence sees exactly what it sees alone, and loss and gradients are those of
the separate sequences (but for dropout, which a shared token draws once for all).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise, takewhile
from typing import TYPE_CHECKING

from dialoguellm_release.errors import Problem, RecipeError

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel


MASKED_LAYERS = frozenset({"full_attention", "sliding_attention"})
"""The types of layers, in the words of `transformers`, that see no more than the mask lets them."""


@dataclass(frozen=True)
class Pack:
    """Sequences as one.

    Attributes:
        input_ids: The tokens of the tree, depth first.
        position_ids: The depth of each.
        last_seen: For each token, the index after the last token that sees it.
        predictors: Where the token stands that predicts each target, in the order of `targets`.
        targets: The tokens to be predicted, of all sequences.
    """

    input_ids: list[int]
    position_ids: list[int]
    last_seen: list[int]
    predictors: list[int]
    targets: list[int]


def pack(sequences: Sequence[tuple[Sequence[int], int]]) -> Pack:
    """The tree of some sequences.

    Sequences that have more in common may stand apart in `sequences`: they are sorted here.

    Args:
        sequences: Each with the index of its first target, at least 1.
    """
    packed = Pack([], [], [], [], [])
    path: list[int] = []
    before: Sequence[int] = ()
    for tokens, first_target in sorted((list(tokens), first) for tokens, first in sequences):
        shared = common_prefix_length(before, tokens)
        _close(packed, path[shared:])
        start = len(packed.input_ids)
        path = path[:shared] + list(range(start, start + len(tokens) - shared))
        packed.input_ids.extend(tokens[shared:])
        packed.position_ids.extend(range(shared, len(tokens)))
        packed.last_seen.extend([0] * (len(tokens) - shared))
        packed.predictors.extend(path[first_target - 1 : -1])
        packed.targets.extend(tokens[first_target:])
        before = tokens
    _close(packed, path)
    return packed


def packed_length(sequences: Iterable[Sequence[int]]) -> int:
    """The tokens of the pack of some sequences.

    >>> packed_length([[1, 2, 3], [1, 2, 4, 5], [7]])
    6
    """
    ordered = [list[int](), *sorted(map(list, sequences))]
    return sum(len(after) - common_prefix_length(before, after) for before, after in pairwise(ordered))


def common_prefix_length(one: Sequence[int], other: Sequence[int]) -> int:
    """How many tokens two sequences begin with alike.

    >>> common_prefix_length([1, 2, 3], [1, 2, 4, 5])
    2
    """
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def boolean_mask(last_seen: torch.Tensor) -> torch.Tensor:
    """Which token (row) sees which (column), of shape (1, 1, tokens, tokens).

    Why: depth first, the tokens below one are those from it to `last_seen`, so one number a token is all
    that has to travel to the device, and all that a kernel with a mask function needs.
    """
    import torch

    index = torch.arange(last_seen.shape[-1], device=last_seen.device)
    mask = (index[None, :] <= index[:, None]) & (index[:, None] < last_seen[None, :])
    return mask[None, None]


def additive_mask(last_seen: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """The same as what is added to attention scores."""
    import torch

    seen = boolean_mask(last_seen)
    return torch.zeros(seen.shape, dtype=dtype, device=seen.device).masked_fill(~seen, torch.finfo(dtype).min)


def mask_maker(model: PreTrainedModel, longest: int) -> Callable[[torch.Tensor], torch.Tensor]:
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


def _close(packed: Pack, path: list[int]) -> None:
    for index in path:
        packed.last_seen[index] = len(packed.input_ids)
