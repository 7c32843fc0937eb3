"""The records that an adapter is trained on, as rows of ids, and the order in which an epoch takes them."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from dialoguellm_release.encoding import EncodedPrompt, Encoder, RecordLengths, in_batches
from dialoguellm_release.errors import DataError, Problem
from dialoguellm_release.prompts import Prompt, with_knowledge
from dialoguellm_release.records import draw_records, read_records, shown_sha256
from dialoguellm_release.render import numbers
from dialoguellm_release.render.tables import Column, Table
from dialoguellm_release.schemas.dataset_manifest import DatasetManifest
from dialoguellm_release.schemas.labels import Split
from dialoguellm_release.schemas.recipes.adapter import AdapterRecipe, Packing
from dialoguellm_release.schemas.record import Record


def records_of(
    dataset: Path, built: DatasetManifest, recipe: AdapterRecipe, prompt: Prompt, split: Split
) -> Iterator[Record]:
    """The records of a split as the adapter sees them, read as they are asked for.

    They are those of its recipe's config, with its knowledge.
    """
    _check_prompt(prompt, built, dataset)
    found = drawn_records(dataset, recipe, split)
    label_spaces = {name: corpus.label_space for name, corpus in built.figures.corpora.items()}
    records = with_knowledge(found, recipe.data.knowledge, prompt, label_spaces)
    if recipe.data.knowledge.video_descriptions != "shuffled":
        return records
    shuffled = list(records)
    if not any(record.video_description for record in shuffled):
        what = f"has no video description to shuffle in the {split} split of {recipe.data.config}"
        fix = "describe the videos and build the dataset again"
        raise DataError(Problem(str(dataset), what, fix=fix, code="training.no_descriptions"))
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
        what = f"was built with another prompt ({built.figures.prompt}) than the adapter recipe names"
        expected = f"{prompt.name}, sha256 {prompt.sha256}"
        got = f"{built.figures.prompt}, sha256 {built.figures.prompt_sha256}"
        fix = "build the dataset again, or name its prompt in the adapter recipe"
        raise DataError(Problem(str(dataset), what, expected, got, fix, code="training.other_prompt"))


class Row(TypedDict):
    """A sequence of ids; the loss is on those from `first_target` on."""

    input_ids: list[int]
    first_target: int


FILLER: Row = {"input_ids": [0], "first_target": 1}
"""A row without a target: it makes a batch whole, so that each device gets as many, and changes no loss."""


def training_rows(
    encoder: Encoder, prompts: Iterable[EncodedPrompt], *, completion_only: bool = True
) -> list[Row]:
    """One row a record: the prompt, which the model is given, then the completion, which it learns."""
    rows: list[Row] = []
    for prompt in prompts:
        completion = encoder.completion_ids(prompt.record.output)
        first_target = len(prompt.ids) if completion_only else 1
        rows.append({"input_ids": prompt.ids + completion, "first_target": first_target})
    return rows


CUTOFFS = (128, 256, 384, 512, 768, 1024, 2048)
"""The lengths that the table shows, besides the recipe's own."""


@dataclass(frozen=True)
class Survival:
    """What becomes of records at a length."""

    max_length: int
    is_of_recipe: bool  # whether the recipe says this length
    whole: int
    shortened: int  # records that fit with less context or a shorter description
    refused: int  # records that do not fit without a loss of instruction, input or label: nothing is trained
    # Records whose label, or a part of it, a plain cut at this length would take away, as the paper's and
    # most trainers' do.
    labels_lost: int


def survival(lengths: Sequence[RecordLengths], max_length: int) -> list[Survival]:
    """What becomes of the records at each length of the table, the shortest first."""
    found = []
    for cutoff in sorted({*CUTOFFS, max_length}):
        whole = sum(one.whole <= cutoff for one in lengths)
        refused = sum(one.shortest > cutoff for one in lengths)
        lost = sum(one.with_label > cutoff for one in lengths)
        shortened = len(lengths) - whole - refused
        found.append(Survival(cutoff, cutoff == max_length, whole, shortened, refused, lost))
    return found


def survival_table(rows: Iterable[Survival]) -> str:
    """The rows as text for a terminal."""
    header = ("max_length", "whole", "shortened", "refused", "label lost by a plain cut")
    cells = (
        (
            f"{'recipe: ' if row.is_of_recipe else ''}{numbers.count(row.max_length)}",
            *map(numbers.count, (row.whole, row.shortened, row.refused, row.labels_lost)),
        )
        for row in rows
    )
    return Table([Column(name, "right") for name in header], cells).text()


def encode_or_show_survival(
    encoder: Encoder, read: Callable[[], Iterable[Record]]
) -> Iterator[EncodedPrompt]:
    """The encoded prompts of the records; `read` is called once more where a table has to be shown."""
    try:
        yield from encoder.encode_each(read())
    except DataError as error:
        lengths = [one for some in in_batches(read()) for one in encoder.lengths(encoder.fit_all(some))]
        table = survival_table(survival(lengths, encoder.max_length))
        raise DataError(error.problems, table=table) from error


class EpochOrder:
    """The rows of an epoch, as a sampler: drawn at random into batches, and sorted inside each.

    Why: a step sums the gradient of its whole batch, so the order inside changes nothing but the speed.
    With packs, micro-batches get rows that begin alike; with padding, rows of like length, the longest
    first, so that too little memory shows at once. The last `fillers` rows are taken last.
    """

    def __init__(
        self, rows: Sequence[Sequence[int]], batch_size: int, packing: Packing, seed: int, fillers: int = 0
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


def sorted_alike(indices: Iterable[int], rows: Sequence[Sequence[int]], packing: Packing) -> list[int]:
    """Indices of rows so that neighbours go well together into one micro-batch."""
    if packing == "shared_prefix":
        return sorted(indices, key=lambda index: list(rows[index]))
    return sorted(indices, key=lambda index: -len(rows[index]))
