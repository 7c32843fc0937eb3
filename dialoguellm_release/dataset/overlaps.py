"""What held-out splits have in common with training splits."""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dialoguellm_release.dataset.leakage import MIN_RUN, MIN_WORDS
from dialoguellm_release.dataset.sequences import NONE, number_stretches
from dialoguellm_release.dataset.turns import PARTS, Turns, dialogue_starts
from dialoguellm_release.schemas.audit import Overlap

if TYPE_CHECKING:
    from dialoguellm_release.dataset.sequences import Numbers

NGRAM = 8
"""Words of the n-grams that find what no longer matches utterance by utterance."""


def find_overlaps(turns: Turns) -> list[Overlap]:
    """One row for each held-out split with each training split, also where they have nothing in common.

    An utterance of no words ("...") says nothing that could be in common: runs and sequences are those of
    the utterances that have words, so one of no words neither makes a run nor breaks it.
    """
    contents = _contents(turns)
    return [
        _overlap(held_out, training)
        for held_out in contents
        if not held_out.is_training
        for training in contents
        if training.is_training
    ]


@dataclass(frozen=True)
class _Content:
    """What a split of a corpus says; equal numbers are equal texts, runs, n-grams and sequences.

    Attributes:
        dialogues: How many there are.
        text: Of each utterance that has words.
        words: How many each of them has.
        dialogue: Which dialogue each of them belongs to.
        run: The run of the smallest size that begins at each of them, or NONE.
        ngrams: Every word n-gram, as often as it occurs.
        sequences: Every dialogue whole.
    """

    name: str
    is_training: bool
    dialogues: int
    text: Numbers
    words: Numbers
    dialogue: Numbers
    run: Numbers
    ngrams: Numbers
    sequences: Numbers


def _overlap(held_out: _Content, training: _Content) -> Overlap:
    import numpy as np

    is_telling = held_out.words >= MIN_WORDS
    is_found = is_telling & np.isin(held_out.text, training.text)
    starts = np.flatnonzero((held_out.run != NONE) & np.isin(held_out.run, training.run))
    is_inside = np.zeros(len(held_out.text), dtype=np.bool_)
    for offset in range(MIN_RUN):
        is_inside[starts + offset] = True
    not_covered = np.unique(held_out.dialogue[~is_inside])
    is_in_training = np.isin(held_out.ngrams, training.ngrams)
    return Overlap(
        held_out=held_out.name,
        training=training.name,
        dialogues=held_out.dialogues,
        utterances=int(is_telling.sum()),
        utterances_found=int(is_found.sum()),
        dialogues_with_run=len(np.unique(held_out.dialogue[is_inside])),
        utterances_in_runs=int(is_inside.sum()),
        dialogues_covered=len(held_out.sequences) - len(not_covered),
        dialogues_identical=int(np.isin(held_out.sequences, training.sequences).sum()),
        ngram_share=float(is_in_training.mean()) if len(is_in_training) else None,
    )


def _contents(turns: Turns) -> list[_Content]:
    import numpy as np

    speech = turns.where(turns.words > 0)
    run = number_stretches(speech.text, speech.dialogue, MIN_RUN)
    ngram = number_stretches(_words(speech), np.repeat(speech.dialogue, speech.words), NGRAM)
    ngram_part = np.repeat(speech.part, speech.words)
    starts = dialogue_starts(speech)
    sequence = _number_sequences(speech.text, starts)
    contents = []
    for part in np.unique(turns.part):
        corpus, split = PARTS[part]
        here = speech.part == part
        contents.append(
            _Content(
                name=f"{corpus}/{split}",
                is_training=split == "train",
                dialogues=len(np.unique(turns.dialogue[turns.part == part])),
                text=speech.text[here],
                words=speech.words[here],
                dialogue=speech.dialogue[here],
                run=run[here],
                ngrams=ngram[(ngram_part == part) & (ngram != NONE)],
                sequences=sequence[speech.part[starts] == part],
            )
        )
    return contents


def _words(turns: Turns) -> Numbers:
    """Every word that is said, as a number."""
    import numpy as np

    number_of: dict[str, int] = {}
    words = array("q")
    for text in turns.text:
        words.extend(number_of.setdefault(word, len(number_of)) for word in turns.texts[text].split())
    return np.array(words, dtype=np.int64)


def _number_sequences(text: Numbers, starts: Numbers) -> Numbers:
    """A number for each dialogue: the same for the same sequence of texts."""
    import numpy as np

    number_of: dict[bytes, int] = {}
    dialogues = np.split(text, starts[1:]) if len(starts) else []
    numbers = [number_of.setdefault(one.tobytes(), len(number_of)) for one in dialogues]
    return np.array(numbers, dtype=np.int64)
