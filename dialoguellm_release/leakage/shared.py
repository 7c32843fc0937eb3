"""What held-out and training splits share, word for word and by n-grams: by pairs and by records."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING

from dialoguellm_release.leakage.turns import NONE, CorpusSplits, Turns, dialogue_starts
from dialoguellm_release.schemas.audit import MIN_RUN, MIN_WORDS, NGRAM, Overlap

if TYPE_CHECKING:
    from dialoguellm_release.leakage.turns import Bits, Flags, Numbers


_SORTED_AT_ONCE = 250_000
"""Stretches are numbered, and words gathered, in parts of about this size, which takes little memory."""

_FACTOR = 0x1E3779B97F4A7C15


def number_stretches(tokens: Numbers, starts: Numbers, size: int) -> Numbers:
    """A number for the stretch of `size` tokens that begins at each one and is there more than once.

    It is NONE where the stretch is there once, or its group ends before; single tokens keep their numbers.

    Why: what is there once is shared by nobody. Sorting a 64-bit hash of each stretch (Karp and Rabin,
    "Efficient randomized pattern-matching algorithms", IBM Journal 31, 1987) brings equal ones together
    without a table of tuples; where two hashes are equal the tokens are compared, so numbers are exact.

    Args:
        tokens: Numbers from 0 on.
        starts: The position of the first token of each group.

    >>> import numpy as np
    >>> number_stretches(np.array([4, 5, 6, 4, 5]), np.array([0, 3]), 2).tolist()
    [0, -1, -1, 0, -1]
    """
    import numpy as np

    if size == 1:
        return tokens
    most = max(len(tokens) - size + 1, 0)
    parts = min(1 << (most // _SORTED_AT_ONCE).bit_length(), 128)
    low = tokens.astype(np.uint8)
    part_of = (low[:most] + low[size - 1 :]) & (parts - 1)
    part_of[~stretches_begin(len(tokens), starts, size)[:most]] = parts
    del low
    numbers, used = np.full(len(tokens), NONE, dtype=np.int32), 0
    for part in range(parts):
        if not len(places := np.flatnonzero(part_of == part)):
            continue
        keys = np.zeros(len(places), dtype=np.int64)
        for offset in range(size):
            keys = keys * _FACTOR + tokens[places + offset]
        order = np.argsort(keys)
        places, is_same = places[order], np.diff(keys[order]) == 0
        if not _are_equal(tokens, places, is_same, size):
            places = places[np.lexsort([tokens[places + offset] for offset in range(size)])]
            rows = np.stack([tokens[places + offset] for offset in range(size)])
            is_same = (rows[:, 1:] == rows[:, :-1]).all(axis=0)
        is_repeated = np.append(is_same, False) | np.append(False, is_same)
        is_first = is_repeated & ~np.append(False, is_same)
        numbers[places[is_repeated]] = np.cumsum(is_first)[is_repeated] + (used - 1)
        used += int(np.count_nonzero(is_first))
    return numbers


def stretches_begin(length: int, starts: Numbers, size: int) -> Flags:
    """Where a stretch of `size` tokens begins that is inside of one group.

    >>> import numpy as np
    >>> stretches_begin(5, np.array([0, 3]), 2).tolist()
    [True, True, False, True, False]
    """
    import numpy as np

    begins, ends = np.ones(length, dtype=bool), np.append(starts, length)
    for offset in range(1, size):
        begins[ends[ends >= offset] - offset] = False
    return begins


def _are_equal(tokens: Numbers, places: Numbers, is_same: Flags, size: int) -> bool:
    """Whether neighbours that are said to be the same stretch are that."""
    one, other = places[:-1][is_same], places[1:][is_same]
    return all(bool((tokens[one + offset] == tokens[other + offset]).all()) for offset in range(size))


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
    run = number_stretches(speech.text, starts, MIN_RUN)
    return Shared(
        speech=speech,
        is_speech=is_speech,
        starts=starts,
        text=holders(speech.text, speech.split, len(turns.splits)),
        inside=reach(holders(run, speech.split, len(turns.splits)), MIN_RUN),
        sequence=holders(_number_sequences(speech.text, starts), speech.split[starts], len(turns.splits)),
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


def no_bits(turns: int, splits: int) -> Bits:
    """No split for each turn, in the smallest type that has a bit for each split.

    Why: a paper's dataset needs 16 bits; where there are more than 64 splits, Python's integers are slower,
    and have no limit.
    """
    import numpy as np

    return np.zeros(turns, dtype=np.min_scalar_type((1 << splits) - 1))


def holders(numbers: Numbers, splits: Numbers, count: int, starts: Numbers | None = None) -> Bits:
    """For each number the splits in which it occurs, as bits; 0 for NONE.

    Args:
        splits: The split of each number, or its corpus.
        count: How many there are in all.
        starts: Where the numbers of each split begin, where it has not one alone.
    """
    import numpy as np

    held = no_bits(numbers.max(initial=NONE) + 2, count)  # the last one is that of NONE, -1
    firsts = np.flatnonzero(np.diff(splits, prepend=NONE))
    begins = firsts if starts is None else starts[firsts]
    runs = [slice(*one) for one in pairwise([*begins.tolist(), len(numbers)])]
    for run, split in zip(runs, splits[firsts].tolist(), strict=True):
        held[numbers[run]] |= bit_of(split)
    held[NONE] = 0
    found = no_bits(len(numbers), count)
    for run in runs:  # one by one, since indices take twice the memory of the numbers
        found[run] = held[numbers[run]]
    return found


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
            none begins that is there more than once.
        is_ngram: Where one begins.
        starts: The place of the first word of each turn that has words.
    """

    holders: Bits
    is_ngram: Flags
    starts: Numbers


def find_ngrams(speech: Turns) -> Ngrams:
    """The n-grams of turns that have words, with the splits that have them."""
    import numpy as np

    starts = np.cumsum(speech.words) - speech.words
    dialogues = starts[dialogue_starts(speech)]
    ngram = number_stretches(_words(speech), dialogues, NGRAM)
    return Ngrams(
        holders=holders(ngram, speech.split, len(speech.splits), starts),
        is_ngram=stretches_begin(len(ngram), dialogues, NGRAM),
        starts=starts,
    )


def _words(turns: Turns) -> Numbers:
    """Every word that is said, as a number."""
    import numpy as np
    import pyarrow as pa

    words, used = np.empty(turns.words.sum(), dtype=np.int32), 0
    for start in range(0, len(turns.place), _SORTED_AT_ONCE):
        places = pa.array(turns.place[start : start + _SORTED_AT_ONCE])
        said = turns.said.take(places).flatten()
        words[used : used + len(said)] = said.to_numpy()
        used += len(said)
    return words


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

    own = no_bits(len(turns.text), len(turns.splits))
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

    found = no_bits(len(speech.text), len(speech.splits))
    if len(found):
        covered = reach(ngrams.holders, NGRAM)
        for split in np.unique(speech.split).tolist():
            bit = bit_of(split)
            words = np.add.reduceat((covered & bit) != 0, ngrams.starts, dtype=np.int32)
            found[(words >= MIN_WORDS) & (2 * words >= speech.words)] |= bit
    return found & _opposite(speech.splits)[speech.split]


def _opposite(splits: CorpusSplits) -> Bits:
    """For each split, the splits on the other side of the line, as bits."""
    is_training = [split == "train" for _, split in splits]
    opposite = no_bits(len(splits), len(splits))
    for one, here in enumerate(is_training):
        opposite[one] = sum(bit_of(other) for other, there in enumerate(is_training) if there != here)
    return opposite
