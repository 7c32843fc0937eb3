"""`dataset check`: each kind of damage is found and named."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dialoguellm_release.folders import read_manifest, stamps, write_manifest
from dialoguellm_release.layout import AUDIT
from dialoguellm_release.schemas.dataset_manifest import DatasetManifest
from dialoguellm_release.step import StepResult
from dialoguellm_release.steps.dataset import check_dataset
from tests.corpus_names import CORPORA

DATA = "data/meld/test-clean-00000.parquet"
SFT = "sft/test-meld-clean-00000.parquet"


@pytest.fixture
def dataset(demo_dataset: StepResult[DatasetManifest], tmp_path: Path) -> Path:
    """A copy of the demo's dataset that a test may damage."""
    shutil.copytree(demo_dataset.folder, tmp_path / "dataset")
    return tmp_path / "dataset"


def told(dataset: Path) -> str:
    return "\n".join(map(str, check_dataset(dataset)))


def edit_rows(path: Path, change: Callable[[list[dict[str, Any]]], Any]) -> None:
    """Changes the rows of a Parquet file."""
    table = pq.read_table(path)
    rows = table.to_pylist()
    change(rows)
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), path)


def restamp(dataset: Path) -> None:
    """Makes the manifest agree with the files, as one would who hides a change."""
    manifest = read_manifest(dataset, DatasetManifest)
    write_manifest(dataset, manifest.model_copy(update={"outputs": stamps(dataset)}))


def test_a_whole_dataset_has_no_problem(dataset: Path) -> None:
    assert check_dataset(dataset) == []


@pytest.mark.corpora
def test_the_real_dataset_has_no_problem(paper_dataset: StepResult[DatasetManifest]) -> None:
    assert check_dataset(paper_dataset.folder) == []


def test_a_changed_byte_is_found_and_named(dataset: Path) -> None:
    path = dataset / DATA
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    said = told(dataset)
    assert f"{path}: is not the file that was made" in said
    assert "README" not in said


def test_missing_and_foreign_files_are_named(dataset: Path) -> None:
    (dataset / SFT).unlink()
    (dataset / "notes.txt").write_text("x")
    said = told(dataset)
    assert f"{dataset / SFT}: is missing, but the manifest lists it" in said
    assert f"{dataset / 'notes.txt'}: is not in the manifest" in said
    assert "meld/test: its sft table cannot be read" in said


def relabel(rows: list[dict[str, Any]]) -> None:
    rows[3].update(label=7, output="powerful")


def drop_a_row(rows: list[dict[str, Any]]) -> None:
    del rows[3]


def double_a_row(rows: list[dict[str, Any]]) -> None:
    rows[3] = rows[2]


def reword(rows: list[dict[str, Any]]) -> None:
    rows[3].update(input="Something else altogether.")


def look_ahead(rows: list[dict[str, Any]]) -> None:
    rows[3].update(context=[f"{rows[4]['speaker']}: {rows[4]['input']}"])


def relicense(rows: list[dict[str, Any]]) -> None:
    rows[3].update(license="MIT")


def reinstruct(rows: list[dict[str, Any]]) -> None:
    rows[3].update(instruction="Guess.")


def contradict(rows: list[dict[str, Any]]) -> None:
    rows[3].update(output="fear", label=1)


HIDDEN: dict[Callable[[list[dict[str, Any]]], None], list[str]] = {
    relabel: ["its label is outside its label space", "labels are not the manifest's"],
    drop_a_row: [
        "dialogues and records are not the manifest's",
        "its context is not the utterances before it",
    ],
    double_a_row: ["is there more than once", "content are not the manifest's"],
    reword: ["content are not the manifest's", "its sft row is not its rendering"],
    look_ahead: ["its context is not the utterances before it"],
    relicense: ["has another license", "expected: GPL-3.0-only", "got: MIT"],
    reinstruct: ["its instruction is not the prompt's"],
    contradict: [f"{DATA}, row 4: ", "output and label differ"],
}


@pytest.mark.parametrize("change", HIDDEN, ids=lambda change: change.__name__)
def test_a_change_that_was_hidden_in_the_manifest_is_found(
    change: Callable[[list[dict[str, Any]]], None], dataset: Path
) -> None:
    edit_rows(dataset / DATA, change)
    restamp(dataset)
    said = told(dataset)
    for part in HIDDEN[change]:
        assert part in said
    assert "its records are not those of the build" in said


LEAKED = "data/meld/test-leaked-00000.parquet"


