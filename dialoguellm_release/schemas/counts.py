"""How much there is of a split: counted, expected, compared, and how lengths are spread."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Self

from dialoguellm_release.schemas.base import Count, Schema, Text
from dialoguellm_release.schemas.labels import CorpusName, Split


class Sizes(Schema):
    """How much there is of a split."""

    dialogues: Count
    utterances: Count

    def __str__(self) -> str:
        return f"{self.dialogues:,} dialogues, {self.utterances:,} utterances"


class ExpectedSizes(Schema):
    """What a recipe expects of a split; `utterances` is None where a draw decides their number."""

    dialogues: Count
    utterances: Count | None

    def is_met_by(self, sizes: Sizes) -> bool:
        """Whether what was built is what was expected."""
        return self.dialogues == sizes.dialogues and self.utterances in (None, sizes.utterances)


class Reconciliation(Schema):
    """The counts of one corpus and split: the paper's, the public files', the expected and the built.

    None: the paper does not state it, the files have no such split, the recipe expects nothing.
    """

    corpus: CorpusName
    split: Split
    paper: Sizes | None
    public: Sizes | None
    expected: ExpectedSizes | None
    built: Sizes
    reason: Text | None

    @property
    def misses(self) -> bool:
        """Whether the recipe expects something else than what was built."""
        return self.expected is not None and not self.expected.is_met_by(self.built)


class PartSizes(Schema):
    """What became of the records of a split; held-out records are clean or leaked.

    Attributes:
        duplicates: Training records that say the same, with the same label, as one that is kept.
        conflicts: Training records whose label lost to another one in the same context.
    """

    clean: Count
    leaked: Count
    duplicates: Count
    conflicts: Count


class Spread(Schema):
    """How a length is spread; a percentile is a length that occurs (nearest rank)."""

    mean: float
    minimum: Count
    p5: Count
    p25: Count
    median: Count
    p75: Count
    p95: Count
    maximum: Count

    @classmethod
    def of(cls, lengths: Iterable[int]) -> Self:
        """Of one length or more.

        >>> Spread.of([5, 1, 2, 2]).median
        2
        """
        ordered = sorted(lengths)

        def percentile(share: int) -> int:
            return ordered[-(-share * len(ordered) // 100) - 1]

        return cls(
            mean=sum(ordered) / len(ordered),
            minimum=ordered[0],
            p5=percentile(5),
            p25=percentile(25),
            median=percentile(50),
            p75=percentile(75),
            p95=percentile(95),
            maximum=ordered[-1],
        )


class SplitStatistics(Schema):
    """Lengths and gaps of one corpus and split.

    Attributes:
        dialogue_lengths: Utterances per dialogue.
        utterance_lengths: Words per utterance; a word is a run of letters and digits.
        records_after_gap: Records that are not numbered as the next after the one before in their dialogue.
        missing_turns: How many numbers are left out there.
    """

    dialogue_lengths: Spread
    utterance_lengths: Spread
    records_after_gap: Count
    missing_turns: Count
