"""Encoded prompts become training sequences, and the order in which an epoch goes through them."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from typing import TypedDict

from dialoguellm_release.encoding import EncodedPrompt, Encoder
from dialoguellm_release.schemas.recipes.adapter import Packing


class Row(TypedDict):
    """A sequence of ids; the loss is on those from `first_target` on."""

    input_ids: list[int]
    first_target: int


FILLER: Row = {"input_ids": [0], "first_target": 1}
"""A row without a target: it makes a batch whole, so that each device gets as many, and changes no loss."""


def training_rows(
    encoder: Encoder, prompts: Iterable[EncodedPrompt], *, completion_only: bool = True
) -> list[Row]:
    """One row a record: the prompt, which the model is given, then the completion, which it learns.

    Args:
        completion_only: False has the model learn the prompt as well, but for its first token.
    """
    rows: list[Row] = []
    for prompt in prompts:
        completion = encoder.completion_ids(prompt.record.output)
        first_target = len(prompt.ids) if completion_only else 1
        rows.append({"input_ids": prompt.ids + completion, "first_target": first_target})
    return rows


class EpochOrder:
    """The rows of an epoch, as a sampler: drawn at random into batches, and sorted inside each.

    Why: a step sums the gradient of its whole batch, so the order inside changes nothing but the speed.
    With packs, micro-batches get rows that begin alike; with padding, rows of like length, the longest
    first, so that too little memory shows at once.

    Args:
        batch_size: Rows of one optimiser step.
        fillers: So many rows that stand after all others are taken last.
    """

    def __init__(
        self, rows: Sequence[list[int]], batch_size: int, packing: Packing, seed: int, fillers: int = 0
    ) -> None:
        self._rows = rows
        self._batch_size = batch_size
        self._packing = packing
        self._seed = seed
        self._fillers = fillers
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Chooses the draw; the same epoch always gives the same order, so that a run can be resumed."""
        self._epoch = epoch

    def __len__(self) -> int:
        return len(self._rows) + self._fillers

    def __iter__(self) -> Iterator[int]:
        drawn = list(range(len(self._rows)))
        random.Random(f"{self._seed} {self._epoch}").shuffle(drawn)
        for start in range(0, len(drawn), self._batch_size):
            yield from sorted_alike(drawn[start : start + self._batch_size], self._rows, self._packing)
        yield from range(len(self._rows), len(self))


def sorted_alike(indices: Iterable[int], rows: Sequence[list[int]], packing: Packing) -> list[int]:
    """Indices of rows so that neighbours go well together into one micro-batch."""
    if packing == "shared_prefix":
        return sorted(indices, key=lambda index: rows[index])
    return sorted(indices, key=lambda index: -len(rows[index]))
