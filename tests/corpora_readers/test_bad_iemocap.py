"""Damaged files of IEMOCAP."""

from __future__ import annotations

from typing import TYPE_CHECKING

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

    assert corpora.problem("iemocap").endswith("transcriptions: holds no .txt file")
