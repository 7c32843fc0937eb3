"""Folders that do not hold the corpus, and files that are no text: each named, and what to do."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dialoguellm_release.corpora.cells import Notes
from dialoguellm_release.corpora.readers import read_corpus
from dialoguellm_release.corpora.registry import corpus_entry
from dialoguellm_release.errors import DataError
from dialoguellm_release.schemas.labels import CorpusName
from dialoguellm_release.schemas.recipes.dataset import CorpusRecipe
from tests.corpus_names import CORPORA

if TYPE_CHECKING:
    from tests.corpora_readers.conftest import Corpora

NOBODY = 65534
MELD = "meld/train_sent_emo.csv"
EMORY = "emorynlp/emorynlp_dev_final.csv"
DAILY = "dailydialog/train/dialogues_train.txt"
DAILY_LABELS = "dailydialog/train/dialogues_emotion_train.txt"
MEISD = "meisd/MEISD_text.csv"
SPOKEN = "iemocap/Session2/dialog/transcriptions/Ses02F_impro01.txt"


@contextmanager
def unprivileged(folder: Path) -> Iterator[None]:
    """A folder that this process may not read, though it may be root."""
    folder.chmod(0)
    if os.geteuid() == 0:
        os.seteuid(NOBODY)
        try:
            yield
        finally:
            os.seteuid(0)
            folder.chmod(0o755)
    else:
        yield
        folder.chmod(0o755)


@pytest.mark.parametrize("name", CORPORA)
def test_no_folder(corpora: Corpora, name: CorpusName) -> None:
    corpora[name].rename(corpora.root / "away")

    assert corpora.problem(name).startswith(f"{name}: cannot be read: No such file or directory")


def test_a_file_in_its_place(corpora: Corpora) -> None:
    corpora["meld"].rename(corpora.root / "away")
    corpora["meld"].write_text("no folder")

    assert corpora.problem("meld").startswith("meld: cannot be read: Not a directory")


def test_a_link_that_leads_to_itself(corpora: Corpora) -> None:
    corpora["meld"].rename(corpora.root / "away")
    corpora["meld"].symlink_to(corpora["meld"])

    problem = corpora.problem("meld")

    assert problem.startswith("meld: cannot be read: Too many levels of symbolic links")


def test_a_folder_without_permission(corpora: Corpora) -> None:
    corpora.read("meld")
    with unprivileged(corpora["meld"]):
        problem = corpora.problem("meld")

    assert problem.startswith("meld: cannot be read: Permission denied")


def test_a_file_that_cannot_be_read(corpora: Corpora) -> None:
    file = corpora.root / MELD
    file.unlink()
    file.symlink_to(file)

    problem = corpora.problem("meld")

    assert problem.startswith(f"{MELD}: cannot be read: Too many levels of symbolic links")


def test_a_folder_in_the_place_of_a_file(corpora: Corpora) -> None:
    (corpora.root / MEISD).unlink()
    (corpora.root / MEISD).mkdir()

    assert corpora.problem("meisd").startswith(f"{MEISD}: cannot be read: Is a directory")


def test_every_missing_file_is_named_before_a_dialogue_is_read(corpora: Corpora) -> None:
    for name in ("train", "test"):
        (corpora["meld"] / f"{name}_sent_emo.csv").unlink()

    with pytest.raises(DataError) as caught:
        read_corpus(corpus_entry("meld"), corpora["meld"], CorpusRecipe(), Notes())

    problems = [str(problem) for problem in caught.value.problems]
    assert [problem.rpartition("/")[2] for problem in problems[:2]] == [
        "train_sent_emo.csv: is missing",
        "test_sent_emo.csv: is missing",
    ]
    assert "does not hold the corpus" in problems[2]
    assert "put MELD here (https://affective-meld.github.io), or leave it out with --skip meld" in problems[2]


@pytest.mark.parametrize(
    ("name", "other"),
    [("meld", "emorynlp"), ("emorynlp", "meld"), ("dailydialog", "meisd"), ("meisd", "iemocap")],
)
def test_the_folder_of_another_corpus(corpora: Corpora, name: CorpusName, other: str) -> None:
    corpora[name].rename(corpora.root / "away")
    corpora[other].rename(corpora[name])

    problems = corpora.problems(name)

    assert problems[-1].startswith(f"{name}: looks like the folder of another corpus: {other}")


def test_missing_sessions(corpora: Corpora) -> None:
    (corpora["iemocap"] / "Session3").rename(corpora.root / "away")

    problems = corpora.problems("iemocap")

    assert problems[0] == "iemocap/Session3/dialog/transcriptions: is missing"
    assert problems[1] == "iemocap/Session3/dialog/EmoEvaluation: is missing"


def test_dailydialog_with_neither_folder_nor_zip(corpora: Corpora) -> None:
    (corpora["dailydialog"] / "test.zip").unlink()
    (corpora.root / DAILY_LABELS).unlink()

    problems = corpora.problems("dailydialog")

    assert problems[:3] == [
        f"{DAILY_LABELS}: is missing, and so is train.zip",
        "dailydialog/test/dialogues_test.txt: is missing, and so is test.zip",
        "dailydialog/test/dialogues_emotion_test.txt: is missing, and so is test.zip",
    ]


@pytest.mark.parametrize(("name", "file"), [("meld", MELD), ("dailydialog", DAILY), ("iemocap", SPOKEN)])
def test_an_empty_file(corpora: Corpora, name: CorpusName, file: str) -> None:
    corpora.edit(file, lambda _: b"\n")

    assert f"{file}: is empty" in corpora.problems(name)[0]


@pytest.mark.parametrize(("name", "file"), [("meld", MELD), ("dailydialog", DAILY), ("meisd", MEISD)])
def test_another_encoding(corpora: Corpora, name: CorpusName, file: str) -> None:
    offset = 0

    def with_a_cp1252_quote(content: bytes) -> bytes:
        nonlocal offset
        lines = content.split(b"\n")
        offset = len(b"\n".join(lines[:4])) + 6
        return content[:offset] + b"\x92" + content[offset:]

    corpora.edit(file, with_a_cp1252_quote)

    problem = corpora.problem(name)
    assert problem.startswith(f"{file}:5: not UTF-8: byte 0x92 at offset {offset}")
    assert "to do: convert the file to UTF-8" in problem


def test_utf16(corpora: Corpora) -> None:
    before = corpora.read("meld").dialogues
    corpora.edit(MELD, lambda content: content.decode().encode("utf-16"))

    assert corpora.read("meld").dialogues == before


def test_a_nul(corpora: Corpora) -> None:
    corpora.replace_in_line(EMORY, 3, ",", "\0,")

    assert corpora.problem("emorynlp").startswith(f"{EMORY}:3: a NUL byte at offset")
