"""Rows become the tensors of one forward pass, and the loss of what comes out of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from dialoguellm_release.training.examples import FILLER, Row
from dialoguellm_release.training.packs import pack

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

    from dialoguellm_release.schemas.recipes.adapter import Packing

Batch = dict[str, Any]
Collator = Callable[[Sequence[Row]], Batch]
MaskMaker = Callable[["torch.Tensor"], "torch.Tensor"]


def collator(packing: Packing) -> Collator:
    """The function that makes a batch of some rows.

    A batch holds what the model reads; the columns whose logits are wanted (`logits_to_keep`); for each
    target its row, the place of its column among those, and the token (`labels`); and how many tokens the
    rows have (`num_tokens`), which may be more than a pack holds.
    """
    return _packed if packing == "shared_prefix" else _padded


def _packed(rows: Sequence[Row]) -> Batch:
    import torch

    packed = pack([(row["input_ids"], row["first_target"]) for row in rows])
    return {
        "input_ids": torch.tensor([packed.input_ids]),
        "position_ids": torch.tensor([packed.position_ids]),
        "last_seen": torch.tensor(packed.last_seen),
        **_targets(rows, [0] * len(packed.targets), packed.predictors, packed.targets),
    }


def _padded(rows: Sequence[Row]) -> Batch:
    """Padding stands on the right, where no token of a causal model can see it."""
    import torch

    longest = max(len(row["input_ids"]) for row in rows)
    input_ids = torch.zeros((len(rows), longest), dtype=torch.long)
    attention_mask = torch.zeros_like(input_ids)
    target_rows, columns, targets = list[int](), list[int](), list[int]()
    for number, row in enumerate(rows):
        ids, first = row["input_ids"], row["first_target"]
        input_ids[number, : len(ids)] = torch.tensor(ids)
        attention_mask[number, : len(ids)] = 1
        target_rows += [number] * (len(ids) - first)
        columns += range(first - 1, len(ids) - 1)
        targets += ids[first:]
    return {
        "input_ids": input_ids,
        "attention_mask": attention_mask,
        **_targets(rows, target_rows, columns, targets),
    }


def _targets(rows: Sequence[Row], target_rows: list[int], columns: list[int], targets: list[int]) -> Batch:
    import torch

    kept, places = torch.unique(torch.tensor(columns, dtype=torch.long), return_inverse=True)
    labels = torch.tensor(targets, dtype=torch.long)
    return {
        "logits_to_keep": kept,
        "target_rows": torch.tensor(target_rows, dtype=torch.long),
        "target_places": places,
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
        mask_of: Makes the mask of a pack; None for a padded batch.
    """
    import torch

    if mask_of is not None:
        attention = {"attention_mask": mask_of(batch["last_seen"]), "position_ids": batch["position_ids"]}
    else:
        attention = {"attention_mask": batch["attention_mask"]}
    kept = batch["logits_to_keep"]
    outputs = model(input_ids=batch["input_ids"], **attention, logits_to_keep=kept, use_cache=False)
    logits = outputs.logits[batch["target_rows"], batch["target_places"]]
    exact = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return torch.nn.functional.cross_entropy(exact, batch["labels"], reduction="sum")
