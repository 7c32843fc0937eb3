"""Which training records the clean part holds, and why the others are not in it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from dialoguellm_release.dataset.repeats import Group
from dialoguellm_release.dataset.turns import CORPUS_SPLITS, Turns
from dialoguellm_release.schemas.counts import PartSizes
from dialoguellm_release.schemas.labels import Part
from dialoguellm_release.schemas.recipes.dataset import CleanRules

if TYPE_CHECKING:
    from dialoguellm_release.dataset.sequences import Bits, Fates

CLEAN, LEAKED, DUPLICATE, CONFLICT = range(4)
"""What becomes of a record."""

PART_OF: dict[int, Part] = {
    CLEAN: "clean",
    LEAKED: "leaked",
    DUPLICATE: "repeated",
    CONFLICT: "repeated",
}
"""The part that holds the records of each fate."""


def sort_out(turns: Turns, leaks: Bits, repeats: Iterable[Group], rules: CleanRules) -> Fates:
    """For the record of each turn whether it is clean, leaks, is a duplicate, or loses a conflict.

    Args:
        leaks: The splits that each record shares something with.
    """
    import numpy as np

    fates = np.where(leaks != 0, LEAKED, CLEAN).astype(np.int8)
    is_training = np.array([split == "train" for _, split in CORPUS_SPLITS])[turns.split]
    may_stay = is_training & (leaks == 0)
    for group in repeats:
        places = [place for place in group if may_stay[place]]
        labels = turns.label[places].tolist()
        kept = _kept_labels(labels, rules)
        seen = set[int]()
        for place, label in zip(places, labels, strict=True):
            if label not in kept:
                fates[place] = CONFLICT
            elif label in seen and rules.duplicates == "first":
                fates[place] = DUPLICATE
            seen.add(label)
    return fates


def part_sizes(fates: Mapping[int, int]) -> PartSizes:
    """How many records became what, from the count of each fate."""
    return PartSizes(
        clean=fates.get(CLEAN, 0),
        leaked=fates.get(LEAKED, 0),
        duplicates=fates.get(DUPLICATE, 0),
        conflicts=fates.get(CONFLICT, 0),
    )


def _kept_labels(labels: list[int], rules: CleanRules) -> set[int]:
    """The labels of a group that stay."""
    counts = Counter(labels)
    if len(counts) < 2 or rules.conflicts == "keep":
        return set(counts)
    if rules.conflicts == "drop":
        return set()
    return {max(counts, key=lambda label: counts[label])}
