from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dialoguellm_release.errors import DataError
from dialoguellm_release.folders import read_manifest, stamps, write_manifest
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
    with pytest.raises(DataError, match="no records of config iemocap, split train") as raised:
        list(read_records(dataset, "iemocap", "train"))
    assert raised.value.problems[0].expected == "config default or clean or meld"
    with pytest.raises(DataError, match="split validation"):
        list(read_records(dataset, "meld", "validation"))


def test_a_missing_or_changed_file_is_refused(dataset: Path) -> None:
    test_file = dataset / FILE.replace("train", "test")
    with (dataset / FILE).open("ab") as file:
        file.write(b"x")
    with pytest.raises(DataError, match="not the file that the manifest lists"):
        list(read_records(dataset, "meld", "train"))
    test_file.unlink()
    with pytest.raises(DataError, match="not there") as raised:
        list(read_records(dataset, "meld", "test"))
    assert raised.value.problems[0].fix == "build the dataset again"


def test_a_folder_without_manifest_is_no_dataset(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no dataset folder here"):
        record_files(tmp_path, "meld", "train")


def test_what_is_no_parquet_is_refused(dataset: Path) -> None:
    (dataset / FILE).write_bytes(b"PAR1, but not really")
    with pytest.raises(DataError, match="not a Parquet file"):
        list(read_records(restamped(dataset), "meld", "train"))


def test_missing_columns_are_named(dataset: Path) -> None:
    pq.write_table(pq.read_table(dataset / FILE).drop_columns(["speaker", "leaks"]), dataset / FILE)
    with pytest.raises(DataError, match="lacks the columns speaker, leaks"):
        list(read_records(restamped(dataset), "meld", "train"))


def test_a_label_outside_the_vocabulary_is_named_by_row(dataset: Path) -> None:
    change(dataset, "label", pa.array([0, 1, 2, 3, 4, 99, 6, 0, 1]))
    with pytest.raises(DataError, match=r"row 6: label is no class id") as raised:
        list(read_records(dataset, "meld", "train"))
    assert raised.value.problems[0].got == "99"


def test_a_negative_label_is_no_label(dataset: Path) -> None:
    change(dataset, "label", pa.array([0, 1, 2, 3, 4, 5, -1, 0, 1]))
    with pytest.raises(DataError, match=r"row 7: label is no class id"):
        list(read_records(dataset, "meld", "train"))


def test_a_row_that_is_no_record_is_named(dataset: Path) -> None:
    change(dataset, "input", pa.array(["a", "b", "", "d", "e", "f", "g", "h", "i"]))
    with pytest.raises(DataError, match=r"row 3: input: ") as raised:
        list(read_records(dataset, "meld", "train"))
    assert raised.value.problems[0].got == "''"
