"""The records of a dialogue, and the Parquet files that `datasets` reads with all their features."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from dialoguellm_release.layout import DataFile
from dialoguellm_release.leakage.audit import PART_OF
from dialoguellm_release.prompts import Prompt
from dialoguellm_release.records import record_digest
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
_LABEL = COLUMNS.index("label")
_values = attrgetter(*COLUMNS)


def record_schema(labels: Sequence[Label] = LABELS) -> pa.Schema:
    """The Arrow schema of the records, with the features of `datasets` in its metadata.

    Args:
        labels: Names of the class ids.

    Why: lists are declared in the older form (`Sequence`), which datasets 3.6 and 5.2 both read.
    """
    return _schema_of(COLUMNS, labels)


def standoff_schema(labels: Sequence[Label] = LABELS) -> pa.Schema:
    """The Arrow schema of the config `standoff`, likewise."""
    return _schema_of(STANDOFF_COLUMNS, labels)


def sft_schema(labels: Sequence[Label] = LABELS) -> pa.Schema:
    """The Arrow schema of the config `sft`, likewise."""
    return _schema_of(SFT_COLUMNS, labels)


def sft_columns(
    records: Sequence[Record], prompt: Prompt, labels: Sequence[Label] = LABELS
) -> list[Sequence[Any]]:
    """The `sft` rows of records column by column, in the order of the schema."""
    return [
        [record.id for record in records],
        [prompt.prompt(record) for record in records],
        [prompt.completion(record.output) for record in records],
        [labels.index(record.label) for record in records],
        [record.corpus for record in records],
        [record.split for record in records],
        [record.dialogue_id for record in records],
        [record.utterance_index for record in records],
    ]


def record_columns(records: Iterable[Record], labels: Sequence[Label] = LABELS) -> list[Sequence[Any]]:
    """The records column by column, in the order of the schema."""
    columns: list[Sequence[Any]] = list(zip(*map(_values, records), strict=True))
    columns[_LABEL] = [labels.index(label) for label in columns[_LABEL]]
    return columns


class RowWriter:
    """Writes a Parquet file in row groups; without a row there is no file.

    Why: `datasets` fails on a Parquet file of no rows.
    """

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._path = path
        self._schema = schema
        self._columns: list[list[Any]] = [[] for _ in schema]
        self._writer: Any = None

    def add(self, columns: Sequence[Sequence[Any]]) -> None:
        """Takes some rows, column by column."""
        for column, values in zip(self._columns, columns, strict=True):
            column += values
        if len(self._columns[0]) >= ROWS_PER_GROUP:
            self._flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None and self._columns[0]:
                self._flush()
        finally:
            if self._writer is not None:
                self._writer.close()

    def _flush(self) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        if self._writer is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._writer = pq.ParquetWriter(self._path, self._schema, compression="zstd")
        columns, self._columns = self._columns, [[] for _ in self._schema]
        named = dict(zip(self._schema.names, columns, strict=True))
        self._writer.write_table(pa.Table.from_pydict(named, self._schema))


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


@dataclass(slots=True)
class HeldUtterance:
    """An utterance with the fields of `Utterance` in their order.

    Why: a build holds every dialogue; as pydantic objects those of the paper take 135 MB more.
    """

    index: int
    text: str
    speaker: str | None
    label: Label | None
    source_label: str | None
    other_labels: tuple[Label, ...]
    start_s: float | None
    end_s: float | None


@dataclass(slots=True)
class HeldDialogue:
    """A dialogue that is held until its records are written."""

    corpus: CorpusName
    split: Split | None
    id: str
    utterances: tuple[HeldUtterance, ...]

    @classmethod
    def of(cls, dialogue: Dialogue) -> Self:
        """What a dialogue has, without its objects."""
        utterances = tuple(HeldUtterance(*_fields(one)) for one in dialogue.utterances)
        return cls(dialogue.corpus, dialogue.split, dialogue.id, utterances)


_fields = attrgetter(*Utterance.model_fields)


@dataclass
class RecordMaker:
    """Makes the records of one corpus.

    Args:
        license: What every record carries.
        label_space: The labels that the instruction shows.
        relabel: Labels outside the label space to those inside; empty keeps every label.
        context_k: How many past utterances of the same dialogue are shown.
        speakers: How they are named.
        descriptions: Video descriptions by record id.

    Attributes:
        relabelled: How often each relabelling was used, as `from -> to`.
    """

    prompt: Prompt
    license: str
    label_space: tuple[Label, ...]
    relabel: Mapping[Label, Label]
    context_k: int
    speakers: SpeakerNames = "named"
    descriptions: Mapping[str, str] = field(default_factory=dict)
    relabelled: Counter[str] = field(default_factory=Counter)

    def records(
        self, dialogue: Dialogue | HeldDialogue, split: Split, leaks: Sequence[tuple[str, ...]] | None = None
    ) -> Iterator[Record]:
        """The records of a dialogue, in its order; an utterance without a label is context alone.

        Args:
            leaks: For each of them, the splits that it shares something with; None where there was no audit.
        """
        utterances: Sequence[Utterance | HeldUtterance] = dialogue.utterances
        speakers = shown_speakers([utterance.speaker for utterance in utterances], self.speakers)
        lines = [line_of(name, utterance.text) for name, utterance in zip(speakers, utterances, strict=True)]
        leaks_of = None if leaks is None else iter(leaks)
        for position, utterance in enumerate(utterances):
            if utterance.label is None or utterance.source_label is None:
                continue
            context = tuple(lines[max(0, position - self.context_k) : position])
            label = self._label(utterance.label)
            name = record_id(dialogue.corpus, split, dialogue.id, utterance.index)
            description = self.descriptions.get(name)
            instruction = self.prompt.instruction(
                self.label_space, has_video=description is not None, has_context=bool(context)
            )
            yield Record(
                id=name,
                instruction=instruction,
                video_description=description,
                context=context,
                input=utterance.text,
                output=label,
                label=label,
                source_label=utterance.source_label,
                other_labels=utterance.other_labels and self._others(utterance, label),
                corpus=dialogue.corpus,
                split=split,
                dialogue_id=dialogue.id,
                utterance_index=utterance.index,
                speaker=speakers[position],
                start_s=utterance.start_s,
                end_s=utterance.end_s,
                license=self.license,
                leaks=None if leaks_of is None else next(leaks_of),
            )

    def _others(self, utterance: Utterance | HeldUtterance, label: Label) -> tuple[Label, ...]:
        others = (self.relabel.get(other, other) for other in utterance.other_labels)
        return tuple(dict.fromkeys(other for other in others if other != label))

    def _label(self, label: Label) -> Label:
        if label not in self.relabel:
            return label
        self.relabelled[f"{label} -> {self.relabel[label]}"] += 1
        return self.relabel[label]


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

    Args:
        lines: All that is known to come before in the dialogue.
        gap: How many utterances may be between the record and the one before it, by their indices.
        context_k: How many lines a context has where there are so many.
    """
    for count in range(min(gap, len(context)) + 1):
        known = list(context[: len(context) - count])
        is_whole = len(context) == context_k or len(known) == len(lines)
        if is_whole and known == lines[len(lines) - len(known) :]:
            return list(context[len(known) :])
    return None


