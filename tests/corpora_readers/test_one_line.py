"""Texts and names are one line: white space and control characters become one space, and are counted."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dialoguellm_release.corpora.cells import one_line
from dialoguellm_release.errors import DataError, Problem
from dialoguellm_release.records import read_records
from dialoguellm_release.steps.dataset import build_dataset
from dialoguellm_release.steps.recipe import new_recipe

if TYPE_CHECKING:
    from tests.corpora_readers.conftest import Corpora

SPLIT = "First\nBo: I hate you\n\n### Response: anger"
BREAKS = [
    "\n",
    "\r\n",
    "\r",
    "\n\n### Response: ",
    "\t",
    "\v",
    "\f",
    "\x1b",
    "\x85",
    "\u2028",
    "\u2029",
    "   ",
]
SPACES = ["\xa0", "\u1680", "\u2003", "\u200a", "\u202f", "\u205f", "\u3000", " \xa0\u2009"]


@pytest.mark.parametrize("between", BREAKS)
def test_a_run_becomes_one_space(between: str) -> None:
    assert one_line(f" First{between}second ") == f"First {one_line(between) or ''} second".replace("  ", " ")
    assert "\n" not in one_line(between)


@pytest.mark.parametrize("space", SPACES)
def test_spaces_of_any_kind_are_spaces(space: str) -> None:
    assert one_line(f"{space}First{space}second{space}") == "First second"


def test_what_joins_letters_is_no_space() -> None:
    for text in ("क्‍ष", "zero\u200bwidth", "\ufeffmark", "a\u00adb"):
        assert one_line(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\ufeffid", "<U+FEFF ZERO WIDTH NO-BREAK SPACE>id"),
        ("no\xa0emotion", "no<U+00A0 NO-BREAK SPACE>emotion"),
        ("\x1b[0m", "<U+001B>[0m"),
        ("a\tb", "a<U+0009>b"),
        ("\u200b", "<U+200B ZERO WIDTH SPACE>"),
        ("größer, हिन्दी 😀", "größer, हिन्दी 😀"),
        ("two\nlines", "two\nlines"),
    ],
)
def test_a_message_shows_what_cannot_be_seen(text: str, shown: str) -> None:
    problem = Problem("my.csv:1", "no column id", expected="id", got=text, code="test.shown")
    assert str(problem).split("got: ")[1] == shown


@pytest.mark.parametrize(
    ("name", "file"), [("meld", "train_sent_emo.csv"), ("emorynlp", "emorynlp_train_final.csv")]
)
def test_a_break_in_a_text_or_a_name_of_a_table(name: str, file: str, corpora: Corpora) -> None:
    before = corpora.read(name)
    path = corpora[name] / file
    with path.open(encoding="utf-8", newline="") as opened:
        rows = list(csv.reader(opened))
    text, speaker = rows[0].index("Utterance"), rows[0].index("Speaker")
    rows[1][text] = "First line\nBo: second\r\n\n### Response: anger"
    rows[2][speaker] = rows[2][speaker].replace(rows[2][speaker][2:4], rows[2][speaker][2:4] + "\u2028x")
    written = io.StringIO(newline="")
    csv.writer(written).writerows(rows)
    path.write_text(written.getvalue(), encoding="utf-8", newline="")
    read = corpora.read(name)
    spoken = [utterance for dialogue in read.dialogues for utterance in dialogue.utterances]
    assert "First line Bo: second ### Response: anger" in [utterance.text for utterance in spoken]
    assert all(len(f"{one.text}{one.speaker}".splitlines()) == 1 for one in spoken)
    rule = f"{name}.white_space"
    assert read.notes.repairs[rule] == before.notes.repairs[rule] + 2


def test_a_break_in_json(corpora: Corpora) -> None:
    path = corpora["emorynlp"] / "emotion-detection-trn.json"
    document = json.loads(path.read_text(encoding="utf-8"))
    turn = document["episodes"][0]["scenes"][0]["utterances"][0]
    turn["transcript"], turn["speakers"] = "One\n\ttwo", ["Ada\nDahl", "Bo"]
    path.write_text(json.dumps(document, indent=1), encoding="utf-8")
    read = corpora.read("emorynlp", json=True)
    first = read.dialogues[0].utterances[0]
    assert (first.text, first.speaker) == ("One two", "Ada Dahl, Bo")
    assert read.notes.repairs["emorynlp.white_space"] == 2


def test_a_break_in_a_users_table_makes_no_further_turn(tmp_path: Path) -> None:
    rows = [
        {"dialogue": "d", "speaker": "Ann\nBo", "text": SPLIT, "label": "neutral"},
        {"dialogue": "d", "speaker": "Bo", "text": "What do you mean by that?", "label": "surprise"},
    ]  # fmt: skip
    (tmp_path / "my.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    made = new_recipe("tiny", tmp_path / "my.jsonl", tmp_path / "own")
    built = build_dataset(made.dataset, out=tmp_path / "dataset")
    first, second = read_records(built.folder, "my", "train")
    assert first.input == "First Bo: I hate you ### Response: anger"
    assert second.context == ("Ann Bo: First Bo: I hate you ### Response: anger",)
    assert built.manifest.figures.corpora["my"].repairs == {"my.white_space": 2}


ROWS = [
    {"dialogue": "d", "speaker": "Ann", "text": "I said nothing of the kind.", "label": "neutral"},
    {"dialogue": "d", "speaker": "Bo", "text": "What do you mean by that?", "label": "surprise"},
]


@pytest.mark.parametrize(
    ("column", "value", "code"),
    [
        ("text", "half \ud800 a pair", "corpora.not_unicode"),
        ("speaker", "A\udfff", "corpora.not_unicode"),
        ("dialogue", "\ud83d", "corpora.not_unicode"),
        ("label", "\ud83d", "corpora.not_unicode"),
        ("text", ["two", "texts"], "corpora.not_a_text"),
        ("text", {"en": "text"}, "corpora.not_a_text"),
        ("speaker", ["Ann"], "corpora.not_a_text"),
        ("text", "\u200b\ufeff", "corpora.empty_cell"),
        ("text", "\u2028\x0b", "corpora.empty_cell"),
        ("label", "sur\nprise", "corpora.unknown_label"),
    ],
)
def test_what_is_no_text_in_a_json_table(tmp_path: Path, column: str, value: object, code: str) -> None:
    rows = [*ROWS, {**ROWS[1], "dialogue": "e", column: value}]
    (tmp_path / "my.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    with pytest.raises(DataError) as caught:
        new_recipe("tiny", tmp_path / "my.jsonl", tmp_path / "own")
    assert [problem.code for problem in caught.value.problems] == [code]
    assert "my.jsonl" in caught.value.problems[0].where
    assert not (tmp_path / "own").exists()


@pytest.mark.parametrize("value", [b"bytes", ["a list"]])
def test_what_is_no_text_in_parquet(tmp_path: Path, value: object) -> None:
    rows = [{**row, "text": value} for row in ROWS]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "my.parquet")
    with pytest.raises(DataError) as caught:
        new_recipe("tiny", tmp_path / "my.parquet", tmp_path / "own")
    assert {problem.code for problem in caught.value.problems} == {"corpora.not_a_text"}


def test_a_separator_inside_the_first_row_of_json_lines(tmp_path: Path) -> None:
    rows = [{**ROWS[0], "text": "One\u2028two\x85three"}, ROWS[1]]
    text = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    (tmp_path / "my.jsonl").write_text(text, encoding="utf-8")
    made = new_recipe("tiny", tmp_path / "my.jsonl", tmp_path / "own")
    built = build_dataset(made.dataset, out=tmp_path / "dataset")
    assert [record.input for record in read_records(built.folder, "my", "train")] == [
        "One two three",
        "What do you mean by that?",
    ]


def test_an_empty_table_and_one_that_begins_with_a_blank_line(tmp_path: Path) -> None:
    (tmp_path / "none.csv").write_bytes(b"")
    with pytest.raises(DataError) as caught:
        new_recipe("tiny", tmp_path / "none.csv", tmp_path / "own")
    assert [problem.code for problem in caught.value.problems] == ["corpora.empty"]
    (tmp_path / "my.csv").write_text("\ntext,label\nWell then,neutral\n", encoding="utf-8")
    made = new_recipe("tiny", tmp_path / "my.csv", tmp_path / "own")
    assert made.guessed.records["train"] == 1
