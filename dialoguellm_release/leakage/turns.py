"""The turns of a dataset as columns of numbers, which is what the audit compares."""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import count, product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dialoguellm_release.errors import DataError, Problem
from dialoguellm_release.folders import read_manifest
from dialoguellm_release.layout import DEFAULT_CONFIG
from dialoguellm_release.records import natural_order, read_records
from dialoguellm_release.schemas.dataset_manifest import DatasetManifest
from dialoguellm_release.schemas.labels import LABELS, SPLITS, CorpusName, Label, Split
from dialoguellm_release.schemas.record import Record
from dialoguellm_release.text import count_words, normalise

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Numbers = NDArray[np.integer[Any]]
    Flags = NDArray[np.bool_]
    Bits = NDArray[np.int64]
    Decisions = NDArray[np.int8]

NONE = -1
"""Marks where no stretch begins, and a dialogue without a split."""

MAX_SPLITS = 63
"""The splits of a dataset are the bits of a signed integer of 64 bits."""

CorpusSplits = tuple[tuple[CorpusName, Split], ...]
"""Every split of every corpus of a dataset, with or without records; a split is named by its place."""


@dataclass(frozen=True)
class Turns:
    """Utterances of a dataset, dialogue after dialogue, each dialogue in its order.

    Attributes:
        splits: Every split of every corpus, in the order of the dataset.
        labels: The canonical labels, then the others that were collected.
        dialogue_ids: By the numbers in `dialogue`.
        texts: All that is said, normalised, each text once.
        place: The position of each turn among those that were collected.
        text: The position of each turn in `texts`.
        words: Words of each turn.
        split: The position of each turn in `splits`.
        dialogue: A number for the dialogue of each turn.
        index: The utterance index of each turn.
        label: The position of each turn's label in `labels`.
        context: How many turns before it the record of each turn shows.
    """

    splits: CorpusSplits
    labels: tuple[Label, ...]
    dialogue_ids: list[str]
    texts: list[str]
    place: Numbers
    text: Numbers
    words: Numbers
    split: Numbers
    dialogue: Numbers
    index: Numbers
    label: Numbers
    context: Numbers

    def where(self, chosen: Flags) -> Turns:
        """The turns that are chosen, in their order."""
        return replace(self, **{name: getattr(self, name)[chosen] for name in _COLUMNS})

    def id_of(self, turn: int) -> str:
        """The id of the record of a turn."""
        corpus, split = self.splits[self.split[turn]]
        return f"{corpus}/{split}/{self.dialogue_ids[self.dialogue[turn]]}/{self.index[turn]}"

    def dialogues_of(self, corpus: CorpusName) -> set[str]:
        """The ids of the dialogues of a corpus, whatever their split."""
        import numpy as np

        of_corpus = [number for number, (name, _) in enumerate(self.splits) if name == corpus]
        return {self.dialogue_ids[one] for one in np.unique(self.dialogue[np.isin(self.split, of_corpus)])}


_COLUMNS = ("place", "text", "words", "split", "dialogue", "index", "label", "context")


class TurnCollector:
    """Collects utterances into turns.

    Args:
        corpora: Those of the dataset, in its order.

    Raises:
        DataError: There are too many corpora.
    """

    def __init__(self, corpora: Iterable[CorpusName]) -> None:
        self._splits: CorpusSplits = tuple(product(corpora, SPLITS))
        if len(self._splits) > MAX_SPLITS:
            most, got = MAX_SPLITS // len(SPLITS), len(self._splits) // len(SPLITS)
            what, code = "an audit cannot compare so many corpora", "leakage.too_many_corpora"
            raise DataError(Problem("the dataset", what, f"at most {most}", str(got), code=code))
        self._numbers = {name: number for number, name in enumerate(self._splits)}
        self._labels = defaultdict[Label, int](
            count(len(LABELS)).__next__, zip(LABELS, count(), strict=False)
        )
        self._texts = defaultdict[str, int](count().__next__)
        self._dialogues: dict[tuple[int, str, bool], int] = {}
        self._split_of = array("i")
        self._rows = array("i")  # text, dialogue, index, label, context of each utterance

    def add(
        self,
        corpus: CorpusName,
        split: Split | None,
        dialogue_id: str,
        utterances: Iterable[tuple[int, str, Label, int]],
    ) -> None:
        """Adds utterances of a dialogue.

        Args:
            split: None for a dialogue that counts as held out until `assign` moves it.
            utterances: The index, text and label of each, and how many turns before it its record shows.
        """
        key = (self._numbers[corpus, split or "test"], dialogue_id, split is None)
        dialogue = self._dialogues.setdefault(key, len(self._dialogues))
        if dialogue == len(self._split_of):
            self._split_of.append(key[0])
        rows = list[int]()
        for index, text, label, context in utterances:
            rows += (self._texts[normalise(text)], dialogue, index, self._labels[label], context)
        self._rows.extend(rows)

    def add_record(self, record: Record) -> None:
        """Adds the utterance of a record."""
        turn = (record.utterance_index, record.input, record.label, len(record.context))
        self.add(record.corpus, record.split, record.dialogue_id, [turn])

    def assign(self, corpus: CorpusName, splits: Mapping[str, Split]) -> None:
        """Moves the dialogues of a corpus that came without a split; one that gets none is left out."""
        for (split, dialogue_id, is_undrawn), dialogue in self._dialogues.items():
            if is_undrawn and self._splits[split][0] == corpus:
                drawn = splits.get(dialogue_id)
                self._split_of[dialogue] = NONE if drawn is None else self._numbers[corpus, drawn]

    def turns(self) -> Turns:
        """All turns, sorted by corpus, split, dialogue id and utterance index."""
        import numpy as np

        text, dialogue, index, label, context = np.array(self._rows, dtype=np.int32).reshape(-1, 5).T
        ids = [dialogue_id for _, dialogue_id, _ in self._dialogues]
        rank = np.empty(len(ids), dtype=np.int32)
        rank[sorted(range(len(ids)), key=lambda number: natural_order(ids[number]))] = np.arange(len(ids))
        split = np.array(self._split_of, dtype=np.int32)[dialogue]
        words = np.array([count_words(one) for one in self._texts], dtype=np.int32)
        order = np.lexsort((index, dialogue, rank[dialogue], split))
        order = order[split[order] != NONE]
        columns = (text, words[text], split, dialogue, index, label, context)
        return Turns(
            self._splits,
            tuple(self._labels),
            ids,
            list(self._texts),
            order,
            *(column[order] for column in columns),
        )


