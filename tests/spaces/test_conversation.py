"""What the app of the demo Space does with a conversation, without Gradio and without a model."""

from __future__ import annotations

import csv
import html
import io
import re
from collections.abc import Sequence
from pathlib import Path

import conversation
import pytest
from conversation import MOST_BYTES, MOST_TURNS, label_conversation, offered_adapters
from view import COLOURS, OTHER_COLOURS, UNSURE, View, problems

from dialoguellm_release.errors import DataError, Problem
from dialoguellm_release.predict.predictor import EmotionPredictor
from dialoguellm_release.predict.trained_model import LabelScores, TaskChoice
from dialoguellm_release.prompts import load_prompt
from dialoguellm_release.schemas.record import Record
from dialoguellm_release.schemas.release import AppAdapter

LABELS = ("anger", "neutral", "wistful")
ADAPTER = AppAdapter(adapter="somebody/adapter", revision="v1.0.0")
ATTACK = "<script>alert(1)</script><img src=x onerror=alert(2)> ${alert(3)} {{7*7}}"


class Words:
    """Answers by a word of the turn: a label that it names is likely."""

    def answers(self, records: Sequence[Record]) -> list[LabelScores]:
        return [
            LabelScores(tuple(0.0 if one in record.input else -2.0 for one in LABELS)) for record in records
        ]


@pytest.fixture
def temperature() -> float | None:
    return None


@pytest.fixture(autouse=True)
def _predictor(monkeypatch: pytest.MonkeyPatch, temperature: float | None) -> None:
    choice = TaskChoice(LABELS, LABELS, context_k=2)
    predictor = EmotionPredictor(Words(), load_prompt("dialogue-v1"), choice, temperature, "meld")
    monkeypatch.setattr(conversation, "predictor_of", lambda _adapter: predictor)


