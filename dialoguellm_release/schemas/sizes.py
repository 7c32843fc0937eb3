"""How much there is of a split: counted, expected, and the one held against the other."""

from __future__ import annotations

from dialoguellm_release.schemas.base import Count, Schema, Text
from dialoguellm_release.schemas.labels import CorpusName, Split


class Sizes(Schema):
    """How much there is of a split."""

    dialogues: Count
    utterances: Count


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
