"""What is counted of a dataset: sizes and lengths, and what an audit finds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, Self

from pydantic import Field

from dialoguellm_release.schemas.base import Count, Fraction, Schema, Text
from dialoguellm_release.schemas.labels import CorpusName, Label, Split


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
    """What became of the records of a split; held-out records are clean or leaked."""

    clean: Count
    leaked: Count
    duplicates: Count  # training records that say the same, with the same label, as one that is kept
    conflicts: Count  # training records whose label lost to another one in the same context


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
    """Utterances per dialogue and words per utterance of one corpus and split, and gaps."""

    dialogue_lengths: Spread
    utterance_lengths: Spread
    # Records that are not numbered as the next after the one before in their dialogue.
    records_after_gap: Count
    missing_turns: Count  # how many numbers are left out there


MIN_WORDS = 5
"""An utterance, or a dialogue as a whole, of fewer words says nothing about its origin."""

MIN_RUN = 3
"""This many consecutive utterances in common are no accident, however short they are."""

NGRAM = 8
"""Words of the n-grams that find a text that was cut into other utterances or edited."""

SplitName = Annotated[str, Field(pattern=r"^[^/\s]+/(train|validation|test)$")]
"""A split of a corpus, as in `my_corpus/test`."""


class Overlap(Schema):
    """What a held-out split has in common with a training split.

    Every count of what they share is None, which means unknown, where one of the two has no word at all.
    """

    held_out: SplitName
    training: SplitName
    dialogues: Count
    utterances: Count  # its utterances of 5 words or more
    utterances_found: Count | None  # those among them that the training split has word for word
    # Its dialogues that share 3 or more consecutive utterances with one dialogue of the training split.
    dialogues_with_run: Count | None
    utterances_in_runs: Count | None  # its utterances inside such runs, short ones among them
    dialogues_covered: Count | None  # its dialogues of which every utterance is inside runs
    # Its dialogues that are the same sequence of utterances as one of the training split, however short.
    dialogues_identical: Count | None
    # Share of its word 8-grams, each as often as it occurs, that the training split has too; None where it
    # has no 8-gram. They run over the words of a whole dialogue, so that a text cut into other utterances
    # is found as well.
    ngram_share: Fraction | None

    @property
    def shares_nothing(self) -> bool:
        """Whether the two were compared and have nothing in common."""
        counts = (self.utterances_found, self.dialogues_with_run, self.dialogues_identical)
        return not any(counts) and None not in counts and not self.ngram_share


class Duplicate(Schema):
    """Training records of the same text, of so many words, in the same context with the same label."""

    words: Count
    label: Label
    ids: Annotated[tuple[Text, ...], Field(min_length=2)]


class LabelledId(Schema):
    """A record by its id, and its label."""

    id: Text
    label: Label


class Conflict(Schema):
    """Records of the same text in the same context, of any split, that do not all have the same label."""

    words: Count
    records: Annotated[tuple[LabelledId, ...], Field(min_length=2)]


class Agreement(Schema):
    """How two corpora label the utterances that both of them have."""

    first: CorpusName
    second: CorpusName
    utterances: Count
    ambiguous: Count  # utterances of `first` that were left out, as several of either corpus could be meant
    # Utterances per label in `first` and label in `second`; labels that do not occur are left out.
    counts: dict[Label, dict[Label, Count]]
    # The same as P(label in `second` | label in `first`): each row adds up to 1.
    shares: dict[Label, dict[Label, Fraction]]
    observed: Fraction | None  # share of the utterances with the same label; None without an utterance
    # Cohen's kappa; None where it is not defined, as without an utterance, or when all of them have one and
    # the same label in both corpora.
    kappa: Annotated[float, Field(ge=-1, le=1)] | None


class RepeatCounts(Schema):
    """Groups of records of the same text in the same context."""

    groups: Count
    records: Count
    groups_of_5_words: Count
    groups_across_corpora: Count

    @classmethod
    def of(cls, groups: Sequence[tuple[int, Sequence[str]]]) -> Self:
        """The counts of groups, each with the words of its text and the ids of its records."""
        return cls(
            groups=len(groups),
            records=sum(len(ids) for _, ids in groups),
            groups_of_5_words=sum(words >= MIN_WORDS for words, _ in groups),
            groups_across_corpora=sum(len({name.split("/")[0] for name in ids}) > 1 for _, ids in groups),
        )


class AuditFigures(Schema):
    """An audit in numbers: what a card shows of it."""

    # Pairs of splits that have something in common, or of which that is unknown.
    overlaps: tuple[Overlap, ...]
    pairs_without_overlap: Count  # how many have nothing
    duplicates: RepeatCounts
    conflicts: RepeatCounts
    agreement: tuple[Agreement, ...]


class Audit(Schema):
    """The leakage ledger of a dataset folder."""

    overlaps: tuple[Overlap, ...]
    duplicates: tuple[Duplicate, ...]
    conflicts: tuple[Conflict, ...]
    agreement: tuple[Agreement, ...]

    @property
    def figures(self) -> AuditFigures:
        """The audit in numbers, without the id of a record."""
        shown = tuple(row for row in self.overlaps if not row.shares_nothing)
        return AuditFigures(
            overlaps=shown,
            pairs_without_overlap=len(self.overlaps) - len(shown),
            duplicates=RepeatCounts.of([(group.words, group.ids) for group in self.duplicates]),
            conflicts=RepeatCounts.of(
                [(group.words, tuple(one.id for one in group.records)) for group in self.conflicts]
            ),
            agreement=self.agreement,
        )