def write(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_chat_subtitles_and_tables_are_labelled_turn_by_turn(tmp_path: Path) -> None:
    chat = "Mira: anger!\nJonas: a neutral line\n\nMira: wistful"
    subtitles = "1\n00:00:01,500 --> 00:00:02,000\nMIRA: anger!\n\n2\n00:00:03,000 --> 00:00:04,000\nneutral"
    found = label_conversation(chat, None, ADAPTER, 0.0)
    assert [(row["speaker"], row["label"]) for row in found.rows] == [
        ("Mira", "anger"),
        ("Jonas", "neutral"),
        ("Mira", "wistful"),
    ]
    assert found.notes[0].startswith("2 conversations; in chat a blank line begins another")
    (arrow,) = label_conversation("Mira: home --> anger!", None, ADAPTER, 0.0).rows
    assert (arrow["speaker"], arrow["label"]) == ("Mira", "anger")
    for text, file in ((subtitles, None), ("", write(tmp_path / "train.srt", subtitles))):
        rows = label_conversation(text, file, ADAPTER, 0.0).rows
        assert [(row["start_s"], row["label"]) for row in rows] == [(1.5, "anger"), (3.0, "neutral")]
    table = write(tmp_path / "talk.csv", "speaker,text\nMira,anger!\nJonas,wistful\n")
    found = label_conversation("some text", table, ADAPTER, 0.0)
    assert [row["label"] for row in found.rows] == ["anger", "wistful"]
    assert found.notes[0] == "From talk.csv; the text was not used"


def test_the_table_has_every_turn_as_it_was_written() -> None:
    said = ['Mira: "anger", she said; =1+1', f"Jonas: {ATTACK}"]
    found = label_conversation("\n".join(said), None, ADAPTER, 0.0)
    rows = list(csv.DictReader(io.StringIO(found.csv().removeprefix("\ufeff"))))
    assert [f"{row['speaker']}: {row['text']}" for row in rows] == said
    assert [row["label"] for row in rows] == ["anger", "anger"]
    assert sum(float(rows[0][f"p_{label}"]) for label in LABELS) == pytest.approx(1)


@pytest.mark.parametrize("temperature", [None, 1.0])
def test_only_a_calibrated_adapter_leaves_out_what_is_not_sure(temperature: float | None) -> None:
    found = label_conversation("anger!\nanger or wistful", None, ADAPTER, 0.7)
    shown = View(found).html()
    if temperature is None:
        assert [row["label"] for row in found.rows] == ["anger", "anger"]
        assert any("not calibrated" in note and html.escape(note[1:]) in shown for note in found.notes)
    else:
        assert [row["label"] for row in found.rows] == ["anger", None]
        assert "not sure: below 70%" in shown
        assert "p_anger" in found.csv()


def test_what_a_visitor_writes_is_never_markup(tmp_path: Path) -> None:
    found = label_conversation(f"{ATTACK[:30]}: {ATTACK}", None, ADAPTER, 0.0)
    with pytest.raises(DataError) as caught:
        label_conversation("", write(tmp_path / "<b>bold.txt", ""), ADAPTER, 0.0)
    for shown in (View(found).html(), problems(caught.value.problems)):
        assert not {"<script", "<img", "<b"} & set(re.findall(r"<\w+", shown))
    assert html.escape(ATTACK) in View(found).html()


@pytest.mark.parametrize(
    ("text", "content", "code"),
    [
        (" \n ", None, "app.empty"),
        ("Mira: yes\n" * (MOST_TURNS + 1), None, "app.turns"),
        ("a" * (MOST_BYTES + 1), None, "app.bytes"),
        ("", b"a" * (MOST_BYTES + 1), "app.bytes"),
        ("", b"", "predict.empty_file"),
        ("", b"\x00\x01\x02", "predict.binary"),
        ("", "caf\u00e9".encode("latin-1"), "predict.encoding"),
        ("WEBVTT\n\n--> an arrow", None, "predict.times"),
    ],
)
def test_input_that_cannot_be_labelled_is_refused_by_name(
    tmp_path: Path, text: str, content: bytes | None, code: str
) -> None:
    file = tmp_path / "talk.txt"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(DataError) as caught:
        label_conversation(text, None if content is None else str(file), ADAPTER, 0.0)
    assert caught.value.problems[0].code == code
    assert 'role="alert"' in problems(caught.value.problems)


@pytest.mark.parametrize(
    ("text", "count"), [("Mira: anger!\n\nJonas: no\n\nMira: yes", 3), ("Mira: anger!", 1)]
)
def test_every_conversation_has_a_timeline(text: str, count: int) -> None:
    shown = View(label_conversation(text, None, ADAPTER, 0.0)).html()
    assert shown.count('<table class="timeline">') == count
    assert [f"Conversation {at + 1}<" in shown for at in range(3)] == [count == 3] * 3


@pytest.mark.parametrize("adapter", ["/srv/models/secret", "secret-owner/secret"])
def test_a_visitor_sees_no_folder_of_the_server(
    adapter: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_adapter: AppAdapter) -> None:
        raise DataError(Problem("/srv/models/secret/adapter_model.safetensors", "is damaged", code="a.b"))

    monkeypatch.setattr(conversation, "predictor_of", fail)
    with pytest.raises(DataError) as caught:
        label_conversation("Mira: yes", None, AppAdapter(adapter=adapter), 0.0)
    assert [one.code for one in caught.value.problems] == ["app.model"]
    assert "/srv" not in problems(caught.value.problems)
    assert "/srv/models/secret/adapter_model.safetensors" in capsys.readouterr().err


def test_the_adapters_come_from_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    published = '{"adapter": "a/b", "revision": "v1.0.0", "corpus": "c"}'
    listed = f'{{"adapters": [{published}, {{"adapter": "/some/where/tiny"}}]}}'
    monkeypatch.setenv("DLM_APP_ADAPTERS", write(tmp_path / "adapters.json", listed))
    assert list(offered_adapters()) == ["a/b · c", "tiny"]


def luminance(colour: str) -> float:
    """Relative luminance, by WCAG 2.2."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def test_white_can_be_read_on_every_colour() -> None:
    for colour in (*COLOURS.values(), *OTHER_COLOURS, UNSURE):
        assert 1.05 / (luminance(colour) + 0.05) >= 4.5, colour


def test_the_examples_can_be_labelled() -> None:
    for said in conversation.examples().values():
        assert len({row["speaker"] for row in label_conversation(said, None, ADAPTER, 0.0).rows}) == 2


@pytest.mark.corpora
def test_no_line_of_the_examples_is_from_a_corpus(corpora_dir: Path) -> None:
    said = [
        row["text"].encode()
        for text in conversation.examples().values()
        for row in label_conversation(text, None, ADAPTER, 0.0).rows
        if len(row["text"].split()) > 3
    ]
    files = [path for path in corpora_dir.rglob("*") if path.suffix in (".csv", ".json", ".jsonl", ".txt")]
    assert len(said) > 15
    assert len(files) > 10
    for path in files:
        content = path.read_bytes()
        assert not [line for line in said if line in content], path
