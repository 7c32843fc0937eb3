"""Records that say the same in the same context: with one label duplicates, with several a conflict.

The text is the record's input; its context is the turns before it that the record shows. Both are
normalised and without the speakers, whom one corpus names in full, another by the first name, a third not
at all. Short texts count, and so do records without context; an input of no words does not.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from dialoguellm_release.dataset.sequences import number_stretches
from dialoguellm_release.dataset.turns import CORPUS_SPLITS, Turns
from dialoguellm_release.schemas.audit import Conflict, Duplicate, LabelledId
from dialoguellm_release.schemas.labels import LABELS

Group = list[int]
"""Places of turns that say the same in the same context."""


def find_repeats(turns: Turns) -> list[Group]:
    """Each two turns or more that say the same in the same context, in the order of the turns."""
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
            if CORPUS_SPLITS[turns.split[place]][1] == "train":
                by_label[LABELS[turns.label[place]]].append(turns.id_of(place))
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
                LabelledId(id=turns.id_of(place), label=LABELS[turns.label[place]]) for place in group
            ),
        )
        for group in repeats
        if len(set(turns.label[group].tolist())) > 1
    ]
