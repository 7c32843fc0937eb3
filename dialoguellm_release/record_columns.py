"""Records column by column, as Arrow tables: their schemas, the check of every row, and their hashes."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from itertools import pairwise
from types import GenericAlias
from typing import TYPE_CHECKING, Any, cast, get_args, get_type_hints

from pydantic import TypeAdapter, ValidationError
from pydantic_core import to_json

from dialoguellm_release.errors import DataError, problems_of
from dialoguellm_release.schemas.base import Text
from dialoguellm_release.schemas.labels import LABELS, Label
from dialoguellm_release.schemas.record import COLUMNS, SFT_COLUMNS, STANDOFF_COLUMNS, Record

if TYPE_CHECKING:
    import pyarrow as pa

# Why: what one thread takes and another frees stays in Arrow's own pool, a third of the peak of a build.
os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")

LISTS = ("context", "other_labels", "leaks")
_TYPES = {"label": "int64", "utterance_index": "int64", "start_s": "float64", "end_s": "float64"}


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


def _schema_of(columns: Sequence[str], labels: Sequence[Label]) -> pa.Schema:
    features = dict[str, Any]()
    for name in columns:
        value = {"dtype": _TYPES.get(name, "string"), "_type": "Value"}
        features[name] = {"feature": value, "_type": "Sequence"} if name in LISTS else value
    features["label"] = {"names": list(labels), "_type": "ClassLabel"}
    described = json.dumps({"info": {"features": features}}, separators=(",", ":"))
    return _plain_schema(tuple(columns)).with_metadata({"huggingface": described})


@cache
def _plain_schema(columns: tuple[str, ...], *, named_labels: bool = False) -> pa.Schema:
    import pyarrow as pa

    types = {
        name: getattr(pa, kind)() for name, kind in _TYPES.items() if not (named_labels and name == "label")
    }
    kinds = {name: types.get(name, pa.string()) for name in columns}
    return pa.schema([(name, pa.list_(one) if name in LISTS else one) for name, one in kinds.items()])


def columns_schema() -> pa.Schema:
    """The Arrow schema of records whose labels are names; files hold class ids in their place."""
    return _plain_schema(COLUMNS, named_labels=True)


def columns_of(records: Sequence[Record]) -> pa.Table:
    """Records as columns."""
    import pyarrow as pa

    return pa.table({name: [getattr(one, name) for one in records] for name in COLUMNS}, columns_schema())


def records_of(columns: pa.Table) -> list[Record]:
    """Columns as records, each checked."""
    records = []
    for row in columns.to_pylist():
        values = {name: tuple(one) if isinstance(one, list) else one for name, one in row.items()}
        try:
            records.append(Record.model_validate(values))
        except ValidationError as error:
            what, code = "is not a record", "records.not_a_record"
            raise DataError(problems_of(error, row["id"], what, code=code)) from error
    return records


def check_records(columns: pa.Table) -> None:
    """Checks every row by the schema."""
    if not are_records(columns):
        records_of(columns)


def are_records(columns: pa.Table) -> bool:
    """Whether every row is a record: the rules of the schema, applied to what differs in each column.

    Why: that takes a twentieth of the time that an object for each record takes.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    try:
        for name, (rules, is_text) in _rules().items():
            if name != "id":  # which is compared with what it is made of
                rules.validate_python(_distinct(columns[name], is_text=is_text))
        columns = columns.cast(columns_schema())
    except (ValidationError, pa.ArrowException):
        return False
    parts = [columns[name] for name in ("corpus", "split", "dialogue_id")]
    number = columns["utterance_index"].cast(pa.string())
    names = pc.binary_join_element_wise(*parts, number, "/")
    return bool(names.equals(columns["id"]) and columns["output"].equals(columns["label"]))


