"""Texts, runs of utterances, dialogues and word n-grams as numbers, and the splits that have them."""

from __future__ import annotations

from array import array
from collections import defaultdict
from dataclasses import dataclass
from functools import cache
from itertools import count
from typing import TYPE_CHECKING

from dialoguellm_release.leakage.turns import NONE, CorpusSplits, Turns, dialogue_starts
from dialoguellm_release.schemas.audit import MIN_RUN, NGRAM

if TYPE_CHECKING:
    from dialoguellm_release.leakage.turns import Bits, Flags, Numbers


def number_stretches(tokens: Numbers, groups: Numbers, size: int) -> Numbers:
    """A number for the stretch of `size` tokens that begins at each one; NONE where its group ends before.

    Why: two halves that have numbers are a pair of integers, so a stretch of 8 is numbered in three steps,
    exactly, and without a table of tuples (prefix doubling: Karp, Miller and Rosenberg, "Rapid identification
    of repeated patterns in strings, trees and arrays", STOC 1972).

    Args:
        tokens: Numbers from 0 on.
        groups: The group of each token; the tokens of one are adjacent.

    >>> import numpy as np
    >>> number_stretches(np.array([4, 5, 6, 4, 5]), np.array([0, 0, 0, 1, 1]), 2).tolist()
    [0, 1, -1, 0, -1]
    """
    import numpy as np

    if size == 1:
        return tokens
    half = size // 2
    first = number_stretches(tokens, groups, half)
    second = first if size == 2 * half else number_stretches(tokens, groups, size - half)
    starts = np.flatnonzero(
        (first[:-half] != NONE) & (second[half:] != NONE) & (groups[:-half] == groups[half:])
    )
    pairs = first[starts].astype(np.int64)
    pairs *= int(second.max(initial=0)) + 1
    pairs += second[starts + half]
    del first, second
    order = np.argsort(pairs)
    pairs = pairs[order]
    is_new = np.ones(len(pairs), dtype=np.int32)
    is_new[1:] = pairs[1:] != pairs[:-1]
    del pairs
    numbers = np.full(len(tokens), NONE, dtype=np.int32)
    numbers[starts[order]] = np.cumsum(is_new, out=is_new) - 1
    return numbers


@dataclass(frozen=True)
class Shared:
    """What is said in a dataset, with the splits that have it as bits: bit n is `Turns.splits[n]`.

    An utterance without words ("...") has nothing to compare: runs and sequences are made of the utterances
    that have words, so one without words neither makes a run nor breaks one.

    Attributes:
        speech: The turns that have words.
        is_speech: Which of all turns these are.
        starts: The position of the first turn of each dialogue in `speech`.
        text: Of each turn, the splits that have its text.
        inside: The splits that have a run of 3 utterances or more which the turn is inside of.
        sequence: Of each dialogue, the splits that have the same sequence of texts.
    """

    speech: Turns
    is_speech: Flags
    starts: Numbers
    text: Bits
    inside: Bits
    sequence: Bits


def find_shared(turns: Turns) -> Shared:
    """What is said in a dataset, with the splits that have it."""
    is_speech = turns.words > 0
    speech = turns.where(is_speech)
    starts = dialogue_starts(speech)
    run = number_stretches(speech.text, speech.dialogue, MIN_RUN)
    return Shared(
        speech=speech,
        is_speech=is_speech,
        starts=starts,
        text=holders(speech.text, speech.split),
        inside=reach(holders(run, speech.split), MIN_RUN),
        sequence=holders(_number_sequences(speech.text, starts), speech.split[starts]),
    )


def bit_of(split: int) -> int:
    """The bit of a split."""
    return 1 << split


@cache
def split_names(bits: int, splits: CorpusSplits) -> tuple[str, ...]:
    """The names of the splits whose bits are set.

    >>> split_names(5, (("a", "train"), ("a", "validation"), ("a", "test")))
    ('a/train', 'a/test')
    """
    return tuple(f"{corpus}/{split}" for n, (corpus, split) in enumerate(splits) if bits & bit_of(n))


def reach(begins: Bits, size: int) -> Bits:
    """What covers each position, where what begins at a position covers `size` of them.

    >>> import numpy as np
    >>> reach(np.array([4, 0, 1, 0, 0]), 3).tolist()
    [4, 4, 5, 1, 1]
    """
    there = begins.copy()
    for offset in range(1, size):
        there[offset:] |= begins[:-offset]
    return there


def holders(numbers: Numbers, splits: Numbers) -> Bits:
    """For each number the splits in which it occurs, as bits; 0 for NONE.

    Args:
        splits: The split of each number, or its corpus.
    """
    import numpy as np

    held = np.zeros(numbers.max(initial=NONE) + 2, dtype=np.int64)  # the last one is that of NONE, -1
    for split in np.unique(splits):
        held[numbers[splits == split]] |= bit_of(int(split))
    held[NONE] = 0
    return held[numbers]


def _number_sequences(text: Numbers, starts: Numbers) -> Numbers:
    """A number for each dialogue: the same for the same sequence of texts."""
    import numpy as np

    number_of: dict[bytes, int] = {}
    dialogues = np.split(text, starts[1:]) if len(starts) else []
    numbers = [number_of.setdefault(one.tobytes(), len(number_of)) for one in dialogues]
    return np.array(numbers, dtype=np.int32)


@dataclass(frozen=True)
class Ngrams:
    """The word 8-grams of a dataset; they run over the words of a whole dialogue.

    Attributes:
        holders: Of each word, the splits that have the n-gram which begins there, as bits; none where
            none begins.
        is_ngram: Where one begins.
        starts: The place of the first word of each turn that has words.
    """

    holders: Bits
    is_ngram: Flags
    starts: Numbers


def find_ngrams(speech: Turns) -> Ngrams:
    """The n-grams of turns that have words, with the splits that have them."""
    import numpy as np

    ngram = number_stretches(_words(speech), np.repeat(speech.dialogue, speech.words), NGRAM)
    return Ngrams(
        holders=holders(ngram, np.repeat(speech.split, speech.words)),
        is_ngram=ngram != NONE,
        starts=np.cumsum(speech.words) - speech.words,
    )


def _words(turns: Turns) -> Numbers:
    """Every word that is said, as a number."""
    import numpy as np

    number_of = defaultdict[str, int](count().__next__)
    words = array("i")
    for text in turns.text.tolist():
        words.extend(map(number_of.__getitem__, turns.texts[text].split()))
    return np.array(words, dtype=np.int32)
