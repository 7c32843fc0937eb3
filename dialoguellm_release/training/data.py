"""The records that an adapter is trained on, as rows of ids, and the order in which an epoch takes them."""

from __future__ import annotations

import random
from array import array
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypedDict, overload

from dialoguellm_release.encoding import EncodedPrompt, Encoder
from dialoguellm_release.errors import DataError, Problem
from dialoguellm_release.knowledge import each_with_knowledge
from dialoguellm_release.prompts import Prompt
from dialoguellm_release.records import draw_records, read_records, shown_sha256
from dialoguellm_release.schemas.dataset_manifest import DatasetManifest
from dialoguellm_release.schemas.labels import Split
from dialoguellm_release.schemas.recipes.adapter import AdapterRecipe, Packing
from dialoguellm_release.schemas.record import Record


def records_of(
    dataset: Path, built: DatasetManifest, recipe: AdapterRecipe, prompt: Prompt, split: Split
) -> Iterator[Record]:
    """The records of a split as the adapter sees them, read as they are asked for.

    They are those of its recipe's config, with its knowledge.

    Raises:
        DataError: The dataset was built with another prompt, has no such records, or no description to
            shuffle.
    """
    _check_prompt(prompt, built, dataset)
    found = drawn_records(dataset, recipe, split)
    label_spaces = {name: corpus.label_space for name, corpus in built.figures.corpora.items()}
    records = each_with_knowledge(found, recipe.data.knowledge, prompt, label_spaces)
    if recipe.data.knowledge.video_descriptions != "shuffled":
        return records
    shuffled = list(records)
    if not any(record.video_description for record in shuffled):
        raise DataError(
            Problem(
                str(dataset),
                f"has no video description to shuffle in the {split} split of {recipe.data.config}",
                fix="describe the videos and build the dataset again",
                code="training.no_descriptions",
            )
        )
    return iter(shuffled)


def splits_of(recipe: AdapterRecipe) -> tuple[Split, ...]:
    """The splits that a training reads."""
    return ("train", "validation") if recipe.trainer.eval_steps else ("train",)


def records_read(dataset: Path, recipe: AdapterRecipe) -> dict[Split, str]:
    """A hash of the records of each split that a training reads, whichever other corpora the dataset has."""
    return {split: shown_sha256(drawn_records(dataset, recipe, split)) for split in splits_of(recipe)}


def drawn_records(dataset: Path, recipe: AdapterRecipe, split: Split) -> Iterator[Record]:
    """The records of a recipe as the dataset has them."""
    most = recipe.data.max_records if split == "train" else recipe.data.max_validation_records
    return draw_records(read_records(dataset, recipe.data.config, split), most, recipe.seed)


def _check_prompt(prompt: Prompt, built: DatasetManifest, dataset: Path) -> None:
    if built.figures.prompt_sha256 != prompt.sha256:
        raise DataError(
            Problem(
                str(dataset),
                f"was built with another prompt ({built.figures.prompt}) than the adapter recipe names",
                expected=f"{prompt.name}, sha256 {prompt.sha256}",
                got=f"{built.figures.prompt}, sha256 {built.figures.prompt_sha256}",
                fix="build the dataset again, or name its prompt in the adapter recipe",
                code="training.other_prompt",
            )
        )


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


class Sequences(Sequence[list[int]]):
    """Sequences of ids, each made a list only while it is looked at.

    Why: an id takes 4 bytes here and 36 in a list, and the paper's mix has 13 million of them.

    >>> held = Sequences()
    >>> held.append([1, 2, 3])
    >>> held.append([4])
    >>> held[0], list(held), held.tokens
    ([1, 2, 3], [[1, 2, 3], [4]], 4)
    """

    def __init__(self) -> None:
        self._ids = array("i")
        self._ends = array("q", [0])

    def append(self, ids: Sequence[int]) -> None:
        """Puts one more at the end."""
        self._ids.extend(ids)
        self._ends.append(len(self._ids))

    @property
    def tokens(self) -> int:
        """The ids of all of them."""
        return len(self._ids)

    def __len__(self) -> int:
        return len(self._ends) - 1

    @overload
    def __getitem__(self, index: int) -> list[int]: ...

    @overload
    def __getitem__(self, index: slice) -> list[list[int]]: ...

    def __getitem__(self, index: int | slice) -> list[int] | list[list[int]]:
        if isinstance(index, slice):
            return [self[one] for one in range(*index.indices(len(self)))]
        if not 0 <= index < len(self):
            raise IndexError(index)
        return self._ids[self._ends[index] : self._ends[index + 1]].tolist()

    def __iter__(self) -> Iterator[list[int]]:
        return (self[index] for index in range(len(self)))
