"""Records as Parquet files that `datasets` reads with all their features, streamed in row groups."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from operator import attrgetter
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from dialoguellm_release.prompts import Prompt
from dialoguellm_release.schemas.labels import LABELS, Label
from dialoguellm_release.schemas.record import COLUMNS, SFT_COLUMNS, STANDOFF_COLUMNS, Record

if TYPE_CHECKING:
    import pyarrow as pa

ROWS_PER_GROUP = 20_000
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
    ids = {label: index for index, label in enumerate(labels)}
    return [
        [record.id for record in records],
        [prompt.prompt(record) for record in records],
        [prompt.completion(record.output) for record in records],
        [ids[record.label] for record in records],
        [record.corpus for record in records],
        [record.split for record in records],
        [record.dialogue_id for record in records],
        [record.utterance_index for record in records],
    ]


def record_columns(records: Iterable[Record], labels: Sequence[Label] = LABELS) -> list[Sequence[Any]]:
    """The records column by column, in the order of the schema."""
    ids = {label: index for index, label in enumerate(labels)}
    columns: list[Sequence[Any]] = list(zip(*map(_values, records), strict=True))
    columns[_LABEL] = [ids[label] for label in columns[_LABEL]]
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
        arrays = [
            pa.array(column, type=field.type) for column, field in zip(columns, self._schema, strict=True)
        ]
        self._writer.write_table(pa.Table.from_arrays(arrays, schema=self._schema))


def _schema_of(columns: Sequence[str], labels: Sequence[Label]) -> pa.Schema:
    import pyarrow as pa

    text, texts = pa.string(), pa.list_(pa.string())
    types: dict[str, pa.DataType] = {"label": pa.int64(), "utterance_index": pa.int64()}
    types |= dict.fromkeys(("start_s", "end_s"), pa.float64())
    types |= dict.fromkeys(_LISTS, texts)
    fields = [(name, types.get(name, text)) for name in columns]
    features: dict[str, Any] = {name: _value(str(kind)) for name, kind in fields}
    features |= {
        name: {"feature": _value("string"), "_type": "Sequence"} for name in _LISTS if name in features
    }
    features |= {name: _value("float64") for name in ("start_s", "end_s") if name in features}
    features["label"] = {"names": list(labels), "_type": "ClassLabel"}
    return _with_features(pa.schema(fields), features)


def _value(arrow_name: str) -> dict[str, str]:
    return {"dtype": arrow_name, "_type": "Value"}


def _with_features(schema: pa.Schema, features: dict[str, Any]) -> pa.Schema:
    described = json.dumps({"info": {"features": features}}, separators=(",", ":"))
    return schema.with_metadata({"huggingface": described})
