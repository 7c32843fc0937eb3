"""Stand-off rows: everything but text, and hashes that tell a window and nothing less."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialoguellm_release.errors import DataError, Problem
from dialoguellm_release.folders import stamps
from dialoguellm_release.hydration.standoff import (
    Turn,
    find_differences,
    summary,
    window_hmacs,
    write_standoff,
)
from dialoguellm_release.record_columns import columns_of
from dialoguellm_release.records import read_records, rows_in
from dialoguellm_release.schemas.dataset_manifest import DatasetManifest
from dialoguellm_release.schemas.labels import LABELS, SPLITS
from dialoguellm_release.schemas.record import STANDOFF_COLUMNS, Record, StandoffRow
from dialoguellm_release.step import StepResult
from tests.corpus_names import CORPORA

Dataset = StepResult[DatasetManifest]
SALT, OTHER_SALT = "1f" * 32, "2e" * 32


@pytest.fixture(scope="module")
def standoff(demo_dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the stand-off rows of every corpus of the demo."""
    folder = tmp_path_factory.mktemp("standoff")
    write_standoff(demo_dataset.folder, demo_dataset.manifest, CORPORA, folder)
    return folder


def rows_of(folder: Path) -> list[StandoffRow]:
    return [row for path in sorted(folder.rglob("*.parquet")) for row in rows_in(path, StandoffRow)]


def records_of_demo(dataset: Dataset) -> dict[str, Record]:
    return {one.id: one for split in SPLITS for one in read_records(dataset.folder, "default", split)}


def test_the_rows_are_the_records_without_their_text(demo_dataset: Dataset, standoff: Path) -> None:
    records = records_of_demo(demo_dataset)
    rows = rows_of(standoff)
    assert {row.id for row in rows} == set(records)
    assert len(rows) == len(records) > 500
    for row in rows:
        stated = row.model_dump(exclude={"window_hmac"})
        assert stated == records[row.id].model_dump(include=set(stated))


def test_no_text_and_no_speaker_is_in_a_file(demo_dataset: Dataset, standoff: Path) -> None:
    records = records_of_demo(demo_dataset).values()
    told = {one for record in records for one in (record.id, record.dialogue_id, record.source_label)}
    withheld = {one.input for one in records} | {one.speaker for one in records}
    values = strings_in(standoff)
    assert len(values) > 500
    assert not values & (withheld - told - set(LABELS))
    joined = "\n".join(values)
    assert not [one.input for one in records if len(one.input) > 12 and one.input in joined]


def strings_in(folder: Path) -> set[str]:
    """Every value in the Parquet files of a folder, also those in lists, and in their metadata."""
    found: set[str] = set()
    for path in folder.rglob("*.parquet"):
        table = pq.read_table(path)
        found.add(str(table.schema.metadata))
        for column in table.columns:
            values = column.combine_chunks()
            found.update(str(one) for one in getattr(values, "values", values).to_pylist())
    return found


def test_the_stamps_are_those_of_the_files_and_every_build_gives_the_same(
    demo_dataset: Dataset, standoff: Path, tmp_path: Path
) -> None:
    written = write_standoff(demo_dataset.folder, demo_dataset.manifest, ["meld", "iemocap"], tmp_path)
    assert [file.path for file in written] == [
        *(f"standoff/meld/{split}-00000.parquet" for split in SPLITS),
        "standoff/iemocap/train-00000.parquet",
        "standoff/iemocap/test-00000.parquet",
    ]
    assert sorted(written, key=lambda file: file.path) == list(stamps(tmp_path))
    assert set(written) <= set(stamps(standoff))


def test_datasets_loads_the_rows_with_their_features(standoff: Path, tmp_path: Path) -> None:
    from datasets import load_dataset

    files = {split: str(standoff / "standoff" / "*" / f"{split}-*.parquet") for split in SPLITS}
    loaded = load_dataset("parquet", data_files=files, cache_dir=str(tmp_path))
    assert loaded["train"].column_names == list(STANDOFF_COLUMNS)
    assert loaded["train"].features["label"].names == list(LABELS)
    assert [loaded["test"].features["label"].int2str(one) for one in loaded["test"]["label"]] == list(
        loaded["test"]["output"]
    )


def test_what_is_hashed_is_what_the_documents_say(demo_dataset: Dataset, standoff: Path) -> None:
    """Computed once more from the records alone, as a user would who trusts no code of ours."""
    key = bytes.fromhex(demo_dataset.manifest.content_sha256)
    dialogues: dict[tuple[str, str, str], list[Record]] = {}
    for record in records_of_demo(demo_dataset).values():
        dialogues.setdefault((record.corpus, record.split, record.dialogue_id), []).append(record)
    expected: dict[str, str | None] = {}
    for turns in dialogues.values():
        turns.sort(key=lambda turn: turn.utterance_index)
        for place, turn in enumerate(turns):
            window = [[one.speaker, one.input] for one in turns[max(0, place - 1) : place + 2]]
            message = json.dumps([turn.id, window], ensure_ascii=False, separators=(",", ":")).encode()
            expected[turn.id] = hmac_by_hand(key, message) if len(turns) > 1 else None
    assert {row.id: row.window_hmac for row in rows_of(standoff)} == expected
    assert len(set(expected.values())) == len(expected) > 500