def _distinct(column: pa.Array | pa.ChunkedArray, *, is_text: bool) -> list[Any]:
    """The values of a column, each once; of lists their items as one tuple, of plain texts the shortest."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not pa.types.is_list(column.type):
        if is_text and pa.types.is_string(column.type):
            lengths = pc.binary_length(column)
            column = column.filter(pc.equal(lengths, pc.min(lengths)).fill_null(True))
        return cast("list[Any]", column.unique().to_pylist())
    items = _distinct(column.combine_chunks().flatten(), is_text=is_text)
    return [tuple(items), *[None] * bool(column.null_count)]


@cache
def _rules() -> dict[str, tuple[TypeAdapter[list[Any]], bool]]:
    """For each column what its values must be, and whether that is no more than a text."""
    hints, config = get_type_hints(Record, include_extras=True), Record.model_config
    lists = {name: cast(Any, GenericAlias(list, hints[name])) for name in COLUMNS}
    return {
        name: (TypeAdapter(values, config=config), Text in (hints[name], *get_args(hints[name])))
        for name, values in lists.items()
    }


def by_distinct(
    column: pa.Array | pa.ChunkedArray, make: Callable[[Any], Any], kind: pa.DataType | None = None
) -> pa.Array:
    """What is made of each value of a column in which few are different; text, or of another type."""
    import pyarrow as pa

    values = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    coded = values.dictionary_encode()
    return pa.array(list(map(make, coded.dictionary.to_pylist())), kind or pa.string()).take(coded.indices)


def record_digests(columns: pa.Table) -> list[bytes]:
    """SHA-256 of each record's canonical JSON: UTF-8, the columns in their order, no white space.

    Why Arrow: joining columns that are JSON takes half the time that an object for each record takes.
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    pieces, before = list[Any](), "{"
    for name in COLUMNS:
        values = columns[name].combine_chunks()
        is_quoted = pa.types.is_string(values.type) and not values.null_count
        key = f'{before}"{name}":' + '"' * is_quoted
        pieces += [key, _as_json(values, is_quoted=is_quoted)]
        before = '",' if is_quoted else ","
    pieces.append(before.replace(",", "}"))
    nulls = {"null_handling": "replace", "null_replacement": "null"}
    rows = pc.binary_join_element_wise(*pieces, "", **nulls)
    _, ends, text = rows.cast(pa.large_string()).buffers()
    places, held = np.frombuffer(ends, dtype=np.int64).tolist(), memoryview(text or b"")
    return [hashlib.sha256(held[start:end]).digest() for start, end in pairwise(places[: len(rows) + 1])]


def _as_json(values: pa.Array, *, is_quoted: bool = False) -> pa.Array:
    """The values of a column as JSON, null as null; texts without quotes where their row has these."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_string(values.type):
        texts = _escaped(values)
        return texts if is_quoted else pc.binary_join_element_wise('"', texts, '"', "")
    if pa.types.is_list(values.type):
        lengths = pc.list_value_length(values)
        ends = pa.array(np.append(0, np.cumsum(lengths.fill_null(0).to_numpy())), pa.int32())
        joined = pc.binary_join(pa.ListArray.from_arrays(ends, _escaped(values.flatten())), '","')
        lists = pc.if_else(pc.equal(lengths, 0), "[]", pc.binary_join_element_wise('["', joined, '"]', ""))
        return pc.if_else(values.is_valid(), lists, pa.scalar(None, pa.string()))
    if pa.types.is_floating(values.type):
        numbers = to_json(values.to_pylist())[1:-1].decode()
        return pa.array(numbers.split(",") if numbers else [], pa.string())
    return values.cast(pa.string())


def _escaped(texts: pa.Array) -> pa.Array:
    """Texts with the escapes of JSON inside."""
    import numpy as np
    import pyarrow.compute as pc

    held = np.frombuffer(texts.buffers()[2] or b"", dtype=np.uint8)
    special = [one for one in b'\\"' if (held == one).any()]  # the escapes have backslashes
    if (held < ord(" ")).any():
        special += np.unique(held[held < ord(" ")]).tolist()
    for character in map(chr, special):
        texts = pc.replace_substring(texts, character, to_json(character).decode()[1:-1])
    return texts


class BatchedRows:
    """The rows of a table that is read in batches, as many at once as are asked for.

    Attributes:
        lacking: How many rows fewer than asked for there were.
    """

    def __init__(self, batches: Iterator[pa.RecordBatch]) -> None:
        self._batches, self._held, self.lacking = batches, list[Any](), 0

    def take(self, count: int) -> list[pa.RecordBatch]:
        """The next rows, or all that are left."""
        import pyarrow as pa

        while sum(map(len, self._held)) < count and (batch := next(self._batches, None)) is not None:
            self._held.append(batch)
        self.lacking += max(0, count - sum(map(len, self._held)))
        if not self._held:
            return []
        table = pa.Table.from_batches(self._held)
        taken: list[pa.RecordBatch] = table.slice(0, count).to_batches()
        self._held = table.slice(count).to_batches()
        return taken

    def rest(self) -> int:
        """How many rows are left."""
        return sum(map(len, self._held)) + sum(map(len, self._batches))
