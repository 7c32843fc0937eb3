"""Rows become the tensors of one forward pass, and the loss of what comes out of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from dialoguellm_release.training.data import FILLER, Row
from dialoguellm_release.training.packs import MaskMaker, division, pack

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

Batch = dict[str, Any]
Collator = Callable[[Sequence[Row]], Batch]


def packed(parity: float) -> Collator:
    """The function that makes of some rows a batch of packs.

    A batch holds what the model reads; for each target the row and the column of the token that predicts it
    (`target_rows`, `target_columns`) and the token itself (`labels`); and how many tokens the rows have
    (`num_tokens`), which may be more than the packs hold.

    Args:
        parity: The length of a pack at which attention takes as long as the linear layers.
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

    Args:
        mask_of: Makes the mask of packs; None for a padded batch.
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
