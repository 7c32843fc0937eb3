from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dialoguellm_release.dataset.records import RowWriter, record_table
from dialoguellm_release.errors import DataError, Problem
from dialoguellm_release.folders import read_manifest, stamps, write_manifest
from dialoguellm_release.record_columns import columns_of, record_schema
from dialoguellm_release.records import read_records, record_files
from dialoguellm_release.schemas.dataset_manifest import DatasetManifest
from dialoguellm_release.schemas.labels import Split
from dialoguellm_release.schemas.record import Record

RecordsOf = Callable[[Split, int], list[Record]]
DatasetOf = Callable[[Path, Mapping[Split, Sequence[Record]]], Path]
FILE = "data/meld/train-clean-00000-of-00001.parquet"


@pytest.fixture
def dataset(tmp_path: Path, records_of: RecordsOf, dataset_of: DatasetOf) -> Path:
    return dataset_of(tmp_path / "dataset", {"train": records_of("train", 9), "test": records_of("test", 2)})


def restamped(dataset: Path) -> Path:
    """The dataset after its files were changed on purpose, manifest and all."""
    manifest = read_manifest(dataset, DatasetManifest)
    write_manifest(dataset, manifest.model_copy(update={"outputs": stamps(dataset)}))
    return dataset


def change(dataset: Path, column: str, values: pa.Array) -> Path:
    table = pq.read_table(dataset / FILE)
    place = table.schema.get_field_index(column)
    pq.write_table(table.set_column(place, column, values), dataset / FILE)
    return restamped(dataset)


@pytest.mark.parametrize("config", ["default", "meld"])
def test_reads_back_what_was_written(dataset: Path, config: str, records_of: RecordsOf) -> None:
    assert list(read_records(dataset, config, "train")) == records_of("train", 9)
    assert [file.path for file in record_files(dataset, config, "train")] == [FILE]


def test_further_columns_may_follow(dataset: Path, records_of: RecordsOf) -> None:
    table = pq.read_table(dataset / FILE)
    pq.write_table(table.append_column("split_origin", pa.array(["here"] * 9)), dataset / FILE)
    assert list(read_records(restamped(dataset), "meld", "train")) == records_of("train", 9)


def test_a_config_or_split_without_records_is_refused(dataset: Path) -> None:
    refused: list[tuple[str, Split]] = [("iemocap", "train"), ("meld", "validation"), ("sft", "train")]
    for config, split in refused:
        assert problem_of(dataset, config, split).code == "records.no_such_config"
    assert problem_of(dataset, "iemocap", "train").expected == "config default or clean or meld"


def test_a_missing_or_changed_file_is_refused(dataset: Path) -> None:
    test_file = dataset / FILE.replace("train", "test")
    with (dataset / FILE).open("ab") as file:
        file.write(b"x")
    assert problem_of(dataset, "meld", "train").code == "records.file_changed"
    test_file.unlink()
    problem = problem_of(dataset, "meld", "test")
    assert (problem.code, problem.fix) == ("records.file_missing", "build the dataset again")


def test_a_folder_without_manifest_is_no_dataset(tmp_path: Path) -> None:
    with pytest.raises(DataError):
        record_files(tmp_path, "meld", "train")


def test_what_is_no_parquet_is_refused(dataset: Path) -> None:
    (dataset / FILE).write_bytes(b"PAR1, but not really")
    assert problem_of(restamped(dataset)).code == "records.not_parquet"


def test_missing_columns_are_named(dataset: Path) -> None:
    pq.write_table(pq.read_table(dataset / FILE).drop_columns(["speaker", "leaks"]), dataset / FILE)
    problem = problem_of(restamped(dataset))
    assert problem.code == "records.columns_missing"
    assert "speaker, leaks" in problem.what


@pytest.mark.parametrize(("row", "label"), [(6, 99), (7, -1), (1, None)])
def test_a_label_outside_the_vocabulary_is_named_by_row(dataset: Path, row: int, label: int | None) -> None:
    labels = pq.read_table(dataset / FILE)["label"].to_pylist()
    labels[row - 1] = label
    problem = problem_of(change(dataset, "label", pa.array(labels)))
    assert (problem.code, problem.got) == ("records.unknown_label", repr(label))
    assert problem.where.endswith(f"{FILE}, row {row}")


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("input", ["a", "b", "", "d", "e", "f", "g", "h", "i"]),
        ("dialogue_id", [*"ab", None, *"defghi"]),
        ("utterance_index", [0, 1, None, *range(3, 9)]),
    ],
)
def test_a_row_that_is_no_record_is_named(dataset: Path, column: str, values: list[object]) -> None:
    kept = pq.read_table(dataset / FILE)[column].to_pylist()
    problem = problem_of(change(dataset, column, pa.array([*kept[:2], values[2], *kept[3:]])))
    assert problem.code == "records.not_a_record"
    assert problem.where.endswith(f"{FILE}, row 3")
    assert column in problem.what


def problem_of(dataset: Path, config: str = "meld", split: Split = "train") -> Problem:
    with pytest.raises(DataError) as raised:
        list(read_records(dataset, config, split))
    return raised.value.problems[0]


def parts(records: Sequence[Record], seed: int) -> dict[str, list[Record]]:
    """Records in the three parts of a split, in a random order."""
    names, found = random.Random(seed), dict[str, list[Record]]()
    for record in names.sample(records, len(records)):
        found.setdefault(names.choice(["clean", "leaked", "repeated"]), []).append(record)
    return found


@pytest.mark.parametrize("seed", range(5))
def test_records_come_in_one_order_whatever_parts_and_files_hold_them(
    dataset: Path, records_of: RecordsOf, seed: int
) -> None:
    written = records_of("train", 9)
    names = ["2", "2", "10", "10", "10", "s01_e2", "s01_e10", "s01_e10", "07"]
    moved = [
        Record.model_validate(
            one.model_dump()
            | {"dialogue_id": name, "utterance_index": place, "id": f"meld/train/{name}/{place}"}
        )
        for place, (name, one) in enumerate(zip(names, written, strict=True))
    ]
    (dataset / FILE).unlink()
    for part, held in parts(moved, seed).items():
        with RowWriter(dataset / f"data/meld/train-{part}-00000.parquet", record_schema()) as rows:
            rows.add(record_table(columns_of(held)))
    expected = [*moved[:2], moved[8], *moved[2:8]]
    assert [one.id for one in read_records(restamped(dataset), "default", "train")] == [
        one.id for one in expected
    ]
    assert list(read_records(dataset, "meld", "train")) == expected
