"""Word n-grams, which find what no longer matches utterance by utterance, and the splits that have them."""

from __future__ import annotations

from array import array
from collections import defaultdict
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

from dialoguellm_release.dataset.matching import NGRAM
from dialoguellm_release.dataset.sequences import NONE, number_stretches
from dialoguellm_release.dataset.shared import holders
from dialoguellm_release.dataset.turns import Turns

if TYPE_CHECKING:
    from dialoguellm_release.dataset.sequences import Bits, Flags, Numbers


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
