"""What held-out splits have in common with training splits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dialoguellm_release.dataset.matching import MIN_WORDS
from dialoguellm_release.dataset.ngrams import Ngrams
from dialoguellm_release.dataset.shared import Shared, bit_of
from dialoguellm_release.dataset.turns import CORPUS_SPLITS, Turns, dialogue_starts
from dialoguellm_release.schemas.audit import Overlap

if TYPE_CHECKING:
    from dialoguellm_release.dataset.sequences import Bits


def find_overlaps(turns: Turns, shared: Shared, ngrams: Ngrams) -> list[Overlap]:
    """One row for each held-out split with each training split, also where they have nothing in common."""
    import numpy as np

    there = np.unique(turns.split).tolist()
    training = [split for split in there if CORPUS_SPLITS[split][1] == "train"]
    held_out = [split for split in there if split not in training]
    dialogues = np.bincount(turns.split[dialogue_starts(turns)], minlength=len(CORPUS_SPLITS))
    return [
        row for split in held_out for row in _overlaps(split, training, int(dialogues[split]), shared, ngrams)
    ]


def _overlaps(
    held_out: int, training: list[int], dialogues: int, shared: Shared, ngrams: Ngrams
) -> list[Overlap]:
    import numpy as np

    speech = shared.speech
    is_here = speech.split == held_out
    telling = shared.text[is_here & (speech.words >= MIN_WORDS)]
    inside = shared.inside[is_here]
    sequence = shared.sequence[is_here[shared.starts]]
    some = all_ = sequence[:0]
    if len(inside):
        starts = np.flatnonzero(np.diff(speech.dialogue[is_here], prepend=-1))
        some, all_ = np.bitwise_or.reduceat(inside, starts), np.bitwise_and.reduceat(inside, starts)
    ngram = ngrams.holders[ngrams.is_ngram & np.repeat(is_here, speech.words)]
    return [
        Overlap(
            held_out="/".join(CORPUS_SPLITS[held_out]),
            training="/".join(CORPUS_SPLITS[split]),
            dialogues=dialogues,
            utterances=len(telling),
            utterances_found=_count(telling, split),
            dialogues_with_run=_count(some, split),
            utterances_in_runs=_count(inside, split),
            dialogues_covered=_count(all_, split),
            dialogues_identical=_count(sequence, split),
            ngram_share=_count(ngram, split) / len(ngram) if len(ngram) else None,
        )
        for split in training
    ]


def _count(holders: Bits, split: int) -> int:
    """How many of them a split has."""
    import numpy as np

    return int(np.count_nonzero(holders & bit_of(split)))
