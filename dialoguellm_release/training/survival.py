"""Which records would lose their label or their input at which length."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from dialoguellm_release.encoding import EncodedPrompt, Encoder, RecordLengths, in_batches
from dialoguellm_release.errors import DataError
from dialoguellm_release.schemas.record import Record

CUTOFFS = (128, 256, 384, 512, 768, 1024, 2048)
"""The lengths that the table shows, besides the recipe's own."""


@dataclass(frozen=True)
class Survival:
    """What becomes of records at a length.

    Attributes:
        max_length: Tokens of prompt and completion.
        is_of_recipe: Whether the recipe says this length.
        whole: Records that fit as they are.
        shortened: Records that fit with less context or a shorter description.
        refused: Records that do not fit without a loss of instruction, input or label: nothing is trained.
        labels_lost: Records whose label, or a part of it, a plain cut at this length would take away, as
            the paper's and most trainers' do.
    """

    max_length: int
    is_of_recipe: bool
    whole: int
    shortened: int
    refused: int
    labels_lost: int


def survival(lengths: Sequence[RecordLengths], max_length: int) -> list[Survival]:
    """What becomes of the records at each length of the table, the shortest first."""
    return [_at(lengths, cutoff, cutoff == max_length) for cutoff in sorted({*CUTOFFS, max_length})]


def survival_table(rows: Iterable[Survival]) -> str:
    """The rows as aligned text."""
    header: tuple[str, ...] = ("max_length", "whole", "shortened", "refused", "label lost by a plain cut")
    lines = [header]
    for row in rows:
        counts = (row.whole, row.shortened, row.refused, row.labels_lost)
        length = f"{'recipe: ' if row.is_of_recipe else ''}{row.max_length:,}"
        lines.append((length, *(f"{count:,}" for count in counts)))
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    return "\n".join(
        "  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in lines
    )


def encode_or_show_survival(
    encoder: Encoder, read: Callable[[], Iterable[Record]]
) -> Iterator[EncodedPrompt]:
    """The encoded prompts of the records, one after the other.

    Args:
        read: Gives the records; called once more where a table is to be shown.

    Raises:
        DataError: Some cannot be made to fit; told after the last of all, with the table of lengths.
    """
    try:
        yield from encoder.encode_each(read())
    except DataError as error:
        lengths = [one for some in in_batches(read()) for one in encoder.lengths(encoder.fit_all(some))]
        table = survival_table(survival(lengths, encoder.max_length))
        raise DataError(error.problems, table=table) from error


def _at(lengths: Sequence[RecordLengths], cutoff: int, is_of_recipe: bool) -> Survival:
    whole = sum(one.whole <= cutoff for one in lengths)
    refused = sum(one.shortest > cutoff for one in lengths)
    lost = sum(one.with_label > cutoff for one in lengths)
    return Survival(cutoff, is_of_recipe, whole, len(lengths) - whole - refused, refused, lost)
