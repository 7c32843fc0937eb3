"""What is said word for word: every text, run and dialogue, and the splits that have it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from dialoguellm_release.dataset.matching import MIN_RUN
from dialoguellm_release.dataset.sequences import NONE, number_stretches
from dialoguellm_release.dataset.turns import CORPUS_SPLITS, Turns, dialogue_starts

if TYPE_CHECKING:
    from dialoguellm_release.dataset.sequences import Bits, Flags, Numbers


@dataclass(frozen=True)
class Shared:
    """What is said in a dataset, with the splits that have it as bits: bit n is `CORPUS_SPLITS[n]`.

    An utterance of no words ("...") says nothing that could be in common: runs and sequences are those of
    the utterances that have words, so one of no words neither makes a run nor breaks it.

    Attributes:
        speech: The turns that have words.
        is_speech: Which of all turns these are.
        starts: The place of the first turn of each dialogue in `speech`.
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
def split_names(bits: int) -> tuple[str, ...]:
    """The names of the splits whose bits are set.

    >>> split_names(5)
    ('meld/train', 'meld/test')
    """
    return tuple(f"{corpus}/{split}" for n, (corpus, split) in enumerate(CORPUS_SPLITS) if bits & bit_of(n))


def reach(begins: Bits, size: int) -> Bits:
    """What begins at each place as what is there, when it reaches over `size` places.

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
        splits: Of each number; the corpora can stand in their place.
    """
    import numpy as np

    held = np.zeros(
        numbers.max(initial=NONE) + 2, dtype=np.int32
    )  # the last one is that of NONE, which is -1
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
