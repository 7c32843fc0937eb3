"""Records that repeat or contradict each other in the same context, and what the clean part keeps."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from dialoguellm_release.leakage.shared import number_stretches
from dialoguellm_release.leakage.turns import Turns
from dialoguellm_release.schemas.audit import Conflict, Duplicate, LabelledId
from dialoguellm_release.schemas.counts import PartSizes
from dialoguellm_release.schemas.labels import Part
from dialoguellm_release.schemas.recipes.dataset import CleanRules

Group = list[int]
"""Places of turns that say the same in the same context."""


def find_repeats(turns: Turns) -> list[Group]:
    """Groups of two or more turns with the same text in the same context, in the order of the turns.

    The text is the record's input; its context is the turns before it that the record shows. Both are
    normalised and without speakers, whom one corpus names in full, another by the first name, a third not
    at all. Short texts count, and so do records without context; an input of no words does not.
    """
    import numpy as np

    groups: list[Group] = []
    for size in np.unique(turns.context):
        places = np.flatnonzero((turns.context == size) & (turns.words > 0))
        number = number_stretches(turns.text, turns.dialogue, int(size) + 1)[places - size]
        is_repeated = np.bincount(number)[number] > 1
        places, number = places[is_repeated], number[is_repeated]
        order = np.argsort(number, kind="stable")
        ends = np.flatnonzero(np.diff(number[order])) + 1
        groups += [one.tolist() for one in np.split(places[order], ends) if len(one)]
    return sorted(groups)


def find_duplicates(turns: Turns, repeats: Iterable[Group]) -> list[Duplicate]:
    """The records of training splits with the same text, context and label, group by group."""
    found = []
    for group in repeats:
        by_label = defaultdict(list)
        for place in group:
            if turns.splits[turns.split[place]][1] == "train":
                by_label[turns.labels[turns.label[place]]].append(turns.id_of(place))
        words = int(turns.words[group[0]])
        found += [
            Duplicate(words=words, label=label, ids=tuple(ids))
            for label, ids in by_label.items()
            if len(ids) > 1
        ]
    return found


def find_conflicts(turns: Turns, repeats: Iterable[Group]) -> list[Conflict]:
    """The records of any split with the same text and context and more than one label, group by group."""
    return [
        Conflict(
            words=int(turns.words[group[0]]),
            records=tuple(
                LabelledId(id=turns.id_of(place), label=turns.labels[turns.label[place]]) for place in group
            ),
        )
        for group in repeats
        if len(set(turns.label[group].tolist())) > 1
    ]


if TYPE_CHECKING:
    from dialoguellm_release.leakage.turns import Bits, Decisions

CLEAN, LEAKED, DUPLICATE, CONFLICT = range(4)
"""What is decided on a record."""

PART_OF: dict[int, Part] = {
    CLEAN: "clean",
    LEAKED: "leaked",
    DUPLICATE: "repeated",
    CONFLICT: "repeated",
}
"""The part that holds the records of each decision."""


def decide(turns: Turns, leaks: Bits, repeats: Iterable[Group], rules: CleanRules) -> Decisions:
    """Whether the record of each turn is clean, leaks, is a duplicate, or loses a conflict.

    Args:
        leaks: The splits that each record shares something with.
    """
    import numpy as np

    decisions = np.where(leaks != 0, LEAKED, CLEAN).astype(np.int8)
    is_training = np.array([split == "train" for _, split in turns.splits])[turns.split]
    may_stay = is_training & (leaks == 0)
    for group in repeats:
        places = [place for place in group if may_stay[place]]
        labels = turns.label[places].tolist()
        kept = _kept_labels(labels, rules)
        seen = set[int]()
        for place, label in zip(places, labels, strict=True):
            if label not in kept:
                decisions[place] = CONFLICT
            elif label in seen and rules.duplicates == "first":
                decisions[place] = DUPLICATE
            seen.add(label)
    return decisions


def part_sizes(decisions: Mapping[int, int]) -> PartSizes:
    """The sizes of the parts, from the count of each decision."""
    return PartSizes(
        clean=decisions.get(CLEAN, 0),
        leaked=decisions.get(LEAKED, 0),
        duplicates=decisions.get(DUPLICATE, 0),
        conflicts=decisions.get(CONFLICT, 0),
    )


def _kept_labels(labels: list[int], rules: CleanRules) -> set[int]:
    """The labels of a group that stay."""
    counts = Counter(labels)
    if len(counts) < 2 or rules.conflicts == "keep":
        return set(counts)
    if rules.conflicts == "drop":
        return set()
    return {max(counts, key=lambda label: counts[label])}
