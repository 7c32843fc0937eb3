"""Damaged CSV files: every kind of damage is named with its file and line, and what to do."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

import pytest

from dialoguellm_release.corpora.cells import MAX_PROBLEMS
from dialoguellm_release.corpora.readers import table
from dialoguellm_release.schemas.labels import CorpusName

if TYPE_CHECKING:
    from tests.corpora_readers.conftest import Corpora

MELD = "meld/train_sent_emo.csv"
EMORY = "emorynlp/emorynlp_dev_final.csv"
MEISD = "meisd/MEISD_text.csv"


def test_a_missing_column(corpora: Corpora) -> None:
    corpora.replace_in_line(MELD, 1, "Utterance,", "Utterence,")

    problem = corpora.problem("meld")

    assert problem.startswith(f"{MELD}:1: no column Utterance; is it Utterence?")
    assert "got: Sr No.,Utterence,Speaker,Emotion,Sentiment" in problem


def test_every_missing_column_is_named(corpora: Corpora) -> None:
    corpora.edit(MEISD, lambda content: content.partition(b"\n")[2])

    problems = corpora.problems("meisd")

    assert [problem.split("\n")[0] for problem in problems[:3]] == [
        f"{MEISD}:1: no column TV Series",
        f"{MEISD}:1: no column dialog_ids",
        f"{MEISD}:1: no column uttr_ids",
    ]


@pytest.mark.parametrize(
    ("name", "file", "label", "wrong", "nearest"),
    [
        ("meld", MELD, ",neutral,", ",nuetral,", "neutral"),
        ("emorynlp", EMORY, ",Neutral,", ",Powerfull,", "Powerful"),
        ("meisd", MEISD, ",neutral,neutral,", ",neutral,acceptence,", "acceptance"),
    ],
)
def test_an_unknown_label(
    corpora: Corpora, name: CorpusName, file: str, label: str, wrong: str, nearest: str
) -> None:
    lines = (corpora.root / file).read_text(encoding="utf-8").split("\n")
    line = next(number for number, text in enumerate(lines, 1) if label in text)
    corpora.replace_in_line(file, line, label, wrong)

    problem = corpora.problem(name)

    assert problem.startswith(f"{file}:{line}: unknown label")
    assert f"got: '{wrong.strip(',').split(',')[-1]}'" in problem
    assert f"to do: did you mean {nearest}?" in problem


def test_a_first_label_that_names_no_emotion(corpora: Corpora) -> None:
    corpora.replace_in_line(MEISD, 2, ",neutral,neutral,", ",neutral,l,")

    assert corpora.problem("meisd").startswith(f"{MEISD}:2: a label that names no emotion")


def test_a_quote_that_does_not_close(corpora: Corpora) -> None:
    def cut_in_a_quote(content: bytes) -> bytes:
        return content[: content.rindex(b'"') - 3]

    lines = (corpora.root / MELD).read_bytes().count(b"\n")
    corpora.edit(MELD, cut_in_a_quote)

    problem = corpora.problem("meld")

    assert problem.startswith(f"{MELD}:{lines}: not CSV in the row that begins here")
    assert "it may be cut off" in problem


def test_a_quote_early_in_the_file_that_does_not_close(corpora: Corpora) -> None:
    corpora.replace_in_line(EMORY, 4, ",", ',"x')
    corpora.edit(EMORY, lambda content: content.replace(b'"', b"'").replace(b",'x", b',"x'))

    assert any(
        problem.startswith(f"{EMORY}:4: not CSV in the row that begins here")
        for problem in corpora.problems("emorynlp")
    )


def test_a_file_cut_between_two_cells(corpora: Corpora) -> None:
    content = (corpora.root / MEISD).read_bytes()
    last = content.count(b"\n")
    corpora.edit(MEISD, lambda content: content[: content.rindex(b",00:")])

    problem = corpora.problem("meisd")

    assert problem.startswith(f"{MEISD}:{last}: the number of cells differs from the header's")
    assert "expected: 15 cells\n  got: 7 cells" in problem


def test_the_line_of_a_row_after_one_that_spans_lines(corpora: Corpora) -> None:
    path = corpora.root / EMORY
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    rows[1][0] = "two\nlines"
    rows[3].pop()
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)

    assert corpora.problem("emorynlp").startswith(f"{EMORY}:5: the number of cells differs")


@pytest.mark.parametrize(
    ("cell", "wrong", "what"),
    [
        (0, "", "Utterance is empty"),
        (1, "", "Speaker is not a list of names"),
        (1, "Ada", "Speaker is not a list of names"),
        (1, "[1]", "Speaker is not a list of names"),
        (1, "[]", "a turn needs a speaker with a name"),
        (1, "['']", "a turn needs a speaker with a name"),
        (3, "one", "Scene_ID is not a whole number"),
        (4, "-1", "Utterance_ID is not a whole number"),
        (4, "9" * 5000, "Utterance_ID is not a whole number"),
        (7, "00:61:00.000", "not a time"),
    ],
)
def test_a_wrong_cell(corpora: Corpora, cell: int, wrong: str, what: str) -> None:
    def damaged(content: bytes) -> bytes:
        lines = content.decode().split("\n")
        row = ["Fine.", "['Ada Dahl']", "Neutral", "99", "1", "1", "1", "00:00:01.000", "00:00:02.000"]
        row[cell] = wrong
        return "\n".join([lines[0], ",".join(row), *lines[1:]]).encode()

    corpora.edit(EMORY, damaged)

    assert corpora.problem("emorynlp").startswith(f"{EMORY}:2: {what}")


@pytest.mark.parametrize("rows_at_once", [2, 4_000])
@pytest.mark.parametrize(("name", "file"), [("meld", MELD), ("emorynlp", EMORY)])
def test_a_key_a_second_time(
    corpora: Corpora, monkeypatch: pytest.MonkeyPatch, name: CorpusName, file: str, rows_at_once: int
) -> None:
    monkeypatch.setattr(table, "ROWS_AT_ONCE", rows_at_once)

    def with_row_5_again(content: bytes) -> bytes:
        lines = content.split(b"\n")
        return b"\n".join([*lines[:-1], lines[4], b""])

    corpora.edit(file, with_row_5_again)
    last = (corpora.root / file).read_bytes().count(b"\n")

    problem = corpora.problem(name)

    assert problem.startswith(f"{file}:{last}: dialogue ")
    assert "a second time; first on line 5" in problem


@pytest.mark.parametrize("rows_at_once", [3, 4_000])
def test_rows_of_dialogues_may_be_anywhere(
    corpora: Corpora, monkeypatch: pytest.MonkeyPatch, rows_at_once: int
) -> None:
    def every_third_row_first(content: bytes) -> bytes:
        header, *rows = content.removesuffix(b"\n").split(b"\n")
        return b"\n".join([header, *rows[::3], *rows[2::3], *rows[1::3], b""])

    wanted = {(one.split, one.id): one for one in corpora.read("meld").dialogues}
    corpora.edit(MELD, every_third_row_first)
    monkeypatch.setattr(table, "ROWS_AT_ONCE", rows_at_once)

    got = corpora.read("meld")

    assert {(one.split, one.id): one for one in got.dialogues} == wanted
    assert got.notes.public_utterances["train"] == sum(
        len(one.utterances) for one in wanted.values() if one.split == "train"
    )


def test_a_dialogue_that_begins_again(corpora: Corpora) -> None:
    def with_a_late_row(content: bytes) -> bytes:
        lines = content.split(b"\n")
        return b"\n".join([*lines[:-1], lines[1], b""])

    corpora.edit(MEISD, with_a_late_row)
    last = (corpora.root / MEISD).read_bytes().count(b"\n")

    assert corpora.problem("meisd").startswith(
        f"{MEISD}:{last}: dialogue 1 begins a second time; first on line 2"
    )


def test_all_problems_of_all_files_at_once(corpora: Corpora) -> None:
    corpora.replace_in_line(MELD, 2, ",neutral,", ",nuetral,")
    corpora.edit("meld/dev_sent_emo.csv", lambda _: b"")
    corpora.edit("meld/test_sent_emo.csv", lambda content: content.replace(b",Speaker,", b",Who,"))

    places = [problem.split(": ")[0] for problem in corpora.problems("meld")]

    assert places == [f"{MELD}:2", "meld/dev_sent_emo.csv", "meld/test_sent_emo.csv:1"]


def test_many_problems_are_counted(corpora: Corpora) -> None:
    corpora.edit(MELD, lambda content: content.replace(b",neutral,neutral,", b",calm,neutral,"))
    lines = (corpora.root / MELD).read_bytes().count(b",calm,neutral,")

    problems = corpora.problems("meld")

    assert len(problems) == MAX_PROBLEMS + 1
    assert problems[-1] == f"and so on: {lines - MAX_PROBLEMS} more problems like these"
