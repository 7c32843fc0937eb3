"""Damaged files of DailyDialog: texts and labels that do not fit, and zips."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dialoguellm_release.corpora.fetch import MAX_MEMBER_BYTES

if TYPE_CHECKING:
    from tests.corpora_readers.conftest import Corpora

DAILY = "dailydialog/train/dialogues_train.txt"
DAILY_LABELS = "dailydialog/train/dialogues_emotion_train.txt"


def test_labels_that_do_not_fit(corpora: Corpora) -> None:
    corpora.replace_in_line(DAILY_LABELS, 3, "0 ", "")

    problem = corpora.problem("dailydialog")

    assert problem.startswith(f"{DAILY}:3: the number of utterances differs from that of the labels")
    assert "train/dialogues_emotion_train.txt" in problem
    assert "expected: 10 utterances\n  got: 11 utterances" in problem


def test_a_label_that_is_none(corpora: Corpora) -> None:
    corpora.replace_in_line(DAILY_LABELS, 3, "0 ", "7 ")

    problem = corpora.problem("dailydialog")

    assert problem.startswith(f"{DAILY_LABELS}:3: unknown label")
    assert "expected: 0 1 2 3 4 5 6\n  got: '7'" in problem


def test_a_text_cut_off(corpora: Corpora) -> None:
    corpora.edit(DAILY, lambda content: content[:-12])

    assert corpora.problem("dailydialog").startswith(f"{DAILY}:60: does not end with __eou__")


def test_fewer_lines_of_labels(corpora: Corpora) -> None:
    corpora.edit(DAILY_LABELS, lambda content: content.partition(b"\n")[2])

    problem = corpora.problem("dailydialog")

    assert problem.startswith(f"{DAILY_LABELS}: has not as many lines as train/dialogues_train.txt")
    assert "expected: 60 lines\n  got: 59 lines" in problem


def test_an_empty_utterance(corpora: Corpora) -> None:
    corpora.replace_in_line(DAILY, 2, "__eou__", "__eou__ __eou__")

    assert corpora.problem("dailydialog").startswith(f"{DAILY}:2: an utterance is empty")


@pytest.mark.parametrize("keep", [20, 3000])
def test_a_truncated_zip(corpora: Corpora, keep: int) -> None:
    corpora.edit("dailydialog/test.zip", lambda content: content[:keep])

    problem = corpora.problem("dailydialog")

    assert problem.startswith("dailydialog/test.zip: cannot be unzipped")
    assert "it may be cut off" in problem


def test_a_zip_with_a_hole(corpora: Corpora) -> None:
    whole = (corpora.root / "dailydialog/test.zip").read_bytes()
    for start in range(0, len(whole), 97):
        (corpora.root / "dailydialog/test.zip").write_bytes(whole[:start] + whole[start + 31 :])

        assert "dailydialog/test.zip" in corpora.problems("dailydialog")[0]


def test_a_zip_with_a_damaged_member(corpora: Corpora) -> None:
    corpora.edit("dailydialog/test.zip", lambda content: content.replace(b"__eou__", b"__EOU__", 1))

    problem = corpora.problem("dailydialog")

    assert problem.startswith("dailydialog/test.zip: cannot be unzipped: Bad CRC-32")


def test_a_zip_that_unpacks_to_far_too_much(corpora: Corpora) -> None:
    bomb = {"test/dialogues_test.txt": " " * (MAX_MEMBER_BYTES + 1)}
    corpora.edit("dailydialog/test.zip", lambda _: _zip(bomb))

    problem = corpora.problem("dailydialog")

    assert problem.startswith("dailydialog/test.zip: cannot be unzipped: members of")


def test_a_zip_without_a_member(corpora: Corpora) -> None:
    corpora.edit("dailydialog/test.zip", lambda _: _zip({"../dialogues_test.txt": "x", "readme.txt": "y"}))

    problems = corpora.problems("dailydialog")

    assert problems[0].startswith("dailydialog/test.zip/test/dialogues_test.txt: is not in the zip")
    assert len(problems) == 2


def test_a_fault_in_a_zip_names_the_member(corpora: Corpora) -> None:
    path = "test/dialogues_emotion_test.txt"
    members = _members(corpora.root / "dailydialog/test.zip")
    members[path] = f"9{members[path][1:]}"
    corpora.edit("dailydialog/test.zip", lambda _: _zip(members))

    assert "dailydialog/test.zip/test/dialogues_emotion_test.txt:1: unknown label" in corpora.problem(
        "dailydialog"
    )


def test_a_folder_and_a_zip_that_agree(corpora: Corpora) -> None:
    expected = corpora.read("dailydialog").dialogues
    _zip_the_train_folder(corpora, lambda text: text)

    read = corpora.read("dailydialog")

    assert read.dialogues == expected
    assert "dailydialog/train.zip" in read.notes.unknown_files


def test_a_folder_and_a_zip_that_differ(corpora: Corpora) -> None:
    _zip_the_train_folder(corpora, lambda text: text.replace("0", "4", 1))

    problem = corpora.problem("dailydialog")

    assert problem.startswith(f"{DAILY_LABELS}: differs from the same file in train.zip")


def _members(path: Path) -> dict[str, str]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name).decode() for name in archive.namelist()}


def _zip(members: dict[str, str]) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in members.items():
            archive.writestr(name, text)
    return content.getvalue()


def _zip_the_train_folder(corpora: Corpora, change_labels: Callable[[str], str]) -> None:
    texts = {path: (corpora.root / path).read_text(encoding="utf-8") for path in (DAILY, DAILY_LABELS)}
    texts[DAILY_LABELS] = change_labels(texts[DAILY_LABELS])
    members = {path.removeprefix("dailydialog/"): text for path, text in texts.items()}
    (corpora["dailydialog"] / "train.zip").write_bytes(_zip(members))