def read_turns(
    dataset: Path, advance: Callable[[int], None], against: Path | None = None
) -> tuple[Turns, tuple[CorpusName, ...]]:
    """The turns of a dataset folder, or of two, and the names of the corpora of the second one.

    Args:
        dataset: A dataset folder.
        advance: Called with the number of records that were read.
        against: Another dataset folder; a corpus of it that both have is named `other_CORPUS`.

    Raises:
        DataError: The files of a folder do not agree with its manifest, or a dialogue is incomplete.
    """
    corpora = read_manifest(dataset, DatasetManifest).figures.corpora
    second = read_manifest(against, DatasetManifest).figures.corpora if against else {}
    names = {name: f"other_{name}" if name in corpora else name for name in second}
    figures = {**corpora, **{names[name]: one for name, one in second.items()}}

    def records() -> Iterator[Record]:
        for folder in (dataset, against) if against else (dataset,):
            manifest = read_manifest(folder, DatasetManifest)
            counts = (manifest.published or manifest.figures).records
            for split in (split for split, number in counts.items() if number):
                for record in read_records(folder, DEFAULT_CONFIG, split):
                    advance(1)
                    is_second = folder is against
                    yield record.model_copy(update={"corpus": names[record.corpus]}) if is_second else record

    show_more = [name for name, one in figures.items() if one.context_only]
    return as_turns(records(), figures, show_more), tuple(names.values())


def as_turns(
    records: Iterable[Record], corpora: Iterable[CorpusName], show_more: Collection[CorpusName] = ()
) -> Turns:
    """The turns of records, which may come in any order.

    Args:
        corpora: Those of the dataset, in its order.
        show_more: Corpora whose contexts also show utterances of which there is no record.

    Raises:
        DataError: A record shows more turns of its dialogue than there are before it.
    """
    import numpy as np

    collector = TurnCollector(corpora)
    for record in records:
        collector.add_record(record)
    turns = of_records(collector.turns(), show_more)
    before = turns_before(turns)
    lacking = np.flatnonzero(turns.context > before)
    if len(lacking):
        first = lacking[0]
        where, what = turns.id_of(first), "its context shows turns that are not in the dataset"
        expected = f"{turns.context[first]} turns of its dialogue before it"
        got, fix = f"{before[first]}; {len(lacking)} records are like this one", "build the dataset again"
        raise DataError(Problem(where, what, expected, got, fix, code="leakage.incomplete_dialogue"))
    return turns


def of_records(turns: Turns, show_more: Collection[CorpusName]) -> Turns:
    """The turns with contexts that count records alone, in corpora whose contexts show more than these."""
    import numpy as np

    splits = [number for number, (corpus, _) in enumerate(turns.splits) if corpus in show_more]
    before = np.where(np.isin(turns.split, splits), turns_before(turns), turns.context)
    return replace(turns, context=np.minimum(turns.context, before))


def dialogue_starts(turns: Turns) -> Numbers:
    """The position of the first turn of each dialogue."""
    import numpy as np

    return np.flatnonzero(np.diff(turns.dialogue, prepend=-1))


def turns_before(turns: Turns) -> Numbers:
    """How many turns of its dialogue precede each turn."""
    import numpy as np

    starts = dialogue_starts(turns)
    lengths = np.diff(starts, append=len(turns.dialogue))
    return np.arange(len(turns.dialogue)) - np.repeat(starts, lengths)
