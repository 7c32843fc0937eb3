"""Hydration without some corpora, and one cause for many records (case N12)."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from dialoguellm_release.errors import DataError, Problem
from dialoguellm_release.records import read_records
from dialoguellm_release.schemas.dataset_manifest import DatasetManifest
from dialoguellm_release.schemas.labels import SPLITS, CorpusName
from dialoguellm_release.step import StepResult
from dialoguellm_release.steps.dataset import build_dataset, check_dataset, hydrate_dataset
from tests.dataset.copies import MELD_TEST, read_rows, write_rows

Dataset = StepResult[DatasetManifest]

pytestmark = pytest.mark.usefixtures("without_figures")


@pytest.mark.parametrize("skip", ["meisd", "meld", "emorynlp"])
def test_a_corpus_that_is_left_out_needs_no_copy(
    plain_dataset: Dataset, plain_copy: Path, own: Path, tmp_path: Path, skip: CorpusName
) -> None:
    if skip != "emorynlp":
        shutil.rmtree(own / skip)
    made = hydrate_dataset(plain_copy, own, tmp_path / "out", skip=[skip])
    assert check_dataset(made.folder) == []
    left = [name for name in plain_dataset.manifest.figures.corpora if name != skip]
    assert list(made.manifest.figures.corpora) == left
    assert skip in made.manifest.figures.skipped
    for name in left:
        for split in SPLITS:
            whole = list(read_records(plain_dataset.folder, name, split))
            expected = [
                one.model_copy(
                    update={
                        "leaks": tuple(leak for leak in one.leaks or () if not leak.startswith(f"{skip}/"))
                    }
                )
                for one in whole
            ]
            assert list(read_records(made.folder, name, split)) == expected


def test_it_is_the_dataset_of_a_build_without_the_corpus(
    plain_copy: Path, plain_dataset: Dataset, own: Path, synthetic_dir: Path, tmp_path: Path
) -> None:
    skipped = {*plain_dataset.manifest.figures.skipped, "meisd"}
    built = build_dataset("demo", synthetic_dir, tmp_path / "built", skip=sorted(skipped))
    made = hydrate_dataset(plain_copy, own, tmp_path / "out", skip=["meisd"])
    assert made.manifest.content_sha256 == built.manifest.content_sha256


def test_what_is_not_published_at_all_is_proven_by_its_files(
    publish: Callable[..., Path], plain_dataset: Dataset, own: Path, tmp_path: Path
) -> None:
    copy = publish(plain_dataset, tmp_path / "copy", {"emorynlp"})
    hydrate_dataset(copy, own, tmp_path / "out", skip=["meisd"])
    (own / MELD_TEST).write_bytes((own / MELD_TEST).read_bytes() + b"\r\n")
    assert problems_of(copy, own, tmp_path / "other", skip="meisd")[0].code == "hydration.not_proven"
    found = problems_of(copy, own, tmp_path / "other", skip="meld")
    assert [(one.where, one.code) for one in found] == [("meisd", "hydration.not_proven")]


def test_an_unknown_corpus_is_named(plain_copy: Path, own: Path, tmp_path: Path) -> None:
    assert problems_of(plain_copy, own, tmp_path / "out", skip="mled")[0].code == "corpora.unknown_name"


def test_one_cause_stands_for_the_records_of_a_split(plain_copy: Path, own: Path, tmp_path: Path) -> None:
    rows = read_rows(own / MELD_TEST)
    speaker = rows[0].index("Speaker")
    write_rows(
        own / MELD_TEST, [rows[0], *([*row[:speaker], "Nobody", *row[speaker + 1 :]] for row in rows[1:])]
    )
    found = problems_of(plain_copy, own, tmp_path / "out")
    assert [(one.where, one.code) for one in found[1:]] == [("meld/test", "hydration.split_differs")]
    assert f"records have another text or speaker, of {len(rows) - 1:,} in the build" in found[1].what


def test_a_lost_end_of_a_file_is_one_problem_and_a_changed_record_is_named(
    plain_copy: Path, own: Path, tmp_path: Path
) -> None:
    rows = read_rows(own / MELD_TEST)
    text = rows[0].index("Utterance")
    changed = [*rows[1][:text], "Something else entirely.", *rows[1][text + 1 :]]
    write_rows(own / MELD_TEST, [rows[0], changed, *rows[2 : len(rows) // 3]])
    found = problems_of(plain_copy, own, tmp_path / "out")
    assert ("meld/test", "hydration.split_differs") in [(one.where, one.code) for one in found]
    assert any(one.where.startswith("meld/test/") for one in found)
    assert len(found) < 8


def problems_of(copy: Path, own: Path, out: Path, skip: str | None = None) -> tuple[Problem, ...]:
    with pytest.raises(DataError) as raised:
        hydrate_dataset(copy, own, out, skip=[skip] if skip else [])
    assert not out.exists()
    return raised.value.problems