@dataclass
class SplitTotals:
    """What was written of one split.

    Attributes:
        context_only: Utterances without a label.
        described: Records with a video description.
    """

    dialogues: int = 0
    context_only: int = 0
    labels: Counter[Label] = field(default_factory=Counter)
    decisions: Counter[int] = field(default_factory=Counter)
    digests: list[bytes] = field(default_factory=list)
    described: int = 0


class SplitWriter:
    """The files of one corpus and split: for each part its records and their `sft` rows.

    Why: records become columns as soon as they are made, while they are still in the processor's cache.

    Args:
        labels: Names of the class ids.
        files: Closes the files.
    """

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

    def add(self, records: Sequence[Record], decisions: Sequence[int]) -> None:
        """Takes the records of one dialogue, each with what becomes of it."""
        self.totals.dialogues += 1
        self.totals.labels.update(record.label for record in records)
        self.totals.decisions.update(decisions)
        self.totals.digests += map(record_digest, records)
        self.totals.described += sum(record.video_description is not None for record in records)
        parts = [PART_OF[decision] for decision in decisions]
        for part in dict.fromkeys(parts):
            if part not in self._writers:
                self._writers[part] = self._open(part)
            data, sft = self._writers[part]
            chosen = [record for record, its_part in zip(records, parts, strict=True) if its_part == part]
            data.add(record_columns(chosen, self._labels))
            sft.add(sft_columns(chosen, self._prompt, self._labels))

    def _open(self, part: Part) -> tuple[RowWriter, RowWriter]:
        data = self._folder / DataFile(self._corpus, self._split, part).path
        sft = self._folder / DataFile(self._corpus, self._split, part, is_sft=True).path
        return (
            self._files.enter_context(RowWriter(data, record_schema(self._labels))),
            self._files.enter_context(RowWriter(sft, sft_schema(self._labels))),
        )