@pytest.mark.parametrize(
    ("leaks", "said"),
    [
        ([], "got: none"),
        (None, "got: null, or no splits"),
        (["meld/trian"], "got: null, or no splits"),
        (["iemocap/train"], "got: iemocap/train"),
    ],
)
def test_leaks_that_are_not_what_an_audit_finds(dataset: Path, leaks: list[str] | None, said: str) -> None:
    def change(rows: list[dict[str, Any]]) -> None:
        assert rows[2]["leaks"] not in ([], leaks)
        rows[2]["leaks"] = leaks

    edit_rows(dataset / LEAKED, change)
    restamp(dataset)
    assert "its leaks are not what an audit finds" in told(dataset)
    assert said in told(dataset)


def test_rows_in_the_wrong_part(dataset: Path) -> None:
    """A leaking row among the clean ones, its `sft` row as well."""
    for one, other in ((LEAKED, DATA), (LEAKED.replace("data/meld/test", "sft/test-meld"), SFT)):
        moved: list[dict[str, Any]] = []
        edit_rows(dataset / one, lambda rows, moved=moved: moved.append(rows.pop(0)))  # type: ignore[misc]
        edit_rows(dataset / other, lambda rows, moved=moved: rows.extend(moved))  # type: ignore[misc]
    restamp(dataset)
    said = told(dataset)
    assert "is in the wrong part" in said
    assert "expected: leaked" in said
    assert "got: clean" in said
    assert "sft" not in said
    assert "its records are not those of the build" not in said


def test_a_row_that_stands_in_two_parts(dataset: Path) -> None:
    moved: list[dict[str, Any]] = []
    edit_rows(dataset / LEAKED, lambda rows: moved.append(rows[0]))
    edit_rows(dataset / DATA, lambda rows: rows.extend(moved))
    restamp(dataset)
    assert f"{moved[0]['id']}: is there more than once" in told(dataset)


def test_an_audit_that_is_not_that_of_the_records(dataset: Path) -> None:
    path = dataset / AUDIT
    path.write_text(
        path.read_text(encoding="utf-8").replace('"utterances_found": 0', '"utterances_found": 1', 1)
    )
    restamp(dataset)
    assert [one.where for one in check_dataset(dataset)] == [str(path)]
    path.write_text("{}")
    restamp(dataset)
    assert "is not what an audit finds" in told(dataset)


def test_counts_that_are_not_those_of_the_records(dataset: Path) -> None:
    manifest = read_manifest(dataset, DatasetManifest)
    figures = manifest.figures
    assert figures.audit is not None
    meld = figures.corpora["meld"]
    parts = meld.parts | {"train": meld.parts["train"].model_copy(update={"duplicates": 99})}
    corpora = figures.corpora | {"meld": meld.model_copy(update={"parts": parts})}
    audit = figures.audit.model_copy(update={"pairs_without_overlap": 99})
    changed = figures.model_copy(update={"corpora": corpora, "audit": audit})
    write_manifest(dataset, manifest.model_copy(update={"figures": changed}))
    said = told(dataset)
    assert "meld/train: its parts are not the manifest's" in said
    assert "the manifest's audit is not what an audit finds" in said


def test_an_sft_row_that_was_changed_is_found(dataset: Path) -> None:
    edit_rows(dataset / SFT, lambda rows: rows[0].update(completion=" joy"))
    restamp(dataset)
    said = told(dataset)
    assert "its sft row is not its rendering" in said
    assert "'completion': ' joy'" in said


def test_a_card_whose_configs_miss_a_file_is_found(dataset: Path) -> None:
    card = dataset / "README.md"
    card.write_text(
        card.read_text(encoding="utf-8").replace("data/meld/test-clean-*", "data/meld/tests-clean-*")
    )
    restamp(dataset)
    said = told(dataset)
    assert "no file matches" in said
    assert f"no config reads {DATA}" in said


def test_of_many_problems_the_first_are_shown(dataset: Path) -> None:
    edit_rows(dataset / DATA, lambda rows: [row.update(license="MIT") for row in rows])
    restamp(dataset)
    said = told(dataset)
    assert said.count("has another license") == 5
    assert "more problems of this kind" in said


def test_a_published_copy_is_checked_by_what_it_holds(
    demo_dataset: StepResult[DatasetManifest], tmp_path: Path
) -> None:
    from dialoguellm_release.corpora.registry import corpus_entry
    from dialoguellm_release.hub.licenses import publishable_part

    registry = {name: corpus_entry(name) for name in CORPORA}
    part = publishable_part(demo_dataset.manifest, registry, "public", demo_dataset.folder)
    copy = tmp_path / "copy"
    for file in part.outputs:
        (copy / file.path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(demo_dataset.folder / file.path, copy / file.path)
    shutil.copy(demo_dataset.folder / "README.md", copy / "README.md")
    write_manifest(copy, part.model_copy(update={"outputs": stamps(copy)}))
    problems = [one for one in check_dataset(copy) if not one.where.startswith("README.md")]
    assert problems == []
    edit_rows(copy / DATA, reword)
    assert "its records are not those of the build" in told(copy)