def hmac_by_hand(key: bytes, message: bytes) -> str:
    """RFC 2104."""
    block = key.ljust(64, b"\0")
    inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in block) + message).digest()
    return hashlib.sha256(bytes(byte ^ 0x5C for byte in block) + inner).hexdigest()


def test_no_hash_is_that_of_a_text_alone(demo_dataset: Dataset, standoff: Path) -> None:
    records = list(records_of_demo(demo_dataset).values())
    salt = bytes.fromhex(demo_dataset.manifest.content_sha256)
    plain: set[str] = set()
    for record in records:
        lines = (
            record.input,
            f"{record.speaker}: {record.input}",
            "\n".join([*record.context, record.input]),
        )
        for text in (*lines, json.dumps(record.input), json.dumps([[record.speaker, record.input]])):
            for message in (text.encode(), salt + text.encode(), salt.hex().encode() + text.encode()):
                plain.add(hashlib.sha256(message).hexdigest())
            plain.add(hmac_by_hand(salt, text.encode()))
    hashes = [row.window_hmac for row in rows_of(standoff) if row.window_hmac]
    assert len(hashes) > 500
    assert not plain & set(hashes)
    assert max(Counter(hashes).values()) == 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda rows: rows[0].update(label=99), "label is no class id"),
        (lambda rows: rows[0].update(window_hmac="Yeah."), "window_hmac: "),
        (lambda rows: rows[0].update(id="meld/train/0/77"), "id is not corpus/split"),
        (lambda rows: [row.pop("leaks") for row in rows], "lacks the columns leaks"),
    ],
)
def test_rows_that_are_none_are_told(
    change: Callable[[list[dict[str, Any]]], None], said: str, standoff: Path, tmp_path: Path
) -> None:
    import pyarrow as pa

    rows = pq.read_table(standoff / "standoff" / "meld" / "train-00000.parquet").to_pylist()
    change(rows)
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.Table.from_pylist(rows), path)
    with pytest.raises(DataError, match="rows.parquet") as caught:
        list(rows_in(path, StandoffRow))
    assert said in str(caught.value)


def test_a_file_that_is_no_parquet_is_told(tmp_path: Path) -> None:
    (tmp_path / "rows.parquet").write_bytes(b"not Parquet")
    with pytest.raises(DataError, match=r"rows\.parquet: cannot be read"):
        list(rows_in(tmp_path / "rows.parquet", StandoffRow))
    with pytest.raises(DataError, match=r"none\.parquet: cannot be read"):
        list(rows_in(tmp_path / "none.parquet", StandoffRow))


SPEAKERS = st.sampled_from([None, "Robin", "Alex"])
TEXTS = st.text("ab .", min_size=1, max_size=4).filter(str.strip)
DIALOGUES = st.lists(st.tuples(SPEAKERS, TEXTS), min_size=2, max_size=9)


def turns_of(dialogue: list[tuple[str | None, str]]) -> list[Turn]:
    return [Turn(f"meld/test/7/{index}", *turn) for index, turn in enumerate(dialogue)]


@given(DIALOGUES)
def test_equal_windows_have_other_hashes_under_another_salt_and_at_another_record(
    dialogue: list[tuple[str | None, str]],
) -> None:
    turns = turns_of(dialogue)
    elsewhere = [turn._replace(id=f"{turn.id}0") for turn in turns]
    hashes = [*window_hmacs(SALT, turns), *window_hmacs(OTHER_SALT, turns), *window_hmacs(SALT, elsewhere)]
    assert len(set(hashes)) == 3 * len(turns)
    assert window_hmacs(SALT, turns) == hashes[: len(turns)]


@given(DIALOGUES)
def test_no_hash_is_that_of_an_unsalted_window_or_of_one_utterance(
    dialogue: list[tuple[str | None, str]],
) -> None:
    turns = turns_of(dialogue)
    hashes = set(window_hmacs(SALT, turns))
    for place, turn in enumerate(turns):
        window = turns[max(0, place - 1) : place + 2]
        for part in ([turn], window):
            parts = [[one.speaker, one.text] for one in part]
            for value in (parts, [turn.id, parts], " ".join(one.text for one in part)):
                text = value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
                assert hashlib.sha256(text.encode()).hexdigest() not in hashes
        assert hmac_by_hand(bytes.fromhex(SALT), turn.text.encode()) not in hashes


