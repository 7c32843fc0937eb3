"""Damaged files of IEMOCAP."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dialoguellm_release.errors import DataError

if TYPE_CHECKING:
    from tests.corpora_readers.conftest import Corpora

SPOKEN = "iemocap/Session2/dialog/transcriptions/Ses02F_impro01.txt"
EVALUATED = "iemocap/Session2/dialog/EmoEvaluation/Ses02F_impro01.txt"


def test_a_missing_evaluation(corpora: Corpora) -> None:
    (corpora.root / EVALUATED).unlink()

    assert corpora.problem("iemocap").startswith(f"{EVALUATED}: cannot be read: No such file")


def test_an_unknown_label(corpora: Corpora) -> None:
    corpora.replace_in_line(EVALUATED, 3, "\t[", "x\t[")

    assert corpora.problem("iemocap").startswith(f"{EVALUATED}:3: unknown label")


def test_a_damaged_evaluation(corpora: Corpora) -> None:
    corpora.replace_in_line(EVALUATED, 3, "\t", " ")

    problem = corpora.problem("iemocap")

    assert problem.startswith(f"{EVALUATED}:3: not the first line of an evaluation")


def test_a_turn_a_second_time(corpora: Corpora) -> None:
    corpora.edit(SPOKEN, lambda content: content + content.partition(b"\n")[0] + b"\n")

    problem = corpora.problem("iemocap")

    assert "turn Ses02F_impro01_F000 a second time; first on line 1" in problem


def test_a_labelled_turn_without_text(corpora: Corpora) -> None:
    def without_text(content: bytes) -> bytes:
        first, _, rest = content.partition(b"\n")
        return first.partition(b"]:")[0] + b"]: \n" + rest

    corpora.edit(SPOKEN, without_text)

    assert corpora.problem("iemocap").startswith(f"{SPOKEN}:1: the text of the turn is empty")


def test_a_folder_without_texts(corpora: Corpora) -> None:
    folder = corpora["iemocap"] / "Session4" / "dialog" / "transcriptions"
    for file in folder.iterdir():
        file.unlink()

    assert "transcriptions: holds no .txt file" in corpora.problems("iemocap")[0]


def codes(corpora: Corpora, name: str) -> list[str]:
    with pytest.raises(DataError) as caught:
        corpora.read(name)
    return [problem.code for problem in caught.value.problems]


def test_an_evaluation_without_transcription(corpora: Corpora) -> None:
    (corpora.root / SPOKEN).unlink()
    assert codes(corpora, "iemocap") == ["corpora.transcription_missing"]
    (corpora.root / EVALUATED).unlink()
    assert corpora.read("iemocap").dialogues


@pytest.mark.parametrize("content", [b"Ses02F_impro01 said nothing\n", b"\n\n \n.\n"])
def test_a_dialogue_of_which_no_line_could_be_read(content: bytes, corpora: Corpora) -> None:
    (corpora.root / SPOKEN).write_bytes(content)
    assert codes(corpora, "iemocap") == ["corpora.unread_dialogue"]


def test_an_evaluation_of_no_turn_or_of_other_turns(corpora: Corpora) -> None:
    before = (corpora.root / EVALUATED).read_bytes()
    (corpora.root / EVALUATED).write_bytes(b"% nothing here\n")
    assert codes(corpora, "iemocap") == ["corpora.unread_dialogue"]
    (corpora.root / EVALUATED).write_bytes(before.replace(b"Ses02F_impro01", b"Ses02F_impro09"))
    assert codes(corpora, "iemocap") == ["corpora.unread_dialogue"]


@pytest.mark.parametrize(
    ("name", "file"), [("meld", "dev_sent_emo.csv"), ("emorynlp", "emorynlp_test_final.csv")]
)
def test_a_split_without_a_dialogue(name: str, file: str, corpora: Corpora) -> None:
    corpora.edit(f"{name}/{file}", lambda content: content.partition(b"\n")[0] + b"\n")
    assert codes(corpora, name) == ["corpora.empty_split"]


def test_a_corpus_without_a_dialogue(corpora: Corpora) -> None:
    corpora.edit("meisd/MEISD_text.csv", lambda content: content.partition(b"\n")[0] + b"\n")
    assert codes(corpora, "meisd") == ["corpora.empty"]
