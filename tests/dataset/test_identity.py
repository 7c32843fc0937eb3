from __future__ import annotations

import hashlib
import json
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from dialoguellm_release.errors import DataError
from dialoguellm_release.record_columns import (
    are_records,
    check_records,
    columns_of,
    record_digests,
)
from dialoguellm_release.records import columns_in, content_sha256, rows_in
from dialoguellm_release.schemas.dataset_manifest import DatasetManifest
from dialoguellm_release.schemas.record import COLUMNS, Record
from dialoguellm_release.step import StepResult

TEXTS = st.text(min_size=1)
SECONDS = st.none() | st.integers(0, 10**8).map(lambda milliseconds: milliseconds / 1000)


def record(
    text: str = "Hm.", context: tuple[str, ...] = (), start_s: float | None = None, index: int = 0
) -> Record:
    return Record(
        id=f"meld/test/1/{index}",
        instruction="Do.",
        video_description=None,
        context=context,
        input=text,
        output="fear",
        label="fear",
        source_label="fear",
        other_labels=("anger",),
        corpus="meld",
        split="test",
        dialogue_id="1",
        utterance_index=index,
        speaker=None,
        start_s=start_s,
        end_s=None,
        license="GPL-3.0-only",
        leaks=None,
    )


@given(TEXTS, st.lists(TEXTS, max_size=2).map(tuple), SECONDS)
def test_the_canonical_form_is_plain_json(text: str, context: tuple[str, ...], start_s: float | None) -> None:
    """So that the hash can be recomputed without this package, and no release of pydantic moves it unseen."""
    one = record(text, context, start_s)
    columns = {name: getattr(one, name) for name in COLUMNS}
    plain = json.dumps(columns, ensure_ascii=False, separators=(",", ":")).encode()
    assert record_digests(columns_of([one])) == [hashlib.sha256(plain).digest()]


def test_the_hash_of_a_set_of_records_does_not_depend_on_its_order() -> None:
    digests = record_digests(columns_of([record(index=index) for index in range(3)]))
    assert content_sha256(digests) == content_sha256(reversed(digests))


@pytest.mark.parametrize(
    "other", [record("Hm!"), record(start_s=1.5), record(index=1), record(context=("x",))]
)
def test_every_change_shows(other: Record) -> None:
    first, second = record_digests(columns_of([other, record()]))
    assert first != second


VALUES: list[Any] = [
    *(None, "", "fear", "anger", "train", "test", "a/b", "a b", "7", "meld/test/1/0", "meld/test/1/1", "x\n"),
    *(
        0,
        1,
        -1,
        1.5,
        -0.5,
        True,
        float("nan"),
        float("inf"),
        b"x",
        (),
        ("",),
        ("a", None),
        ("a", "b"),
        ["a"],
        {},
    ),
]
"""Values that are right in some columns and wrong in others."""


@pytest.mark.parametrize("name", COLUMNS)
def test_columns_are_refused_exactly_where_a_record_is(name: str) -> None:
    for value in VALUES:
        columns = columns_of([record(index=0), record(index=1)])
        place, first = COLUMNS.index(name), columns[name][0].as_py()
        try:
            values = pa.array([first, value])
        except pa.ArrowException:
            continue  # no column of a file can hold both
        columns = columns.set_column(place, name, values)
        cells = columns.to_pylist()[1].items()
        row = {one: tuple(cell) if isinstance(cell, list) else cell for one, cell in cells}
        try:
            Record.model_validate(row)
        except ValidationError:
            assert not are_records(columns), value
            with pytest.raises(DataError) as raised:
                check_records(columns)
            assert raised.value.problems[0].code == "records.not_a_record"
        else:
            assert are_records(columns), value
            check_records(columns)


@pytest.mark.corpora
def test_the_columns_of_the_real_corpora_are_their_records(
    paper_dataset: StepResult[DatasetManifest],
) -> None:
    """The content hash is that of version 0.1, which made and checked an object for each record."""
    expected = "c1326f0faee4bcd82b641b7f800d9d3c7c05db5ce65f50010be51ab4146de64c"
    assert paper_dataset.manifest.content_sha256 == expected
    for path in (paper_dataset.folder / "data").rglob("*.parquet"):
        rows = (row for columns in columns_in(path) for row in columns.to_pylist())
        for record, row in zip(rows_in(path, Record), rows, strict=True):
            lists = {name: tuple(row[name]) for name in ("context", "other_labels", "leaks")}
            assert vars(record) == row | lists
