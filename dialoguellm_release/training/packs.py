"""Rows become the tensors of one forward pass, in packs that hold a shared beginning once; and their loss."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate, pairwise, takewhile
from typing import TYPE_CHECKING, Any

from dialoguellm_release.errors import Problem, RecipeError
from dialoguellm_release.schemas.recipes.backbone import Architecture
from dialoguellm_release.training.data import FILLER, Row

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel


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


@dataclass(frozen=True)
class Division:
    """How sorted sequences become packs of about one length, which stand below each other in a batch.

    Attributes:
        ends: For each pack, the place after its last sequence.
        longest: Tokens of the longest pack, to which the others are padded.
    """

    ends: tuple[int, ...]
    longest: int

    @property
    def tokens(self) -> int:
        """All that pass through the model."""
        return len(self.ends) * self.longest

    def cost(self, parity: float) -> float:
        """The time it takes, in no unit: linear layers by the token, attention by the pair of tokens."""
        return self.tokens * (1 + self.longest / parity)


def division(sequences: Sequence[Sequence[int]], parity: float) -> Division:
    """The cheapest division of sorted sequences, in their order, into packs that are filled to one limit.

    Why: one long pack holds what its sequences share only once, but attention looks at each pair of its
    tokens; with many sequences or a narrow model, several packs are faster. It costs no more than one pack,
    and no more than a padded batch.

    Args:
        parity: The length of a pack at which attention takes as long as the linear layers.
    """
    lengths = [len(tokens) for tokens in sequences]
    shared = [0, *(common_prefix_length(one, other) for one, other in pairwise(sequences))]
    added = [length - common for length, common in zip(lengths, shared, strict=True)]
    longest = max(lengths)
    limits = {max(longest, size) for size in accumulate(added)}
    divisions = (_filled(lengths, added, limit) for limit in sorted(limits, reverse=True))
    return min(divisions, key=lambda found: found.cost(parity))


def common_prefix_length(one: Sequence[int], other: Sequence[int]) -> int:
    """How many tokens two sequences begin with alike.

    >>> common_prefix_length([1, 2, 3], [1, 2, 4, 5])
    2
    """
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def _filled(lengths: Sequence[int], added: Sequence[int], limit: int) -> Division:
    """Packs that take sequences until the next one would make them longer than a limit.

    Args:
        added: Tokens of each sequence that the one before does not begin with.
    """
    ends, sizes = list[int](), list[int]()
    size = 0
    for place, (length, more) in enumerate(zip(lengths, added, strict=True)):
        if place and size + more > limit:
            ends.append(place)
            sizes.append(size)
            size = 0
        size += more if size else length
    return Division((*ends, len(lengths)), max([*sizes, size]))


def _close(packed: Pack, path: list[int]) -> None:
    for index in path:
        packed.last_seen[index] = len(packed.input_ids)


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
    """The function that makes of `last_seen` the mask that a model takes."""
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
    match attention := model.config._attn_implementation:
        case "sdpa":
            return boolean_mask
        case "eager":
            return lambda last_seen: additive_mask(last_seen, model.dtype)
    what, code = "the backbone's attention takes no mask of our own", "training.attention_without_mask"
    raise _no_packs(what, "sdpa or eager", str(attention), code=code)


def _no_packs(what: str, expected: str, got: str, or_else: str = "", *, code: str) -> RecipeError:
    fix = f"set packing: none{or_else}"
    return RecipeError(Problem("packing: shared_prefix", what, expected, got, fix, code=code))


def parity_of(architecture: Architecture) -> float:
    """The length of a pack at which attention takes as long as the linear layers, in tokens."""
    _, queries = architecture.linear_layers["q_proj"]
    return _parity(architecture.linear_parameters, architecture.num_hidden_layers * queries)


def parity_of_model(model: PreTrainedModel) -> float:
    """The same for a model that is loaded, whatever its architecture."""
    config = model.config.get_text_config()
    head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return _parity(linear_weights(model), config.num_hidden_layers * config.num_attention_heads * head)


def linear_weights(model: PreTrainedModel) -> int:
    """The weights of a model's linear layers, without its output layer and without an adapter's."""
    import torch

    linear = {
        part
        for name, part in model.named_modules()
        if isinstance(part, torch.nn.Linear) and "lora_" not in name
    }
    return sum(part.in_features * part.out_features for part in linear - {model.get_output_embeddings()})


def _parity(linear_weights: int, queries: int) -> float:
    """Linear layers take an operation a weight and token, attention two a query and token that it sees."""
    return linear_weights / (2 * queries * _ATTENTION_COST)


Batch = dict[str, Any]
Collator = Callable[[Sequence[Row]], Batch]


def packed(parity: float) -> Collator:
    """The function that makes of some rows a batch of packs.

    A batch holds what the model reads; for each target the row and the column of the token that predicts it
    (`target_rows`, `target_columns`) and the token itself (`labels`); and how many tokens the rows have
    (`num_tokens`), which may be more than the packs hold.
    """
    import torch

    def collate(rows: Sequence[Row]) -> Batch:
        alike = sorted(rows, key=lambda row: row["input_ids"])
        divided = division([row["input_ids"] for row in alike], parity)
        packs = [
            pack([(row["input_ids"], row["first_target"]) for row in alike[start:end]])
            for start, end in pairwise((0, *divided.ends))
        ]
        shape = (len(packs), divided.longest)
        input_ids, position_ids = torch.zeros(shape, dtype=torch.long), torch.zeros(shape, dtype=torch.long)
        # What pads a pack sees itself alone, and is seen by nothing else.
        last_seen = torch.arange(1, divided.longest + 1).repeat(len(packs), 1)
        for number, one in enumerate(packs):
            filled = slice(len(one.input_ids))
            input_ids[number, filled] = torch.tensor(one.input_ids)
            position_ids[number, filled] = torch.tensor(one.position_ids)
            last_seen[number, filled] = torch.tensor(one.last_seen)
        return {
            "input_ids": input_ids,
            "position_ids": position_ids,
            "last_seen": last_seen,
            **_targets(rows, [one.predictors for one in packs], [one.targets for one in packs]),
        }

    return collate


def padded(rows: Sequence[Row]) -> Batch:
    """The same without packs: a row a sequence, padded on the right, where no other token sees it."""
    import torch

    longest = max(len(row["input_ids"]) for row in rows)
    input_ids = torch.zeros((len(rows), longest), dtype=torch.long)
    attention_mask = torch.zeros_like(input_ids)
    for number, row in enumerate(rows):
        filled = slice(len(row["input_ids"]))
        input_ids[number, filled] = torch.tensor(row["input_ids"])
        attention_mask[number, filled] = 1
    predictors = [range(row["first_target"] - 1, len(row["input_ids"]) - 1) for row in rows]
    targets = [row["input_ids"][row["first_target"] :] for row in rows]
    return {"input_ids": input_ids, "attention_mask": attention_mask, **_targets(rows, predictors, targets)}


def _targets(
    rows: Sequence[Row], predictors: Sequence[Sequence[int]], targets: Sequence[Sequence[int]]
) -> Batch:
    """What a batch says of its targets, from those of each of its rows."""
    import torch

    labels = torch.tensor([token for found in targets for token in found], dtype=torch.long)
    counts = torch.tensor([len(found) for found in targets])
    return {
        "target_rows": torch.arange(len(targets)).repeat_interleave(counts),
        "target_columns": torch.tensor([place for found in predictors for place in found], dtype=torch.long),
        "labels": labels,
        # The trainer counts these as they are, and would leave the first of `labels` out of the count.
        "shift_labels": labels,
        "num_tokens": sum(len(row["input_ids"]) for row in rows if row != FILLER),
    }


def computed_tokens(batch: Batch) -> int:
    """How many tokens pass through the model, padding included."""
    count: int = batch["input_ids"].numel()
    return count


def summed_loss(model: PreTrainedModel, batch: Batch, mask_of: MaskMaker | None = None) -> torch.Tensor:
    """The negative log-likelihood of all targets of a batch, summed.

    Why: only the positions that predict a target pass through the output layer, on every device (TRL's
    own loss does so on GPUs alone); and they do so inside the model, with all that it does to its logits.
    """
    import torch

    if mask_of is not None:
        attention = {"attention_mask": mask_of(batch["last_seen"]), "position_ids": batch["position_ids"]}
    else:
        attention = {"attention_mask": batch["attention_mask"]}
    with _logits_only_at(model, batch["target_rows"], batch["target_columns"]):
        logits = model(input_ids=batch["input_ids"], **attention, use_cache=False).logits[0]
    exact = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return torch.nn.functional.cross_entropy(exact, batch["labels"], reduction="sum")


@contextmanager
def _logits_only_at(model: PreTrainedModel, rows: torch.Tensor, columns: torch.Tensor) -> Iterator[None]:
    """Inside the block the model gives logits of shape (1, positions, vocabulary), of these positions alone.

    Why: `logits_to_keep` of transformers keeps the same columns of every row.
    """
    from accelerate.utils import extract_model_from_parallel

    output_layer = extract_model_from_parallel(model).get_output_embeddings()
    hook = output_layer.register_forward_pre_hook(lambda _, given: (given[0][rows, columns][None],))
    try:
        yield
    finally:
        hook.remove()
