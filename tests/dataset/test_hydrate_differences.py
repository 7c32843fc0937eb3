"""A copy that is not the one of the build: every record that differs is named, and no other."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from dialoguellm_release.folders import read_manifest
from dialoguellm_release.schemas.dataset_manifest import DatasetManifest
from dialoguellm_release.schemas.record import Record
from dialoguellm_release.step import StepResult
from dialoguellm_release.steps.dataset import build_dataset, hydrate_dataset
from tests.dataset.copies import (
    MELD_TEST,
    a_record,
    append_dialogue,
    edit,
    in_the_middle,
    read_rows,
    replace_file,
    restamp,
    told,
    write_rows,
)

Dataset = StepResult[DatasetManifest]

pytestmark = pytest.mark.usefixtures("without_figures")


@pytest.mark.parametrize("corpus", ["meld", "meisd"])
def test_one_changed_utterance_is_named_and_no_other(
    corpus: str, plain_dataset: Dataset, plain_copy: Path, own: Path, tmp_path: Path
) -> None:
    record = a_record(plain_dataset, corpus, in_the_middle)
    name = "MEISD_text.csv" if corpus == "meisd" else "test_sent_emo.csv"
    edit(own / corpus / name, record.input, f"{record.input[:-1]} indeed.")
    said = told(plain_copy, own, tmp_path / "out")
    assert f"{own / corpus}: not the files of the build; records: 1 with another text or speaker" in said
    assert f"{corpus}/{name} of" in said
    assert f"\n{record.id}: has another text or speaker" in said
    assert said.count("has another") == 1


def test_a_changed_label_is_named_with_both(
    plain_dataset: Dataset, plain_copy: Path, own: Path, tmp_path: Path
) -> None:
    record = a_record(
        plain_dataset, "meld", lambda turns, place: turns[place].source_label == "joy" and place > 0
    )
    path = own / MELD_TEST
    [line] = [line for line in path.read_bytes().decode().splitlines() if record.input in line]
    edit(path, line, line.replace(",joy,", ",anger,"))
    said = told(plain_copy, own, tmp_path / "out")
    assert f"{record.id}: has another output\n  expected: happiness\n  got: anger" in said
    assert f"{record.id}: has another source_label\n  expected: joy\n  got: anger" in said
    assert "records: 1 with another label or time" in said


def test_swapped_utterances_are_named(
    plain_dataset: Dataset, plain_copy: Path, own: Path, tmp_path: Path
) -> None:
    turns: list[Record] = []

    def is_before_another_text(dialogue: list[Record], place: int) -> bool:
        turns[:] = dialogue[place : place + 2]
        return in_the_middle(dialogue, place) and turns[0].input not in turns[1].input

    first = a_record(plain_dataset, "meisd", is_before_another_text)
    rows = read_rows(own / "meisd" / "MEISD_text.csv")
    column = rows[0].index("Utterances")
    place = next(place for place, row in enumerate(rows) if row[column] == first.input)
    rows[place][column], rows[place + 1][column] = rows[place + 1][column], rows[place][column]
    write_rows(own / "meisd" / "MEISD_text.csv", rows)
    said = told(plain_copy, own, tmp_path / "out")
    assert "records: 2 with another text or speaker" in said
    assert all(f"\n{record.id}: has another text or speaker" in said for record in turns)


def test_a_copy_that_was_cut_off_is_named_with_what_is_missing(
    plain_copy: Path, own: Path, tmp_path: Path
) -> None:
    path = own / MELD_TEST
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-30]))
    said = told(plain_copy, own, tmp_path / "out")
    assert f"{own / 'meld'}: not the files of the build; records: 30 missing" in said
    assert "meld/test_sent_emo.csv of" in said
    assert said.count("is in the dataset, but not in your copy") == 30


def test_records_that_were_added_are_named(plain_copy: Path, own: Path, tmp_path: Path) -> None:
    append_dialogue(own / MELD_TEST, "9999", "What else?")
    said = told(plain_copy, own, tmp_path / "out")
    assert "meld/test/9999/0: is not in the dataset, but in your copy" in said
    assert "records: 1 additional" in said


def test_of_a_corpus_without_rows_the_split_is_named(
    publish: Callable[..., Path], plain_dataset: Dataset, own: Path, synthetic_dir: Path, tmp_path: Path
) -> None:
    copy = publish(plain_dataset, tmp_path / "copy", {"emorynlp", "meisd"})
    record = a_record(plain_dataset, "meld", in_the_middle)
    edit(own / MELD_TEST, record.input, "Quite something else.")
    said = told(copy, own, tmp_path / "out")
    assert said.startswith("meld/test: its records are not those of the build: not the files of the build")
    digest = plain_dataset.manifest.figures.corpora["meld"].content_sha256["test"]
    assert f"content {digest}" in said
    assert "meisd/" not in said
    shutil.copy(synthetic_dir / MELD_TEST, own / MELD_TEST)
    assert hydrate_dataset(copy, own, tmp_path / "out").folder.is_dir()


def test_a_corpus_is_not_blamed_for_what_another_changes_in_its_leaks(
    publish: Callable[..., Path], plain_dataset: Dataset, own: Path, tmp_path: Path
) -> None:
    copy = publish(plain_dataset, tmp_path / "copy", {"emorynlp"})
    for path in (own / "meld").iterdir():
        rows = read_rows(path)
        column = rows[0].index("Utterance")
        for row in rows[1:]:
            row[column] += " As I said before, and say once more."
        write_rows(path, rows)
    said = told(copy, own, tmp_path / "out")
    assert [line.split(":")[0] for line in said.splitlines() if ": its records" in line] == [
        "meld/train",
        "meld/validation",
        "meld/test",
    ]


def test_the_text_of_an_utterance_that_is_alone_can_only_be_one_of_a_few(
    publish: Callable[..., Path], own: Path, synthetic_dir: Path, tmp_path: Path
) -> None:
    """Such a record has no hash; the hash of its split tells that one of them differs."""
    shutil.copytree(synthetic_dir, tmp_path / "theirs")
    append_dialogue(tmp_path / "theirs" / MELD_TEST, "9999", "Yeah.")
    append_dialogue(own / MELD_TEST, "9999", "Yes.")
    built = build_dataset("demo", tmp_path / "theirs", tmp_path / "built", skip=["dailydialog", "iemocap"])
    copy = publish(built, tmp_path / "copy", {"emorynlp", "meisd"}, {"meld"})
    said = told(copy, own, tmp_path / "out")
    assert said.startswith("meld/test: its records are not those of the build: one that is alone")
    assert "meld/test/9999/0" in said
    assert "meisd" not in said


def test_files_of_the_build_that_another_version_reads_otherwise_are_told_apart(
    plain_copy: Path, own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dialoguellm_release.corpora.readers import table

    copy = tmp_path / "copy"
    shutil.copytree(plain_copy, copy)
    created = read_manifest(copy, DatasetManifest).created_by
    monkeypatch.setattr(table, "c1_as_cp1252", str.upper)
    said = told(copy, own, tmp_path / "out")
    assert "these are the files of the build: the published copy was changed after it" in said
    restamp(copy, created_by=created | {"dialoguellm-release": "0.0.7"})
    said = told(copy, own, tmp_path / "out")
    assert "these are the files of the build, but another version of this package read them" in said
    assert "to do: pip install dialoguellm-release==0.0.7" in said


def test_a_hash_that_was_forged_does_not_blame_the_files_of_the_build(
    plain_copy: Path, own: Path, tmp_path: Path
) -> None:
    import pyarrow.parquet as pq

    copy = tmp_path / "copy"
    shutil.copytree(plain_copy, copy)
    path = copy / "standoff" / "meld" / "test-00000.parquet"
    table = pq.read_table(path)
    hashes = table["window_hmac"].to_pylist()
    hashes[3] = "0" * 64
    place = table.column_names.index("window_hmac")
    pq.write_table(table.set_column(place, table.schema.field(place), [hashes]), path)
    restamp(copy)
    said = told(copy, own, tmp_path / "out")
    assert "these are the files of the build: the published copy was changed after it" in said
    assert f"{table['id'][3].as_py()}: has another text or speaker" in said


@pytest.mark.corpora
def test_a_real_copy_that_differs_is_named_record_by_record(
    paper_dataset: Dataset, real_copy: Path, real_own: Path, tmp_path: Path
) -> None:
    changed = a_record(paper_dataset, "dailydialog", in_the_middle)
    for split in ("train", "validation", "test"):
        (real_own / "dailydialog" / f"{split}.zip").unlink()
    texts = real_own / "dailydialog" / "test" / "dialogues_test.txt"
    content = texts.read_bytes().decode()
    assert content.count(changed.input) == 1
    replace_file(texts, content.replace(changed.input, f"{changed.input} Indeed .").encode())
    meisd = real_own / "meisd" / "MEISD_text.csv"
    lines = meisd.read_bytes().splitlines(keepends=True)
    replace_file(meisd, b"".join(lines[:-300]))
    said = told(real_copy, real_own, tmp_path / "out")
    assert f"{changed.id}: has another text or speaker" in said
    assert said.count("has another text") == 1
    assert f"{real_own / 'dailydialog'}: not the files of the build" in said
    assert f"{real_own / 'meisd'}: not the files of the build" in said
    assert f"{said.count('is in the dataset, but not in your copy'):,} missing" in said
    assert "meisd/MEISD_text.csv of 2073936 bytes" in said
