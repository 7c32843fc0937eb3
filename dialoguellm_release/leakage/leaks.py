"""What held-out and training splits share: pair by pair, and record by record."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dialoguellm_release.leakage.shared import Ngrams, Shared, bit_of, reach
from dialoguellm_release.leakage.turns import CorpusSplits, Turns, dialogue_starts
from dialoguellm_release.schemas.audit import MIN_WORDS, NGRAM, Overlap

if TYPE_CHECKING:
    from dialoguellm_release.leakage.turns import Bits


def find_overlaps(turns: Turns, shared: Shared, ngrams: Ngrams) -> list[Overlap]:
    """One row for each held-out split with each training split, also where they have nothing in common."""
    import numpy as np

    there = np.unique(turns.split).tolist()
    training = [split for split in there if turns.splits[split][1] == "train"]
    held_out = [split for split in there if split not in training]
    dialogues = np.bincount(turns.split[dialogue_starts(turns)], minlength=len(turns.splits))
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
    spoken = set(np.unique(speech.split).tolist())

    def count(holders: Bits, split: int) -> int | None:
        return _count(holders, split) if {held_out, split} <= spoken else None

    return [
        Overlap(
            held_out="/".join(speech.splits[held_out]),
            training="/".join(speech.splits[split]),
            dialogues=dialogues,
            utterances=len(telling),
            utterances_found=count(telling, split),
            dialogues_with_run=count(some, split),
            utterances_in_runs=count(inside, split),
            dialogues_covered=count(all_, split),
            dialogues_identical=count(sequence, split),
            ngram_share=_count(ngram, split) / len(ngram) if len(ngram) and split in spoken else None,
        )
        for split in training
    ]


def _count(holders: Bits, split: int) -> int:
    """How many of them a split has."""
    import numpy as np

    return int(np.count_nonzero(holders & bit_of(split)))


def find_leaks(turns: Turns, shared: Shared, ngrams: Ngrams) -> Bits:
    """For the record of each turn, the splits that it shares something with, as bits.

    Of a training record these are held-out splits, of a held-out record training splits. A record shares
    what the utterance to label shares, or any utterance that it shows as context. An utterance shares
    something with a split word for word, or when word 8-grams that the split has cover at least half of
    its words, and at least 5 of them.

    Why: an 8-gram may begin in the utterance before. Fewer words than 5 say no more than a short utterance
    does, and a common phrase in a longer text is no leak.
    """
    import numpy as np

    own = np.zeros(len(turns.text), dtype=np.int64)
    own[shared.is_speech] = word_for_word(shared) | _by_ngrams(shared.speech, ngrams)
    leaks = own.copy()
    for offset in range(1, int(turns.context.max(initial=0)) + 1):
        leaks[offset:] |= np.where(turns.context[offset:] >= offset, own[:-offset], 0)
    return leaks


def word_for_word(shared: Shared, min_dialogue: int = MIN_WORDS) -> Bits:
    """For each turn that has words, the splits on the other side that it shares something with, as bits.

    It does when

    - it has 5 words or more, and that split has the same text;
    - it is inside a run of 3 or more consecutive utterances that a dialogue of that split has;
    - its dialogue has 5 words or more, and a dialogue of that split is the same sequence of utterances.

    Args:
        min_dialogue: So many words a dialogue must have instead of 5.
    """
    import numpy as np

    speech = shared.speech
    if not len(speech.text):
        return shared.text
    lengths = np.diff(shared.starts, append=len(speech.text))
    is_telling = np.add.reduceat(speech.words, shared.starts) >= min_dialogue
    found = np.where(speech.words >= MIN_WORDS, shared.text, 0) | shared.inside
    found |= np.repeat(np.where(is_telling, shared.sequence, 0), lengths)
    return found & _opposite(speech.splits)[speech.split]


def _by_ngrams(speech: Turns, ngrams: Ngrams) -> Bits:
    """For each turn that has words, the splits on the other side whose n-grams cover enough of it."""
    import numpy as np

    found = np.zeros(len(speech.text), dtype=np.int64)
    if len(found):
        covered = reach(ngrams.holders, NGRAM)
        for split in np.unique(speech.split):
            bit = bit_of(int(split))
            words = np.add.reduceat((covered & bit) != 0, ngrams.starts, dtype=np.int64)
            found[(words >= MIN_WORDS) & (2 * words >= speech.words)] |= bit
    return found & _opposite(speech.splits)[speech.split]


def _opposite(splits: CorpusSplits) -> Bits:
    """For each split, the splits on the other side of the line, as bits."""
    import numpy as np

    is_training = [split == "train" for _, split in splits]
    return np.array(
        [
            sum(bit_of(other) for other, there in enumerate(is_training) if there != here)
            for here in is_training
        ],
        dtype=np.int64,
    )
