"""Rows become the tensors of one forward pass, in packs that hold a shared beginning once; and their loss."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise, takewhile
from typing import TYPE_CHECKING, Any

from dialoguellm_release.training.attention import MaskMaker, ragged, segments_of
from dialoguellm_release.training.data import FILLER, Row
from dialoguellm_release.training.shortcuts import parts_after_the_keys

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class Pack:
    """Sequences as one."""

    input_ids: list[int]  # the tokens of the tree, depth first
    position_ids: list[int]  # the depth of each
    last_seen: list[int]  # for each token, the index after the last token that sees it
    predictors: list[int]  # where the token stands that predicts each target, in the order of `targets`
    targets: list[int]  # the tokens to be predicted, of all sequences


def pack(sequences: Sequence[tuple[Sequence[int], int]]) -> Pack:
    """The tree of some sequences.

    Each comes with the index of its first target. Those that have more in common are brought together here.
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


def pack_size(sequences: Iterable[Sequence[int]]) -> int:
    """Tokens of the pack of some sequences."""
    ordered = sorted(map(list, sequences))
    shared = sum(common_prefix_length(one, other) for one, other in pairwise(ordered))
    return sum(map(len, ordered)) - shared


def common_prefix_length(one: Sequence[int], other: Sequence[int]) -> int:
    """How many tokens two sequences begin with alike.

    >>> common_prefix_length([1, 2, 3], [1, 2, 4, 5])
    2
    """
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def _close(packed: Pack, path: list[int]) -> None:
    for index in path:
        packed.last_seen[index] = len(packed.input_ids)


def linear_weights(model: PreTrainedModel) -> int:
    """The weights of the linear layers that every token passes through, without an adapter's.

    The output layer is not among them, nor is what the last layer computes for few tokens.
    """
    import torch

    few = {
        model.get_output_embeddings(),
        *(one for part in parts_after_the_keys(model) for one in part.modules()),
    }
    linear = {
        part
        for name, part in model.named_modules()
        if isinstance(part, torch.nn.Linear) and "lora_" not in name
    }
    return sum(
        part.in_features * part.out_features for part in linear - few - {model.get_output_embeddings()}
    )


Batch = dict[str, Any]
Collator = Callable[[Sequence[Row]], Batch]


def packed(rows: Sequence[Row]) -> Batch:
    """A batch of one pack.

    It holds what the model reads; for each target the row and the column of the token that predicts it
    (`target_rows`, `target_columns`) and the token itself (`labels`); the places among all tokens where a
    target is predicted (`needed`); and how many tokens the rows have (`num_tokens`), which may be more than
    the pack holds.
    """
    import torch

    one = pack([(row["input_ids"], row["first_target"]) for row in rows])
    return {
        "input_ids": torch.tensor([one.input_ids]),
        "position_ids": torch.tensor([one.position_ids]),
        "last_seen": torch.tensor([one.last_seen]),
        "segments": segments_of(one.position_ids, one.last_seen),
        **_targets(rows, [one.predictors], [one.targets], len(one.input_ids)),
    }


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
    return {
        "input_ids": input_ids,
        "attention_mask": attention_mask,
        **_targets(rows, predictors, targets, longest),
    }


def _targets(
    rows: Sequence[Row], predictors: Sequence[Sequence[int]], targets: Sequence[Sequence[int]], width: int
) -> Batch:
    """What a batch says of its targets, from those of each of its rows, which have `width` columns."""
    import torch

    labels = torch.tensor([token for found in targets for token in found], dtype=torch.long)
    counts = torch.tensor([len(found) for found in targets])
    needed = {number * width + place for number, found in enumerate(predictors) for place in found}
    return {
        "target_rows": torch.arange(len(targets)).repeat_interleave(counts),
        "target_columns": torch.tensor([place for found in predictors for place in found], dtype=torch.long),
        "needed": torch.tensor(sorted(needed), dtype=torch.long),
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

    if "last_seen" not in batch:
        reading = {"attention_mask": batch["attention_mask"]}
    elif mask_of is not None:
        reading = {"attention_mask": mask_of(batch["last_seen"]), "position_ids": batch["position_ids"]}
    else:
        # transformers takes four dimensions for a mask that is ready; made into one it would fail.
        segments, device = batch["segments"], batch["input_ids"].device
        reading = {
            "position_ids": batch["position_ids"],
            "segments": segments if device.type == "cpu" else ragged(segments, device),
            "attention_mask": batch["last_seen"][:, None, None],
        }
    with _logits_only_at(model, batch["target_rows"], batch["target_columns"]):
        output = model(input_ids=batch["input_ids"], needed=batch["needed"], **reading, use_cache=False)
    logits = output.logits[0]
    exact = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return torch.nn.functional.cross_entropy(exact, batch["labels"], reduction="sum")


@contextmanager
def _logits_only_at(model: PreTrainedModel, rows: torch.Tensor, columns: torch.Tensor) -> Iterator[None]:
    """Inside the block the model gives logits of shape (1, positions, vocabulary), of these positions alone.

    Why: `logits_to_keep` of transformers keeps the same columns of every row.
    """
    from accelerate.utils import extract_model_from_parallel

    # Accelerate looks at all parts of a model, which takes long where nothing wraps it.
    inner = model if hasattr(model, "get_output_embeddings") else extract_model_from_parallel(model)
    output_layer = inner.get_output_embeddings()
    hook = output_layer.register_forward_pre_hook(lambda _, given: (given[0][rows, columns][None],))
    try:
        yield
    finally:
        hook.remove()
