"""How far two corpora that transcribe the same scenes agree on the labels."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import combinations, product
from typing import TYPE_CHECKING

from dialoguellm_release.leakage.shared import holders, number_stretches
from dialoguellm_release.leakage.turns import Turns, dialogue_starts
from dialoguellm_release.schemas.audit import MIN_RUN, MIN_WORDS, Agreement
from dialoguellm_release.schemas.labels import SPLITS, CorpusName, Label, class_labels

if TYPE_CHECKING:
    from dialoguellm_release.leakage.turns import Numbers

Places = dict[int, list[int]]
"""Where each run begins, by its number."""


def find_agreement(turns: Turns) -> list[Agreement]:
    """One row for each two corpora of the dataset, also where they share no utterance.

    Two utterances are the same one when they have the same text of 5 words or more and the same position
    in a run of 3 or more consecutive utterances that both corpora have, in whatever splits. Where an
    utterance has more than one such counterpart in the other corpus, or its counterpart has, it is
    ambiguous and left out. Labels are canonical; further labels of an utterance are ignored.
    """
    speech = turns.where(turns.words > 0)
    runs = _runs_by_corpus(speech)
    label_of = [speech.labels[one] for one in speech.label.tolist()]
    found = []
    for first, second in combinations(runs, 2):
        pairs, ambiguous = _counterparts(runs[first], runs[second], speech.words)
        labels = [(label_of[one], label_of[other]) for one, other in pairs]
        counted = Counter(labels)
        known = class_labels(counted)
        rows, columns = (
            [label for label in known if label in used]
            for used in ({one for one, _ in counted}, {other for _, other in counted})
        )
        counts = {row: {column: counted[row, column] for column in columns} for row in rows}
        totals = {row: sum(cells.values()) for row, cells in counts.items()}
        found.append(
            Agreement(
                first=first,
                second=second,
                utterances=len(labels),
                ambiguous=ambiguous,
                counts=counts,
                shares={
                    row: {column: count / totals[row] for column, count in cells.items()}
                    for row, cells in counts.items()
                },
                observed=sum(one == other for one, other in labels) / len(labels) if labels else None,
                kappa=cohen_kappa(labels),
            )
        )
    return found


def cohen_kappa(labels: Sequence[tuple[Label, Label]]) -> float | None:
    """Agreement beyond chance, at most 1; None where chance alone would always agree.

    Cohen, "A coefficient of agreement for nominal scales", Educational and Psychological Measurement 20
    (1960).

    >>> cohen_kappa([("anger", "anger"), ("anger", "fear"), ("fear", "fear"), ("fear", "fear")])
    0.5
    """
    total = len(labels)
    firsts = Counter(first for first, _ in labels)
    seconds = Counter(second for _, second in labels)
    by_chance = sum(count * seconds[label] for label, count in firsts.items())
    if by_chance == total**2:
        return None
    agreed = sum(first == second for first, second in labels)
    return (total * agreed - by_chance) / (total**2 - by_chance)


def _runs_by_corpus(speech: Turns) -> dict[CorpusName, Places]:
    """Where the runs of the smallest size begin that several corpora have, by corpus."""
    import numpy as np

    corpus = speech.split // len(SPLITS)
    run = number_stretches(speech.text, dialogue_starts(speech), MIN_RUN)
    corpora = holders(run, corpus, len(speech.splits) // len(SPLITS))
    names = [name for name, _ in speech.splits[:: len(SPLITS)]]
    runs: dict[CorpusName, Places] = {names[one]: defaultdict(list) for one in np.unique(corpus)}
    for place in np.flatnonzero(corpora & (corpora - 1)).tolist():  # more than one bit is set
        runs[names[corpus[place]]][int(run[place])].append(place)
    return runs


def _counterparts(first: Places, second: Places, words: Numbers) -> tuple[list[tuple[int, int]], int]:
    """The utterances that are the same one, place by place, and how many of the first are ambiguous.

    Why: two counterparts are as ambiguous as a hundred, so no more of a run are compared, and the work
    grows with the utterances and not with the ways to pair them.
    """
    of_first: defaultdict[int, set[int]] = defaultdict(set)
    of_second: defaultdict[int, set[int]] = defaultdict(set)
    for run in first.keys() & second.keys():
        for places, others, counterparts in (
            (first[run], second[run], of_first),
            (second[run], first[run], of_second),
        ):
            for place, offset in product(places, range(MIN_RUN)):
                counterparts[place + offset].update(other + offset for other in others[:2])
    telling = [place for place in of_first if words[place] >= MIN_WORDS]
    pairs = [
        (place, other)
        for place in telling
        for other in of_first[place]
        if len(of_first[place]) == len(of_second[other]) == 1
    ]
    return pairs, len(telling) - len(pairs)