def test_an_utterance_that_is_alone_has_no_hash() -> None:
    assert window_hmacs(SALT, [Turn("meld/test/7/0", "Robin", "Yeah.")]) == [None]


def rows_for(records: list[Record]) -> pa.Table:
    """Stand-off rows as `write_standoff` makes them, of one dialogue."""
    hashes = window_hmacs(SALT, [Turn(one.id, one.speaker, one.input) for one in records])
    table = columns_of(records).append_column("window_hmac", pa.array(hashes, pa.string()))
    return table.select(STANDOFF_COLUMNS)


def differences(records: list[Record], copy: list[Record]) -> list[Problem]:
    return find_differences(rows_for(records), [columns_of(copy)], SALT)


@given(st.data(), st.lists(TEXTS, min_size=2, max_size=9))
def test_a_change_of_any_one_utterance_is_named(
    dialogue_of: Callable[..., list[Record]], data: st.DataObject, texts: list[str]
) -> None:
    records = dialogue_of("meld/test/7", texts)
    place = data.draw(st.integers(0, len(records) - 1))
    field = data.draw(st.sampled_from(["input", "speaker"]))
    copy = [one.model_copy(update={field: "changed"}) if one is records[place] else one for one in records]
    found = differences(records, copy)
    named = [problem.where for problem in found]
    assert found
    assert named == ([records[place].id] if len(records) > 2 else [one.id for one in records])
    assert not differences(records, records)


@given(st.data(), st.lists(TEXTS, min_size=3, max_size=9))
def test_every_window_that_differs_is_explained(
    dialogue_of: Callable[..., list[Record]], data: st.DataObject, texts: list[str]
) -> None:
    """Of several changes each is named, or stands where what is named would look the same."""
    records = dialogue_of("meld/test/7", texts)
    places = data.draw(st.sets(st.integers(0, len(records) - 1), min_size=1))
    copy = [
        one.model_copy(update={"input": "changed"}) if place in places else one
        for place, one in enumerate(records)
    ]
    named = {int(problem.where.rpartition("/")[2]) for problem in differences(records, copy)}
    for place in places:
        assert any(abs(place - one) <= 2 for one in named)
    untouched = {one for one in range(len(records)) if all(abs(one - place) > 1 for place in places)}
    assert not untouched & named


@given(st.data(), st.lists(TEXTS, min_size=2, max_size=9))
def test_a_missing_and_an_additional_record_are_nobody_elses_fault(
    dialogue_of: Callable[..., list[Record]], data: st.DataObject, texts: list[str]
) -> None:
    records = dialogue_of("meld/test/7", texts)
    place = data.draw(st.integers(0, len(records) - 1))
    fewer = [one for one in records if one is not records[place]]
    if fewer:
        missing = differences(records, fewer)
        assert [problem.where for problem in missing] == [records[place].id]
        assert missing[0].code == "hydration.record_missing"
        additional = differences(fewer, records)
        assert [problem.where for problem in additional] == [records[place].id]
        assert additional[0].code == "hydration.record_unknown"


def test_swapped_utterances_are_both_named(dialogue_of: Callable[..., list[Record]]) -> None:
    records = dialogue_of("meld/test/7", ["One.", "Two.", "Three.", "Four.", "Five.", "Six."])
    third, fourth = records[2], records[3]
    copy = [*records]
    copy[2] = third.model_copy(update={"input": fourth.input, "speaker": fourth.speaker})
    copy[3] = fourth.model_copy(update={"input": third.input, "speaker": third.speaker})
    found = differences(records, copy)
    assert [problem.where for problem in found] == [third.id, fourth.id]


def test_a_changed_label_is_told_with_both_labels(dialogue_of: Callable[..., list[Record]]) -> None:
    records = dialogue_of("meld/test/7", ["One.", "Two.", "Three."])
    copy = [*records]
    copy[1] = records[1].model_copy(update={"output": "anger", "label": "anger", "source_label": "mad"})
    found = differences(records, copy)
    assert [(one.where, one.what, one.expected, one.got) for one in found] == [
        (records[1].id, "has another output", "neutral", "anger"),
        (records[1].id, "has another source_label", "neutral", "mad"),
    ]
    assert summary(found) == "1 with another label or time"


def test_a_hash_that_was_forged_names_its_own_record(dialogue_of: Callable[..., list[Record]]) -> None:
    records = dialogue_of("meld/test/7", ["One.", "Two.", "Three.", "Four.", "Five."])
    rows = rows_for(records)
    hashes = rows["window_hmac"].to_pylist()
    hashes[2] = "0" * 64
    rows = rows.set_column(rows.column_names.index("window_hmac"), "window_hmac", [hashes])
    found = find_differences(rows, [columns_of(records)], SALT)
    assert [problem.where for problem in found] == [records[2].id]
