"""The records of a dialogue, and the Parquet files that `datasets` reads with all their features."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field, fields
from functools import cache
from itertools import chain, islice, product
from operator import attrgetter
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from dialoguellm_release.layout import DataFile
from dialoguellm_release.leakage.audit import PART_OF
from dialoguellm_release.prompts import Prompt
from dialoguellm_release.record_columns import (
    by_distinct,
    check_records,
    columns_schema,
    record_digests,
    record_schema,
    records_of,
    sft_schema,
)
from dialoguellm_release.schemas.labels import LABELS, CorpusName, Label, Part, Split
from dialoguellm_release.schemas.recipes.dataset import SpeakerNames
from dialoguellm_release.schemas.record import COLUMNS, SFT_COLUMNS, Dialogue, Record, Utterance

if TYPE_CHECKING:
    import pyarrow as pa

    from dialoguellm_release.leakage.turns import Decisions

ROWS_PER_GROUP = 20_000
MOST_UNHASHED = 4
"""So many batches of records may wait to be hashed."""

_UTTERANCE = tuple(one.name for one in fields(Utterance))


def sft_table(records: pa.Table, prompt: Prompt, labels: Sequence[Label] = LABELS) -> pa.Table:
    """The `sft` rows of records."""
    import pyarrow as pa

    made = {
        "prompt": prompt.render_columns(records),
        "completion": by_distinct(records["output"], prompt.completion),
        "label": by_distinct(records["label"], labels.index, pa.int64()),
    }
    return pa.table(
        {name: made[name] if name in made else records[name] for name in SFT_COLUMNS}, sft_schema(labels)
    )


def record_table(records: pa.Table, labels: Sequence[Label] = LABELS) -> pa.Table:
    """Records as they are written: with class ids."""
    import pyarrow as pa

    ids, place = by_distinct(records["label"], labels.index, pa.int64()), COLUMNS.index("label")
    return records.set_column(place, "label", ids).cast(record_schema(labels))


class RowWriter:
    """Writes a Parquet file in row groups, beside what goes on; without a row there is no file.

    Why: `datasets` fails on a Parquet file of no rows, and compressing needs no Python.
    """

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._path = path
        self._schema = schema
        self._tables: list[pa.Table] = []
        self._writer: Any = None
        self._written: Future[None] | None = None

    def add(self, rows: pa.Table) -> None:
        """Takes some rows; however many at a time, the file has the same bytes."""
        self._tables.append(rows)
        while sum(map(len, self._tables)) >= ROWS_PER_GROUP:
            self._flush()

    def finish(self) -> None:
        """Takes no more rows: writes what is left and closes the file, beside what goes on."""
        if any(map(len, self._tables)):
            self._flush(is_last=True)
        self._tables = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self.finish()
            self._wait()
        finally:
            if self._writer is not None:
                self._writer.close()

    def _flush(self, *, is_last: bool = False) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        if self._writer is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._writer = pq.ParquetWriter(self._path, self._schema, compression="zstd")
        rows = pa.concat_tables(self._tables)
        rows, self._tables = rows.slice(0, ROWS_PER_GROUP).combine_chunks(), [rows.slice(ROWS_PER_GROUP)]
        self._wait()
        self._written = _threads().submit(self._write, rows, is_last)

    def _write(self, rows: pa.Table, is_last: bool) -> None:
        self._writer.write_table(rows)
        if is_last:
            self._writer.close()

    def _wait(self) -> None:
        if self._written is not None:
            self._written.result()
            self._written = None


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(2, "dataset")


def utterance_schema(*, is_held: bool) -> pa.Schema:
    """The Arrow schema of `utterance_table`.

    Why: a build holds every utterance in a file, and as columns they take a fifth of what objects take.
    """
    import pyarrow as pa

    names = ("dialogue_id", *_UTTERANCE, "split")
    words = pa.dictionary(pa.int32(), pa.string()) if is_held else pa.string()
    kinds = {"index": pa.int64(), "text": pa.string(), "other_labels": pa.list_(pa.string())}
    kinds |= {"start_s": pa.float64(), "end_s": pa.float64()}
    return pa.schema([(name, kinds.get(name, words)) for name in names])


@dataclass
class RecordMaker:
    """Makes the records of one corpus."""

    prompt: Prompt
    license: str
    label_space: tuple[Label, ...]
    relabel: Mapping[Label, Label]  # labels outside the label space to those inside; empty keeps all
    context_k: int
    speakers: SpeakerNames = "named"
    descriptions: Mapping[str, str] = field(default_factory=dict)
    # How often each relabelling was used, as `from -> to`.
    relabelled: Counter[str] = field(default_factory=Counter)

    def records(self, dialogues: Sequence[Dialogue], split: Split) -> list[Record]:
        """The records of dialogues, in their order, without an audit."""
        return records_of(self.columns(dialogues[0].corpus, split, utterance_table(dialogues)))

    def columns(
        self, corpus: CorpusName, split: Split, utterances: pa.Table, leaks: pa.Array | None = None
    ) -> pa.Table:
        """The records of dialogues, as columns that are not checked; what has no label is context alone."""
        import pyarrow as pa
        import pyarrow.compute as pc

        given = self._with_context(utterances.cast(utterance_schema(is_held=False)))
        given = given.filter(given["label"].is_valid())
        rows, text = len(given), pa.string()
        place = (given["dialogue_id"], given["index"].cast(text))
        names = pc.binary_join_element_wise(corpus, split, *place, "/")
        described = (
            pa.array(map(self.descriptions.get, names.to_pylist()), text)
            if self.descriptions
            else pa.nulls(rows, text)
        )
        labels = by_distinct(given["label"], lambda label: self.relabel.get(label, label))
        counts = counts_of(given["label"]) if self.relabel else {}
        self.relabelled.update(
            {f"{one} -> {self.relabel[one]}": count for one, count in counts.items() if one in self.relabel}
        )
        made = {
            "id": names,
            "instruction": instructions_of(self.prompt, self.label_space, described, given["context"]),
            "video_description": described,
            "input": given["text"],
            "output": labels,
            "label": labels,
            "other_labels": self._others(given["other_labels"], labels),
            "corpus": pa.repeat(corpus, rows),
            "split": pa.repeat(split, rows),
            "utterance_index": given["index"],
            "license": pa.repeat(self.license, rows),
            "leaks": pa.nulls(rows, pa.list_(text)) if leaks is None else leaks,
        }
        return pa.table([made[name] if name in made else given[name] for name in COLUMNS], columns_schema())

    def _with_context(self, utterances: pa.Table) -> pa.Table:
        """The utterances with their speakers as they are shown, and the lines before each in its dialogue."""
        import numpy as np
        import pyarrow as pa

        dialogue = utterances["dialogue_id"].combine_chunks().dictionary_encode().indices.to_numpy()
        starts = np.flatnonzero(np.diff(dialogue, prepend=-1))
        sizes = np.diff(starts, append=len(dialogue))
        speakers = utterances["speaker"].combine_chunks()
        if self.speakers != "named":
            names = iter(speakers.to_pylist())
            named = (shown_speakers(list(islice(names, size)), self.speakers) for size in sizes.tolist())
            speakers = pa.array(list(chain.from_iterable(named)), pa.string())
        lines = lines_of(speakers, utterances["text"].combine_chunks())
        rows = np.arange(len(dialogue))
        shown = np.minimum(rows - np.repeat(starts, sizes), self.context_k)
        ends = np.cumsum(shown)
        # The lines of a row are those right before it.
        lines = lines.take(pa.array(np.arange(shown.sum()) + np.repeat(rows - ends, shown)))
        contexts = pa.ListArray.from_arrays(pa.array(np.append(0, ends), pa.int32()), lines)
        place = utterances.schema.get_field_index("speaker")
        return utterances.set_column(place, "speaker", speakers).append_column("context", contexts)

    def _others(self, others: pa.ChunkedArray, labels: pa.Array) -> pa.Array | pa.ChunkedArray:
        """Further labels as they are called here, each once, and never the label itself."""
        import pyarrow as pa

        if not len(others.combine_chunks().flatten()):
            return others
        kept = [
            dict.fromkeys(shown for one in found if (shown := self.relabel.get(one, one)) != label)
            for found, label in zip(others.to_pylist(), labels.to_pylist(), strict=True)
        ]
        return pa.array(map(list, kept), others.type)


def counts_of(column: pa.ChunkedArray) -> dict[str, int]:
    """How often each value occurs."""
    return {one["values"]: one["counts"] for one in column.value_counts().to_pylist()}


def utterance_table(dialogues: Sequence[Dialogue]) -> pa.Table:
    """The utterances of dialogues by the fields of `Utterance`, with id and split of the dialogue of each."""
    import pyarrow as pa

    rows = [utterance for dialogue in dialogues for utterance in dialogue.utterances]
    ids = [one.id for one in dialogues for _ in one.utterances]
    splits = [one.split for one in dialogues for _ in one.utterances]
    columns = zip(*map(attrgetter(*_UTTERANCE), rows), strict=True)
    return pa.table([ids, *map(list, columns), splits], utterance_schema(is_held=True))


def shown_speakers(names: Sequence[str | None], how: SpeakerNames) -> Sequence[str | None]:
    """The speakers of a dialogue's utterances, as its records name them.

    >>> shown_speakers(["Ann", None, "Bob", "Ann"], "numbered")
    ['Speaker 1', None, 'Speaker 2', 'Speaker 1']
    """
    if how == "named":
        return names
    if how == "left_out":
        return [None] * len(names)
    numbers = {name: number for number, name in enumerate(dict.fromkeys(filter(None, names)), start=1)}
    return [f"Speaker {numbers[name]}" if name else None for name in names]


def line_of(speaker: str | None, text: str) -> str:
    """An utterance as a line of context: with its speaker where that is known."""
    return f"{speaker}: {text}" if speaker else text


def lines_of(speakers: pa.Array, texts: pa.Array) -> pa.Array:
    """As `line_of`, of columns."""
    import pyarrow.compute as pc

    return pc.coalesce(pc.binary_join_element_wise(speakers, texts, ": "), texts)


def instructions_of(
    prompt: Prompt,
    label_space: Sequence[Label],
    descriptions: pa.Array | pa.ChunkedArray,
    contexts: pa.ChunkedArray,
) -> pa.Array:
    """The instructions of records that have these."""
    import pyarrow as pa
    import pyarrow.compute as pc

    texts = [
        prompt.instruction(label_space, has_video=has_video, has_context=has_context)
        for has_video, has_context in product((False, True), repeat=2)
    ]
    has_context = pc.greater(pc.list_value_length(contexts), 0)
    has_video = descriptions.is_valid()
    which = pc.add(pc.if_else(has_video, 2, 0), pc.if_else(has_context, 1, 0))
    return pa.array(texts, pa.string()).take(which)


def context_only(context: Sequence[str], lines: Sequence[str], gap: int, context_k: int) -> list[str] | None:
    """The lines at the end of a context that are of no record; None where it cannot be the context.

    At most `gap` of them are possible by the indices; `lines` are all that is known to come before.
    """
    for count in range(min(gap, len(context)) + 1):
        known = list(context[: len(context) - count])
        is_whole = len(context) == context_k or len(known) == len(lines)
        if is_whole and known == lines[len(lines) - len(known) :]:
            return list(context[len(known) :])
    return None


@dataclass
class SplitTotals:
    """What was written of one split."""

    dialogues: int = 0
    records: int = 0
    context_only: int = 0  # utterances without a label
    labels: Counter[Label] = field(default_factory=Counter)
    decisions: Counter[int] = field(default_factory=Counter)
    # Of some thousand records each; hashed beside what goes on.
    digests: list[Future[bytes]] = field(default_factory=list)
    described: int = 0  # records with a video description


class SplitWriter:
    """The files of one corpus and split: for each part its records and their `sft` rows."""

    def __init__(
        self,
        folder: Path,
        corpus: CorpusName,
        split: Split,
        prompt: Prompt,
        labels: Sequence[Label],
        files: ExitStack,
    ) -> None:
        self._folder, self._corpus, self._split = folder, corpus, split
        self._prompt, self._labels, self._files = prompt, labels, files
        self._writers: dict[Part, tuple[RowWriter, RowWriter]] = {}
        self.totals = SplitTotals()

    def add(self, records: pa.Table, decisions: Decisions) -> None:
        """Takes the records of whole dialogues, each with what becomes of it."""
        import numpy as np
        import pyarrow as pa

        check_records(records)
        totals = self.totals
        totals.dialogues += len(records["dialogue_id"].unique())
        totals.labels.update(counts_of(records["label"]))
        numbers, counts = np.unique(decisions, return_counts=True)
        totals.decisions.update(dict(zip(numbers.tolist(), counts.tolist(), strict=True)))
        totals.records += len(records)
        if len(totals.digests) >= MOST_UNHASHED:
            totals.digests[-MOST_UNHASHED].result()
        totals.digests.append(_threads().submit(lambda: b"".join(record_digests(records))))
        totals.described += len(records) - records["video_description"].null_count
        for part in dict.fromkeys(PART_OF[one] for one in numbers.tolist()):
            if part not in self._writers:
                self._writers[part] = self._open(part)
            is_here = np.isin(decisions, [one for one, its_part in PART_OF.items() if its_part == part])
            rows = records if is_here.all() else records.filter(pa.array(is_here))
            data, sft = self._writers[part]
            data.add(record_table(rows, self._labels))
            sft.add(sft_table(rows, self._prompt, self._labels))

    def finish(self) -> None:
        """Takes no more records; the files are written beside what goes on."""
        for writer in chain.from_iterable(self._writers.values()):
            writer.finish()

    def _open(self, part: Part) -> tuple[RowWriter, RowWriter]:
        data = self._folder / DataFile(self._corpus, self._split, part).path
        sft = self._folder / DataFile(self._corpus, self._split, part, "sft").path
        return (
            self._files.enter_context(RowWriter(data, record_schema(self._labels))),
            self._files.enter_context(RowWriter(sft, sft_schema(self._labels))),
        )
