"""What each record shares with the splits on the other side of the line between training and held-out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dialoguellm_release.dataset.matching import MIN_WORDS, NGRAM
from dialoguellm_release.dataset.ngrams import Ngrams
from dialoguellm_release.dataset.shared import Shared, bit_of, reach
from dialoguellm_release.dataset.turns import CORPUS_SPLITS, Turns

if TYPE_CHECKING:
    from dialoguellm_release.dataset.sequences import Bits


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

    own = np.zeros(len(turns.text), dtype=np.int32)
    own[shared.is_speech] = word_for_word(shared) | _by_ngrams(shared.speech, ngrams)
    leaks = own.copy()
    for offset in range(1, int(turns.context.max(initial=0)) + 1):
        leaks[offset:] |= np.where(turns.context[offset:] >= offset, own[:-offset], 0)
    return leaks


def word_for_word(shared: Shared, min_dialogue: int = MIN_WORDS) -> Bits:
    """For each turn that has words, the splits on the other side that it shares something with, as bits.

    It does when

    - it has 5 words or more, and stands there;
    - it is inside a run of 3 or more consecutive utterances that a dialogue there has;
    - its dialogue has 5 words or more, and a dialogue there is the same sequence of utterances.

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
    return found & _opposite()[speech.split]


def _by_ngrams(speech: Turns, ngrams: Ngrams) -> Bits:
    """For each turn that has words, the splits on the other side whose n-grams cover enough of it."""
    import numpy as np

    found = np.zeros(len(speech.text), dtype=np.int32)
    if len(found):
        covered = reach(ngrams.holders, NGRAM)
        for split in np.unique(speech.split):
            bit = bit_of(int(split))
            words = np.add.reduceat((covered & bit) != 0, ngrams.starts, dtype=np.int64)
            found[(words >= MIN_WORDS) & (2 * words >= speech.words)] |= bit
    return found & _opposite()[speech.split]


def _opposite() -> Bits:
    """For each split, the splits on the other side of the line, as bits."""
    import numpy as np

    is_training = [split == "train" for _, split in CORPUS_SPLITS]
    return np.array(
        [
            sum(bit_of(other) for other, there in enumerate(is_training) if there != here)
            for here in is_training
        ],
        dtype=np.int32,
    )
