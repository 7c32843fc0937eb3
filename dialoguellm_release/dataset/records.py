"""The records of a dialogue, and the Parquet files that `datasets` reads with all their features."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field, fields
from functools import cache
from itertools import compress, groupby, product, repeat
from operator import attrgetter, itemgetter
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from dialoguellm_release.layout import DataFile
from dialoguellm_release.leakage.audit import PART_OF
from dialoguellm_release.prompts import PROMPT_FIELDS, Prompt
from dialoguellm_release.records import Columns, check_records, record_digests, records_of
from dialoguellm_release.schemas.labels import LABELS, CorpusName, Label, Part, Split
from dialoguellm_release.schemas.recipes.dataset import SpeakerNames
from dialoguellm_release.schemas.record import (
    COLUMNS,
    SFT_COLUMNS,
    STANDOFF_COLUMNS,
    Dialogue,
    Record,
    Utterance,
    record_id,
)

if TYPE_CHECKING:
    import pyarrow as pa

ROWS_PER_GROUP = 20_000
_DTYPES = {"label": "int64", "utterance_index": "int64", "start_s": "float64", "end_s": "float64"}
_LISTS = ("context", "other_labels", "leaks")
_UTTERANCE = tuple(one.name for one in fields(Utterance))


def record_schema(labels: Sequence[Label] = LABELS) -> pa.Schema:
    """The Arrow schema of the records, with the features of `datasets` in its metadata.

    Why: lists are declared in the older form (`Sequence`), which datasets 3.6 and 5.2 both read.
    """
    return _schema_of(COLUMNS, labels)


def standoff_schema(labels: Sequence[Label] = LABELS) -> pa.Schema:
    """The Arrow schema of the config `standoff`, likewise."""
    return _schema_of(STANDOFF_COLUMNS, labels)


def sft_schema(labels: Sequence[Label] = LABELS) -> pa.Schema:
    """The Arrow schema of the config `sft`, likewise."""
    return _schema_of(SFT_COLUMNS, labels)


def sft_columns(records: Columns, prompt: Prompt, labels: Sequence[Label] = LABELS) -> Columns:
    """The `sft` rows of records, column by column, in the order of the schema."""
    shown = zip(*(records[name] for name in PROMPT_FIELDS), strict=True)
    made: Columns = {
        "prompt": [prompt.render(*values) for values in shown],
        "completion": list(map(prompt.completion, records["output"])),
        "label": list(map(labels.index, records["label"])),
    }
    return {name: made.get(name) or records[name] for name in SFT_COLUMNS}


def sft_table(records: Columns, prompt: Prompt, labels: Sequence[Label] = LABELS) -> pa.Table:
    """The `sft` rows of records."""
    import pyarrow as pa

    return pa.table(sft_columns(records, prompt, labels), sft_schema(labels))


def record_table(records: Columns, labels: Sequence[Label] = LABELS) -> pa.Table:
    """Records as they are written."""
    import pyarrow as pa

    ids = list(map(labels.index, records["label"]))
    return pa.table({**records, "label": ids}, record_schema(labels))


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
        """Takes some rows."""
        self._tables.append(rows)
        if sum(map(len, self._tables)) >= ROWS_PER_GROUP:
            self._flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None and any(map(len, self._tables)):
                self._flush()
            self._wait()
        finally:
            if self._writer is not None:
                self._writer.close()

    def _flush(self) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        if self._writer is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._writer = pq.ParquetWriter(self._path, self._schema, compression="zstd")
        rows, self._tables = pa.concat_tables(self._tables), []
        self._wait()
        self._written = _thread().submit(self._writer.write_table, rows)

    def _wait(self) -> None:
        if self._written is not None:
            self._written.result()
            self._written = None


@cache
def _thread() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, "parquet")


def _schema_of(columns: Sequence[str], labels: Sequence[Label]) -> pa.Schema:
    import pyarrow as pa

    fields, features = [], dict[str, Any]()
    for name in columns:
        dtype = _DTYPES.get(name, "string")
        kind, value = getattr(pa, dtype)(), {"dtype": dtype, "_type": "Value"}
        fields.append((name, pa.list_(kind) if name in _LISTS else kind))
        features[name] = {"feature": value, "_type": "Sequence"} if name in _LISTS else value
    features["label"] = {"names": list(labels), "_type": "ClassLabel"}
    described = json.dumps({"info": {"features": features}}, separators=(",", ":"))
    return pa.schema(fields, {"huggingface": described})


def utterance_schema(*, is_held: bool) -> pa.Schema:
    """The Arrow schema of `utterance_columns`, and of the split of each dialogue.

    Why: a build holds every utterance, and as columns they take a fifth of what objects take.
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

    def records(self, dialogue: Dialogue, split: Split) -> list[Record]:
        """The records of a dialogue, in its order, without an audit."""
        records = self.columns(dialogue.corpus, split, utterance_columns([dialogue]))
        return records_of(records)

    def columns(
        self,
        corpus: CorpusName,
        split: Split,
        utterances: Columns,
        leaks: Sequence[tuple[str, ...] | None] | None = None,
    ) -> Columns:
        """The records of dialogues, as columns that are not checked; what has no label is context alone."""
        speakers = self._speakers(utterances["dialogue_id"], utterances["speaker"])
        lines = list(map(line_of, speakers, utterances["text"]))
        contexts = self._contexts(utterances["dialogue_id"], lines)
        utterances = {**utterances, "speaker": speakers, "context": contexts}
        if None in utterances["label"]:
            is_record = [label is not None for label in utterances["label"]]
            utterances = {name: list(compress(one, is_record)) for name, one in utterances.items()}
        dialogues, indexes, contexts = (utterances[name] for name in ("dialogue_id", "index", "context"))
        rows, given = len(dialogues), utterances["label"]
        names = [record_id(corpus, split, *place) for place in zip(dialogues, indexes, strict=True)]
        described = list(map(self.descriptions.get, names))
        labels = [self.relabel.get(label, label) for label in given]
        self.relabelled.update(f"{one} -> {self.relabel[one]}" for one in given if one in self.relabel)
        instruction = {
            has: self.prompt.instruction(self.label_space, has_video=has[0], has_context=has[1])
            for has in product((False, True), repeat=2)
        }
        shown = zip(described, contexts, strict=True)
        others = zip(utterances["other_labels"], labels, strict=True)
        return {
            "id": names,
            "instruction": [instruction[one is not None, bool(context)] for one, context in shown],
            "video_description": described,
            "context": contexts,
            "input": utterances["text"],
            "output": labels,
            "label": labels,
            "source_label": utterances["source_label"],
            "other_labels": [self._others(one, label) if one else () for one, label in others],
            "corpus": [corpus] * rows,
            "split": [split] * rows,
            "dialogue_id": dialogues,
            "utterance_index": indexes,
            "speaker": utterances["speaker"],
            "start_s": utterances["start_s"],
            "end_s": utterances["end_s"],
            "license": [self.license] * rows,
            "leaks": [None] * rows if leaks is None else list(leaks),
        }

    def _speakers(self, dialogues: Sequence[str], names: list[str | None]) -> list[str | None]:
        if self.speakers == "named":
            return names
        by_dialogue = groupby(zip(dialogues, names, strict=True), itemgetter(0))
        return [
            shown
            for _, rows in by_dialogue
            for shown in shown_speakers([name for _, name in rows], self.speakers)
        ]

    def _contexts(self, dialogues: Sequence[str], lines: Sequence[str]) -> list[tuple[str, ...]]:
        """For each line, those before it in its dialogue that are shown."""
        contexts, start = list[tuple[str, ...]](), 0
        for row, dialogue in enumerate(dialogues):
            if dialogue != dialogues[start]:
                start = row
            contexts.append(tuple(lines[max(start, row - self.context_k) : row]))
        return contexts

    def _others(self, others: Iterable[Label], label: Label) -> tuple[Label, ...]:
        kept = (self.relabel.get(other, other) for other in others)
        return tuple(dict.fromkeys(other for other in kept if other != label))


