"""How the lengths of dialogues and utterances are spread, and the gaps between records."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Self

from dialoguellm_release.schemas.base import Count, Schema


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
        utterance_lengths: Words per utterance; a word is what stands between white space and has a letter
            or a digit.
        records_after_gap: Records that are not numbered as the next after the one before in their dialogue.
        missing_turns: How many numbers are left out there.
    """

    dialogue_lengths: Spread
    utterance_lengths: Spread
    records_after_gap: Count
    missing_turns: Count
