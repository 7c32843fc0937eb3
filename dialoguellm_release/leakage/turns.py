"""The turns of a dataset as columns of numbers, which is what the audit compares."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count, product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dialoguellm_release.errors import DataError, Problem
from dialoguellm_release.folders import read_manifest
from dialoguellm_release.layout import DEFAULT_CONFIG
from dialoguellm_release.record_columns import by_distinct
from dialoguellm_release.records import natural_order, read_columns, return_memory
from dialoguellm_release.schemas.dataset_manifest import DatasetManifest
from dialoguellm_release.schemas.labels import LABELS, SPLITS, CorpusName, Label, Split
from dialoguellm_release.text import normalise_all

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    Numbers = NDArray[np.integer[Any]]
    Flags = NDArray[np.bool_]
    Bits = NDArray[Any]  # unsigned, or Python's integers where there are more than 64 splits
    Decisions = NDArray[np.int8]

NONE = -1
"""Marks where no stretch begins, and a dialogue without a split."""

CorpusSplits = tuple[tuple[CorpusName, Split], ...]
"""Every split of every corpus of a dataset, with or without records; a split is named by its place."""


@dataclass(frozen=True)
class Turns:
    """Utterances of a dataset, dialogue after dialogue, each dialogue in its order."""

    splits: CorpusSplits  # every split of every corpus, in the order of the dataset
    labels: tuple[Label, ...]  # the canonical labels, then the others that were collected
    dialogue_ids: list[str]  # by the numbers in `dialogue`, in their natural order
    said: pa.ListArray  # the words of each turn as numbers, in the order in which turns were collected
    place: Numbers  # the position of each turn in `said`
    text: Numbers  # a number for the text of each turn: the same for the same words
    words: Numbers  # words of each turn
    split: Numbers  # the position of each turn in `splits`
    dialogue: Numbers  # a number for the dialogue of each turn
    index: Numbers  # the utterance index of each turn
    label: Numbers  # the position of each turn's label in `labels`
    context: Numbers  # how many turns before it the record of each turn shows
    is_undrawn: Flags  # whether the split of a turn is still to be drawn

    def where(self, chosen: Flags | Numbers) -> Turns:
        """The turns that are chosen, in their order."""
        return replace(self, **{name: getattr(self, name)[chosen] for name in _COLUMNS})

    def sorted(self) -> Turns:
        """The turns by split, dialogue and index, without those of no split."""
        import numpy as np

        order = np.lexsort((self.index, self.dialogue, self.split))
        return self.where(order[self.split[order] != NONE])

    def assigned(self, corpus: CorpusName, splits: Mapping[str, Split]) -> Turns:
        """The turns with the undrawn dialogues of a corpus in their splits; what gets none is left out."""
        numbers = {name: number for number, name in enumerate(self.splits)}
        split = self.split.copy()
        starts = dialogue_starts(self).tolist()
        for start, end in zip(starts, [*starts[1:], len(split)], strict=True):
            if self.is_undrawn[start] and self.splits[split[start]][0] == corpus:
                drawn = splits.get(self.dialogue_ids[self.dialogue[start]])
                split[start:end] = NONE if drawn is None else numbers[corpus, drawn]
        return replace(self, split=split).sorted()

    def id_of(self, turn: int) -> str:
        """The id of the record of a turn."""
        corpus, split = self.splits[self.split[turn]]
        return f"{corpus}/{split}/{self.dialogue_ids[self.dialogue[turn]]}/{self.index[turn]}"

    def dialogues_of(self, corpus: CorpusName) -> set[str]:
        """The ids of the dialogues of a corpus, whatever their split."""
        import numpy as np

        of_corpus = [number for number, (name, _) in enumerate(self.splits) if name == corpus]
        return {self.dialogue_ids[one] for one in np.unique(self.dialogue[np.isin(self.split, of_corpus)])}


_COLUMNS = ("place", "text", "words", "split", "dialogue", "index", "label", "context", "is_undrawn")


class TurnCollector:
    """Collects utterances into turns; the corpora are those of the dataset, in its order."""

    def __init__(self, corpora: Iterable[CorpusName]) -> None:
        self._splits: CorpusSplits = tuple(product(corpora, SPLITS))
        self._numbers = {name: number for number, name in enumerate(self._splits)}
        self._labels = defaultdict[Label, int](
            count(len(LABELS)).__next__, zip(LABELS, count(), strict=False)
        )
        self._words = defaultdict[str, int](count().__next__)
        self._tables: list[pa.Table] = []

    def add(self, columns: pa.Table, context_sizes: Sequence[int] | Numbers) -> None:
        """Adds utterances, with how many turns before it the record of each shows.

        One without a split counts as held out until it is drawn.
        """
        import pyarrow as pa
        import pyarrow.compute as pc

        text, number = pa.string(), pa.int16()
        splits = pc.coalesce(columns["split"].cast(text), pa.scalar("test"))
        places = pc.binary_join_element_wise(columns["corpus"], splits, "/")
        dialogues = columns["dialogue_id"].combine_chunks()
        if not pa.types.is_dictionary(dialogues.type):
            dialogues = dialogues.dictionary_encode()
        table = {
            "split": by_distinct(places, lambda one: self._numbers[tuple(one.split("/"))], number),
            "is_undrawn": columns["split"].is_null(),
            "dialogue": dialogues,
            "index": columns["utterance_index"].cast(pa.int64()),
            "label": by_distinct(columns["label"].cast(text), self._labels.__getitem__, number),
            "context": pa.array(context_sizes, pa.int32()),
            "said": self._said(columns["input"].combine_chunks().dictionary_encode()),
        }
        self._tables.append(pa.table(table))

    def _said(self, texts: pa.DictionaryArray) -> pa.ListArray:
        """The words of texts, as numbers."""
        import pyarrow as pa
        import pyarrow.compute as pc

        forms = normalise_all(texts.dictionary)
        words = pc.split_pattern(forms, " ")
        numbers = by_distinct(words.flatten(), lambda one: self._words[one] if one else None, pa.int32())
        said = pa.ListArray.from_arrays(words.offsets, numbers)
        return pc.if_else(pc.equal(forms, ""), pa.scalar([], said.type), said).take(texts.indices)

    def turns(self) -> Turns:
        """All turns, sorted by corpus, split, dialogue id and utterance index."""
        import numpy as np
        import pyarrow as pa
        import pyarrow.compute as pc

        return_memory()
        if not self._tables:
            self.add(pa.table({name: pa.array([], pa.string()) for name in _READ}), ())
        table, self._tables = pa.concat_tables(self._tables).unify_dictionaries(), []
        said, table = table["said"].combine_chunks(), table.drop_columns("said").combine_chunks()
        return_memory()
        words, text = pc.list_value_length(said).to_numpy(), number_texts(said)
        return_memory()
        split, index, label, context, is_undrawn = (
            table[name].to_numpy() for name in ("split", "index", "label", "context", "is_undrawn")
        )
        named = table["dialogue"].chunk(0)
        names = sorted(enumerate(named.dictionary.to_pylist()), key=lambda one: natural_order(one[1]))
        rank = np.empty(len(names), dtype=np.int64)
        rank[[number for number, _ in names]] = np.arange(len(names))
        keys = (rank[named.indices.to_numpy()] * len(self._splits) + split) * 2 + is_undrawn
        found, dialogue = np.unique(keys, return_inverse=True)
        place, dialogue = np.arange(len(said), dtype=np.int32), dialogue.astype(np.int32)
        ids = [names[one][1] for one in (found // 2 // len(self._splits)).tolist()]
        columns = (place, text, words, split, dialogue, index, label, context, is_undrawn)
        return Turns(self._splits, tuple(self._labels), ids, said, *columns).sorted()


def number_texts(said: pa.ListArray) -> Numbers:
    """A number for each text: the same for the same words.

    Why in parts, which texts are in by the sum of their words: a hash table of all texts is as large as all
    that is held of a dataset.
    """
    import numpy as np
    import pyarrow as pa

    starts, ends = (said.offsets.to_numpy()[place] for place in (slice(-1), slice(1, None)))
    has_words, sums = ends > starts, np.zeros(len(said), dtype=np.int64)
    if has_words.any():
        sums[has_words] = np.add.reduceat(said.values.to_numpy(), starts[has_words], dtype=np.int64)
    numbers, used = np.empty(len(said), dtype=np.int32), 0
    parts = 1 << (len(said) // _NUMBERED_AT_ONCE).bit_length()
    for part in range(parts):
        places = np.flatnonzero((sums & (parts - 1)) == part)
        words = said.take(pa.array(places))
        ends = pa.py_buffer(words.offsets.to_numpy() * words.values.type.byte_width)
        texts = pa.BinaryArray.from_buffers(pa.binary(), len(words), [None, ends, words.values.buffers()[1]])
        coded = texts.dictionary_encode()
        numbers[places] = coded.indices.to_numpy() + used
        used += len(coded.dictionary)
    return numbers


_NUMBERED_AT_ONCE = 50_000
_READ = ("corpus", "split", "dialogue_id", "utterance_index", "input", "label")


def read_turns(
    dataset: Path, advance: Callable[[int], None], against: Path | None = None
) -> tuple[Turns, tuple[CorpusName, ...]]:
    """The turns of a dataset folder, or of two, and the names of the corpora of the second one.

    A corpus of the second one that both have is named `other_CORPUS`.
    """
    corpora = read_manifest(dataset, DatasetManifest).figures.corpora
    second = read_manifest(against, DatasetManifest).figures.corpora if against else {}
    names = {name: f"other_{name}" if name in corpora else name for name in second}
    figures = {**corpora, **{names[name]: one for name, one in second.items()}}

    def columns() -> Iterator[pa.Table]:
        for folder in (dataset, against) if against else (dataset,):
            manifest = read_manifest(folder, DatasetManifest)
            counts = (manifest.published or manifest.figures).records
            for split in (split for split, number in counts.items() if number):
                for found in read_columns(folder, DEFAULT_CONFIG, split):
                    if folder is against:
                        corpora = by_distinct(found["corpus"], names.__getitem__)
                        found = found.set_column(found.column_names.index("corpus"), "corpus", corpora)
                    advance(len(found))
                    yield found

    show_more = [name for name, one in figures.items() if one.context_only]
    return as_turns(columns(), figures, show_more), tuple(names.values())


def as_turns(
    columns: Iterable[pa.Table], corpora: Iterable[CorpusName], show_more: Collection[CorpusName] = ()
) -> Turns:
    """The turns of records, which may come in any order.

    The contexts of the corpora in `show_more` also show utterances of which there is no record.
    """
    import numpy as np
    import pyarrow.compute as pc

    collector = TurnCollector(corpora)
    for one in columns:
        collector.add(one, pc.list_value_length(one["context"]).to_numpy())
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
