"""The turns of a dataset folder as columns of numbers: what the audit compares."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

from dialoguellm_release.dataset.leakage import normalise
from dialoguellm_release.errors import DataError, Problem
from dialoguellm_release.records import DEFAULT_CONFIG, read_records
from dialoguellm_release.schemas.labels import CORPORA, LABELS, SPLITS, CorpusName, Split
from dialoguellm_release.schemas.record import Record

if TYPE_CHECKING:
    from dialoguellm_release.dataset.sequences import Flags, Numbers

PARTS: tuple[tuple[CorpusName, Split], ...] = tuple(product(CORPORA, SPLITS))
"""Every split of every corpus."""


@dataclass(frozen=True)
class Turns:
    """Utterances of a dataset, dialogue after dialogue, each dialogue in its order.

    Attributes:
        ids: Of the records, in the order in which they were read.
        texts: All that is said, normalised, each text once.
        record: The place of each turn in `ids`.
        text: The place of each turn in `texts`.
        words: Words of each turn.
        part: The place of each turn in `PARTS`.
        dialogue: A number for the dialogue of each turn.
        label: The place of each turn's label in `LABELS`.
        context: How many turns before it the record of each turn shows.
    """

    ids: list[str]
    texts: list[str]
    record: Numbers
    text: Numbers
    words: Numbers
    part: Numbers
    dialogue: Numbers
    label: Numbers
    context: Numbers

    def where(self, chosen: Flags) -> Turns:
        """The turns that are chosen, in their order."""
        columns = (self.record, self.text, self.words, self.part, self.dialogue, self.label, self.context)
        return Turns(self.ids, self.texts, *(column[chosen] for column in columns))


def read_turns(dataset: Path, splits: Iterable[Split], advance: Callable[[int], None]) -> Turns:
    """The turns of some splits of a dataset folder.

    Args:
        advance: Told how many records are read more.

    Raises:
        DataError: The files of the folder are not those of its manifest, or a dialogue is not whole.
    """
    return as_turns(
        record for split in splits for record in _told(read_records(dataset, DEFAULT_CONFIG, split), advance)
    )


def as_turns(records: Iterable[Record]) -> Turns:
    """The turns of records, which may come in any order.

    Raises:
        DataError: A record shows more turns of its dialogue than stand before it.
    """
    import numpy as np

    part_of = {name: place for place, name in enumerate(PARTS)}
    label_of = {name: place for place, name in enumerate(LABELS)}
    ids: list[str] = []
    texts: dict[str, int] = {}
    dialogues: dict[tuple[int, str], int] = {}
    text, part, dialogue, index, label, context = (array("q") for _ in range(6))
    for record in records:
        ids.append(record.id)
        text.append(texts.setdefault(normalise(record.input), len(texts)))
        part.append(part_of[record.corpus, record.split])
        dialogue.append(dialogues.setdefault((part[-1], record.dialogue_id), len(dialogues)))
        index.append(record.utterance_index)
        label.append(label_of[record.label])
        context.append(len(record.context))
    order = np.lexsort((index, dialogue, part))

    def ordered(column: array[int]) -> Numbers:
        return np.array(column, dtype=np.int64)[order]

    words = np.array([len(one.split()) for one in texts], dtype=np.int64)
    turns = Turns(
        ids=ids,
        texts=list(texts),
        record=order,
        text=ordered(text),
        words=words[ordered(text)],
        part=ordered(part),
        dialogue=ordered(dialogue),
        label=ordered(label),
        context=ordered(context),
    )
    _check_dialogues_are_whole(turns)
    return turns


def dialogue_starts(turns: Turns) -> Numbers:
    """The place of the first turn of each dialogue."""
    import numpy as np

    return np.flatnonzero(np.diff(turns.dialogue, prepend=-1))


def _check_dialogues_are_whole(turns: Turns) -> None:
    import numpy as np

    starts = dialogue_starts(turns)
    lengths = np.diff(starts, append=len(turns.dialogue))
    before = np.arange(len(turns.dialogue)) - np.repeat(starts, lengths)
    lacking = np.flatnonzero(turns.context > before)
    if len(lacking):
        first = lacking[0]
        raise DataError(
            Problem(
                turns.ids[turns.record[first]],
                "its context shows turns that are not in the dataset",
                expected=f"{turns.context[first]} turns of its dialogue before it",
                got=f"{before[first]}; {len(lacking)} records are like this one",
                fix="build the dataset again",
            )
        )


def _told(records: Iterable[Record], advance: Callable[[int], None]) -> Iterable[Record]:
    for record in records:
        advance(1)
        yield record
