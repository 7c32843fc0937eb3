"""The audit of a dataset: all comparisons, repeated and contradicting records, and which are clean."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dialoguellm_release.leakage.agreement import find_agreement
from dialoguellm_release.leakage.shared import (
    find_leaks,
    find_ngrams,
    find_overlaps,
    find_shared,
    number_stretches,
)
from dialoguellm_release.leakage.turns import NONE, Turns, dialogue_starts
from dialoguellm_release.records import return_memory
from dialoguellm_release.schemas.audit import Audit, Conflict, Duplicate, LabelledId, PartSizes
from dialoguellm_release.schemas.labels import CorpusName, Part
from dialoguellm_release.schemas.recipes.dataset import CleanRules

if TYPE_CHECKING:
    from dialoguellm_release.leakage.turns import Bits, Decisions, Flags

Group = list[int]
"""Places of turns that say the same in the same context."""


def find_repeats(turns: Turns) -> list[Group]:
    """Groups of two or more turns with the same text in the same context, in the order of the turns.

    The text is the record's input; its context is the turns before it that the record shows. Both are
    normalised and without speakers, which corpora spell differently or
    leave out. Short texts count, and so do records without context; an input of no words does not.
    """
    import numpy as np

    groups, starts = list[Group](), dialogue_starts(turns)
    for size in np.unique(turns.context):
        places = np.flatnonzero((turns.context == size) & (turns.words > 0))
        number = number_stretches(turns.text, starts, int(size) + 1)[places - size]
        places, number = places[number != NONE], number[number != NONE]
        is_repeated = np.bincount(number)[number] > 1
        places, number = places[is_repeated], number[is_repeated]
        order = np.argsort(number, kind="stable")
        ends = np.flatnonzero(np.diff(number[order])) + 1
        groups += [one.tolist() for one in np.split(places[order], ends) if len(one)]
    return sorted(groups)


def find_duplicates(turns: Turns, repeats: Iterable[Group]) -> list[Duplicate]:
    """The records of training splits with the same text, context and label, group by group."""
    found, labels = [], turns.label.tolist()
    is_training = _is_training(turns).tolist()
    for group in repeats:
        by_label = defaultdict(list)
        for place in group:
            if is_training[place]:
                by_label[labels[place]].append(place)
        found += [
            Duplicate(
                words=int(turns.words[group[0]]),
                label=turns.labels[label],
                ids=tuple(map(turns.id_of, places)),
            )
            for label, places in by_label.items()
            if len(places) > 1
        ]
    return found


def find_conflicts(turns: Turns, repeats: Iterable[Group]) -> list[Conflict]:
    """The records of any split with the same text and context and more than one label, group by group."""
    labels = turns.label.tolist()
    return [
        Conflict(
            words=int(turns.words[group[0]]),
            records=tuple(
                LabelledId(id=turns.id_of(place), label=turns.labels[labels[place]]) for place in group
            ),
        )
        for group in repeats
        if len({labels[place] for place in group}) > 1
    ]


CLEAN, LEAKED, DUPLICATE, CONFLICT = range(4)
"""What is decided on a record."""

PART_OF: dict[int, Part] = {CLEAN: "clean", LEAKED: "leaked", DUPLICATE: "repeated", CONFLICT: "repeated"}
"""The part that holds the records of each decision."""


def decide(turns: Turns, leaks: Bits, repeats: Iterable[Group], rules: CleanRules) -> Decisions:
    """Whether the record of each turn is clean, leaks, is a duplicate, or loses a conflict."""
    import numpy as np

    decisions = np.where(leaks != 0, LEAKED, CLEAN).astype(np.int8)
    may_stay, label_of = (_is_training(turns) & (leaks == 0)).tolist(), turns.label.tolist()
    for group in repeats:
        places = [place for place in group if may_stay[place]]
        labels = [label_of[place] for place in places]
        kept = _kept_labels(labels, rules)
        seen = set[int]()
        for place, label in zip(places, labels, strict=True):
            if label not in kept:
                decisions[place] = CONFLICT
            elif label in seen and rules.duplicates == "first":
                decisions[place] = DUPLICATE
            seen.add(label)
    return decisions


def _is_training(turns: Turns) -> Flags:
    import numpy as np

    return np.array([split == "train" for _, split in turns.splits], dtype=bool)[turns.split]


def part_sizes(decisions: Mapping[int, int]) -> PartSizes:
    """The sizes of the parts, from the count of each decision."""
    clean, leaked, duplicates, conflicts = (decisions.get(one, 0) for one in sorted(PART_OF))
    return PartSizes(clean=clean, leaked=leaked, duplicates=duplicates, conflicts=conflicts)


def _kept_labels(labels: list[int], rules: CleanRules) -> set[int]:
    """The labels of a group that stay."""
    counts = Counter(labels)
    if len(counts) < 2 or rules.conflicts == "keep":
        return set(counts)
    if rules.conflicts == "drop":
        return set()
    return {max(counts, key=lambda label: counts[label])}


@dataclass(frozen=True)
class Ledger:
    """What an audit found."""

    audit: Audit
    leaks: Bits  # for the record of each turn, the splits that it shares something with, as bits
    decisions: Decisions  # for the record of each turn, whether it is clean, and if not why


def make_ledger(turns: Turns, rules: CleanRules) -> Ledger:
    """The ledger of the turns of a dataset."""
    shared = find_shared(turns)
    return_memory()
    ngrams = find_ngrams(shared.speech)
    return_memory()
    overlaps = find_overlaps(turns, shared, ngrams)
    leaks = find_leaks(turns, shared, ngrams)
    del shared, ngrams
    return_memory()
    repeats = find_repeats(turns)
    return_memory()
    audit = Audit(
        overlaps=tuple(overlaps),
        duplicates=tuple(find_duplicates(turns, repeats)),
        conflicts=tuple(find_conflicts(turns, repeats)),
        agreement=tuple(find_agreement(turns)),
    )
    return Ledger(audit, leaks, decide(turns, leaks, repeats, rules))


def audit_as_json(audit: Audit) -> str:
    """The text of `audit.json`: what `dataset audit --json` prints."""
    return audit.model_dump_json(indent=2) + "\n"


def publishable_audit(
    audit: Audit, withheld: Collection[CorpusName], left_out: Collection[CorpusName] = ()
) -> Audit:
    """The audit with the ids of withheld corpora replaced by the names of their splits; counts stay.

    Why: that a withheld split has a published text too is a finding; which of its records has it may not be
    published. The records of corpora that are left out are not named at all: a label beside the text that it
    was given to is a label. One record alone repeats and contradicts nothing.
    """

    def shown(record_id: str) -> str:
        corpus, split, _ = record_id.split("/", 2)
        return f"{corpus}/{split}" if corpus in withheld else record_id

    def is_named(record_id: str) -> bool:
        return record_id.partition("/")[0] not in left_out

    def labelled(records: Iterable[LabelledId]) -> tuple[LabelledId, ...]:
        return tuple(one.model_copy(update={"id": shown(one.id)}) for one in records if is_named(one.id))

    duplicates = [
        one.model_copy(update={"ids": tuple(map(shown, filter(is_named, one.ids)))})
        for one in audit.duplicates
    ]
    conflicts = [one.model_copy(update={"records": labelled(one.records)}) for one in audit.conflicts]
    return audit.model_copy(
        update={
            "duplicates": tuple(one for one in duplicates if len(one.ids) > 1),
            "conflicts": tuple(one for one in conflicts if len(one.records) > 1),
        }
    )


def audit_between(audit: Audit, second: Collection[CorpusName]) -> Audit:
    """The part of an audit of two datasets together that concerns both; `second` are the corpora of one."""

    def crosses(*names: str) -> bool:
        return len({name.split("/")[0] in second for name in names}) > 1

    return Audit(
        overlaps=tuple(one for one in audit.overlaps if crosses(one.held_out, one.training)),
        duplicates=tuple(one for one in audit.duplicates if crosses(*one.ids)),
        conflicts=tuple(one for one in audit.conflicts if crosses(*(two.id for two in one.records))),
        agreement=tuple(one for one in audit.agreement if crosses(one.first, one.second)),
    )
