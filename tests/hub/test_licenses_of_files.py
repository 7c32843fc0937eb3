"""No file of a build lets a text leave that the registry keeps in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dialoguellm_release.dataset.records import RowWriter
from dialoguellm_release.layout import DataFile
from dialoguellm_release.record_columns import sft_schema
from dialoguellm_release.schemas.corpus import Distribution
from dialoguellm_release.schemas.record import SFT_COLUMNS
from tests.hub.rights import (
    DATASET,
    RIGHT,
    publish,
    rebuilt,
    refused,
    remade,
    with_rights,
)

if TYPE_CHECKING:
    from tests.hub.conftest import Build


def put_records(folder: Path) -> Path:
    """Text of MEISD where text of MELD may stand."""
    path = folder / DataFile("meld", "train", "clean").path
    path.write_bytes((folder / DataFile("meisd", "train", "clean").path).read_bytes())
    return path


def put_split(folder: Path) -> Path:
    path = folder / DataFile("meld", "train", "clean").path
    path.write_bytes((folder / DataFile("meld", "test", "clean").path).read_bytes())
    return path


def put_one_row(folder: Path) -> Path:
    path = folder / DataFile("meld", "test", "clean", "sft").path
    rows = pq.read_table(path).to_pydict()
    with RowWriter(path, sft_schema()) as writer:
        more = {
            name: [*rows[name], rows[name][0] if name != "id" else "meisd/test/0/0"] for name in SFT_COLUMNS
        }
        writer.add(pa.table(more, sft_schema()))
    return path


def put_further_file(folder: Path) -> Path:
    path = folder / "data/meld/train-leaked-00001.parquet"
    path.write_bytes((folder / DataFile("meisd", "train", "clean").path).read_bytes())
    return path


def put_no_id(folder: Path) -> Path:
    path = folder / DataFile("meld", "test", "clean", "sft").path
    with RowWriter(path, sft_schema()) as writer:
        writer.add(pa.table({name: [None] for name in SFT_COLUMNS}, sft_schema()))
    return path


def put_no_table(folder: Path) -> Path:
    path = folder / DataFile("meld", "test", "clean").path
    path.write_bytes(b"A line of MEISD.")
    return path


def test_a_data_file_with_a_column_of_its_own_is_refused(build: Build, target: Path) -> None:
    path = build.path / "dataset" / DataFile("meld", "test", "clean").path
    table = pq.read_table(path)
    pq.write_table(table.append_column("notes", [["A line of MEISD."] * len(table)]), path)
    remade(build)
    (problem,) = refused(build, target)
    assert problem.startswith(f"{path}: has other columns than a build writes")
    assert "leaks, notes" in problem


@pytest.mark.parametrize("distribution", ["full", "standoff"])
@pytest.mark.parametrize(
    "put", [put_records, put_split, put_one_row, put_further_file, put_no_id, put_no_table]
)
def test_a_data_file_that_holds_other_rows_than_its_path_says_is_refused(
    build: Build, target: Path, put: Callable[[Path], Path], distribution: Distribution
) -> None:
    if distribution == "standoff":
        rebuilt(build, meld="standoff", meisd="full")
        with_rights(build, meisd=RIGHT)
    path = put(build.path / "dataset")
    remade(build)
    (problem,) = refused(build, target, "public" if distribution == "full" else "private")
    assert problem.startswith(f"{path}: ")
    assert "another corpus or split than its path says" in problem or "cannot be read" in problem


@pytest.mark.parametrize(
    "path",
    [
        "standoff/meisd/train-00000.parquet",
        "data/meld/meisd/train-clean-00000.parquet",
        "data/MELD/train-clean-00000.parquet",
        "data/meld/train-clean-00000.parquet.bak",
        "Data/meld/train-clean-00000.parquet",
        "LICENSE.md/meisd.txt",
        "figures/meisd.json",
        "audit/meisd.parquet",
    ],
)
def test_a_file_with_a_path_of_its_own_does_not_leave(build: Build, target: Path, path: str) -> None:
    file = build.path / "dataset" / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"A line of MEISD.")
    remade(build)
    (problem,) = refused(build, target)
    assert problem.startswith(
        f"{file}: belongs to no corpus, so it is unknown whether its text may be redistributed"
    )


def test_what_the_build_says_of_itself_is_rendered_anew(build: Build, target: Path) -> None:
    for name in ("README.md", "LICENSE.md", "croissant.json"):
        (build.path / "dataset" / name).write_text("A line of MEISD.", encoding="utf-8")
    remade(build)
    publish(build.recipe, build.path, target)
    for name in ("README.md", "LICENSE.md", "croissant.json"):
        assert "A line of MEISD." not in (target / DATASET / name).read_text(encoding="utf-8")