def utterance_columns(dialogues: Sequence[Dialogue]) -> Columns:
    """The utterances of dialogues by the fields of `Utterance`, and the id of the dialogue of each."""
    rows = [utterance for dialogue in dialogues for utterance in dialogue.utterances]
    columns = zip(*map(attrgetter(*_UTTERANCE), rows), strict=True) if rows else repeat(())
    return {
        "dialogue_id": [one.id for one in dialogues for _ in one.utterances],
        **dict(zip(_UTTERANCE, map(list, columns), strict=False)),
    }


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
    context_only: int = 0  # utterances without a label
    labels: Counter[Label] = field(default_factory=Counter)
    decisions: Counter[int] = field(default_factory=Counter)
    digests: list[bytes] = field(default_factory=list)
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

    def add(self, records: Columns, decisions: Sequence[int]) -> None:
        """Takes the records of whole dialogues, each with what becomes of it."""
        check_records(records)
        self.totals.dialogues += len(set(records["dialogue_id"]))
        self.totals.labels.update(records["label"])
        self.totals.decisions.update(decisions)
        self.totals.digests += record_digests(records)
        self.totals.described += sum(one is not None for one in records["video_description"])
        parts = [PART_OF[decision] for decision in decisions]
        for part in dict.fromkeys(parts):
            if part not in self._writers:
                self._writers[part] = self._open(part)
            is_here = [one == part for one in parts]
            rows = {name: list(compress(one, is_here)) for name, one in records.items()}
            data, sft = self._writers[part]
            data.add(record_table(rows, self._labels))
            sft.add(sft_table(rows, self._prompt, self._labels))

    def _open(self, part: Part) -> tuple[RowWriter, RowWriter]:
        data = self._folder / DataFile(self._corpus, self._split, part).path
        sft = self._folder / DataFile(self._corpus, self._split, part, "sft").path
        return (
            self._files.enter_context(RowWriter(data, record_schema(self._labels))),
            self._files.enter_context(RowWriter(sft, sft_schema(self._labels))),
        )
