"""Files in, files out: each format, in the order of the input, nothing dropped; runs that are resumed."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dialoguellm_release import EmotionPredictor, ReleaseError, Turn, predict_file
from dialoguellm_release.folders import write_text
from dialoguellm_release.predict import files, reading
from dialoguellm_release.predict.reading import InputTurn, chat_turns, subtitle_turns
from dialoguellm_release.schemas.record import Record

TALK = [
    ("1", "Robin", "I heard about the house."),
    ("1", "Alex", "I am happy because of the house!"),
    ("2", "Alex", ""),
    ("2", "Robin", "I am angry, because of the dog"),
    ("1", "Robin", "They said yes!"),
]
HEADER = ["Conversation_ID", "speaker", "Utterance"]
CHAT = "Robin: I heard about the house.\nAlex: I am happy!\n\n\nAlex:\njust text at 10:30\n"
SRT = """\
1
00:00:01,000 --> 00:00:02,500
ROBIN: I heard about <i>the house</i>.

2
00:01:00,5 --> 00:01:02,000
- I am happy!
- They said: yes!

Still the same cue.
"""
VTT = """\
WEBVTT - a title

NOTE a remark

STYLE
::cue { color: red }

intro
00:01.000 --> 00:02.500 align:start
<v Robin>I heard about the house.</v>
<v.loud Alex>I am happy &amp; glad!
"""


def table(path: Path, rows: Sequence[Sequence[str]]) -> Path:
    """A table of turns in the format of its name."""
    objects = [dict(zip(HEADER, row, strict=True)) for row in rows]
    match path.suffix:
        case ".jsonl":
            path.write_text("".join(json.dumps(one) + "\n" for one in objects), encoding="utf-8")
        case ".json":
            path.write_text(json.dumps(objects), encoding="utf-8")
        case ".parquet":
            pq.write_table(pa.Table.from_pylist(objects), path, row_group_size=2)
        case _:
            with path.open("w", newline="", encoding="utf-8") as file:
                csv.writer(file, delimiter="\t" if path.suffix == ".tsv" else ",").writerows([HEADER, *rows])
    return path


def read(path: Path) -> list[dict[str, Any]]:
    """The rows of predictions, as JSON has them."""
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    if path.suffix == ".parquet":
        rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
        return rows
    with path.open(newline="", encoding="utf-8") as file:
        plain = [{name: cell or None for name, cell in row.items()} for row in csv.DictReader(file)]
    numbers = ("line", "turn", "start_s", "end_s", "margin")
    return [
        {
            name: float(cell) if cell and (name in numbers or name.startswith("p_")) else cell
            for name, cell in row.items()
        }
        for row in plain
    ]


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".jsonl", ".json", ".parquet"])
def test_a_table_in_its_order_with_mixed_conversations(
    ending: str, predictor: EmotionPredictor, tmp_path: Path
) -> None:
    made = predict_file(table(tmp_path / f"talk{ending}", TALK), predictor, tmp_path / "out.jsonl")
    rows = read(made.out)
    assert [(one["conversation"], one["speaker"], one["text"]) for one in rows] == TALK
    assert [one["turn"] for one in rows] == [0, 1, 0, 1, 2]
    assert (rows[2]["label"], rows[2]["reason"]) == (None, "the turn has no text")
    first, second, third = predictor([Turn(text, name) for which, name, text in TALK if which == "1"])
    (alone,) = predictor([Turn(TALK[3][2], TALK[3][1])])
    expected = [first, second, alone, third]
    for row, one in zip([row for row in rows if row["label"]], expected, strict=True):
        assert row["label"] == one.label
        ours = {label: row[f"p_{label}"] for label in predictor.labels}
        assert ours == pytest.approx(one.probabilities, abs=1e-6)
        assert row["margin"] == pytest.approx(one.margin, abs=1e-6)
    assert (made.turns, made.counts["without label"]) == (5, 1)
    assert "not calibrated" in made.warnings[0]


def test_each_output_says_the_same(predictor: EmotionPredictor, tmp_path: Path) -> None:
    source = table(tmp_path / "talk.csv", TALK)
    found = [
        read(predict_file(source, predictor, tmp_path / f"out{ending}").out)
        for ending in (".csv", ".jsonl", ".parquet")
    ]
    assert [{k: v or None for k, v in one.items()} for one in found[1]] == [
        {k: v or None for k, v in one.items()} for one in found[0]
    ]
    assert found[1] == found[2]
    assert b"Regulation (EU) 2024/1689" in pq.read_schema(tmp_path / "out.parquet").metadata[b"limits_of_use"]


def said(turns: Sequence[object]) -> list[tuple[Any, ...]]:
    return [
        (one.conversation, one.turn.speaker, one.turn.text, one.turn.start_s, one.turn.end_s)
        for one in turns
        if isinstance(one, InputTurn)
    ]


def test_plain_chat() -> None:
    assert said(list(chat_turns(CHAT.splitlines(keepends=True)))) == [
        ("1", "Robin", "I heard about the house.", None, None),
        ("1", "Alex", "I am happy!", None, None),
        ("2", "Alex", "", None, None),
        ("2", None, "just text at 10:30", None, None),
    ]


@pytest.mark.parametrize(
    ("line", "speaker", "text"),
    [
        ("[12:30] Alex: hi", "Alex", "hi"),
        ("(9:05:59 PM) Alex: hi", "Alex", "hi"),
        ("\u200e[12.03.24, 12:30:15] Alex: hi", "Alex", "hi"),
        ("12/03/2024, 12:30 - Alex: hi", "Alex", "hi"),
        ("2024-03-12 12:30 Alex: [1:00] hi", "Alex", "[1:00] hi"),
        ("[12:30] hi", None, "[12:30] hi"),
        ("12:30", None, "12:30"),
        ("[aside] Alex: hi", "[aside] Alex", "hi"),
    ],
)
def test_the_stamp_of_an_exported_chat_is_no_speaker(line: str, speaker: str | None, text: str) -> None:
    assert [row[1:3] for row in said(list(chat_turns([line])))] == [(speaker, text)]


def test_subtitles() -> None:
    assert said(list(subtitle_turns(SRT.splitlines(keepends=True), "a.srt"))) == [
        ("1", "ROBIN", "I heard about the house.", 1.0, 2.5),
        ("1", None, "- I am happy! - They said: yes! Still the same cue.", 60.5, 62.0),
    ]
    assert said(list(subtitle_turns(VTT.splitlines(keepends=True), "a.vtt"))) == [
        ("1", "Robin", "I heard about the house.", 1.0, 2.5),
        ("1", "Alex", "I am happy & glad!", 1.0, 2.5),
    ]
    two = ["00:01.000 --> 00:02.000\n", "- I am happy!\n", "– They said: yes!\n"]
    assert [text for _, _, text, *_ in said(list(subtitle_turns(two, "a.vtt")))] == [
        "I am happy!",
        "They said: yes!",
    ]


NO_BLANK = """1
00:00:01,000 --> 00:00:02,000
I <3 you <i>so</i> much, 2 < 3
2
100:59:59,999 --> 101:00:00,000
42

NOTEBOOK is a word
3
00:00:05,000 --> 00:00:06,000
No.
"""
NOTES = """WEBVTT

00:01.000 --> 00:02.000
<v Tom &amp; Ann>Hi <00:01.500><c.x>there</c>

NOTE 00:01 is early

00:03.000 --> 00:04.000
go --> there
"""


def test_no_text_of_subtitles_is_lost_or_of_another_cue() -> None:
    assert said(list(subtitle_turns(NO_BLANK.splitlines(keepends=True), "a.srt"))) == [
        ("1", None, "I <3 you so much, 2 < 3", 1.0, 2.0),
        ("1", None, "42 NOTEBOOK is a word", 363_599.999, 363_600.0),
        ("1", None, "No.", 5.0, 6.0),
    ]
    assert said(list(subtitle_turns(NOTES.splitlines(keepends=True), "a.vtt"))) == [
        ("1", "Tom & Ann", "Hi there", 1.0, 2.0),
        ("1", None, "go --> there", 3.0, 4.0),
    ]


def test_the_colon_of_chinese_chat() -> None:
    lines = ["小红：你好\n", "10：30 见\n", "小明 : 好的\n"]
    assert [(who, text) for _, who, text, *_ in said(list(chat_turns(lines)))] == [
        ("小红", "你好"),
        (None, "10：30 见"),
        ("小明", "好的"),
    ]


def test_a_conversation_that_goes_on_too_late_is_refused(
    stub: Callable[..., EmotionPredictor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (files, reading):
        monkeypatch.setattr(module, "MAX_OPEN", 2)
    source, order = tmp_path / "a.csv", ("a", "b", "a", "c", "a", "c")
    source.write_text("dialogue,text\n" + "".join(f"{one},Yes.\n" for one in order), encoding="utf-8")
    assert predict_file(source, stub(), tmp_path / "out.csv").turns == len(order)
    source.write_text(source.read_text(encoding="utf-8") + "b,Yes.\n", encoding="utf-8")
    with pytest.raises(ReleaseError) as raised:
        predict_file(source, stub(), tmp_path / "late.csv")
    assert (raised.value.problems[0].code, raised.value.problems[0].where) == (
        "predict.too_mixed",
        f"{source}:8",
    )


def test_an_output_that_cannot_be(stub: Callable[..., EmotionPredictor], tmp_path: Path) -> None:
    source, folder = tmp_path / "a.csv", tmp_path / "folder.csv"
    source.write_text("text\nYes.\n", encoding="utf-8")
    folder.mkdir()
    for out, code in {
        folder: "predict.not_a_file",
        source: "predict.output_is_input",
        source / "below.csv": "predict.not_written",
        tmp_path / ("x" * 250 + ".csv"): "predict.not_written",
    }.items():
        with pytest.raises(ReleaseError) as raised:
            predict_file(source, stub(), out, replace=True)
        assert raised.value.problems[0].code == code
    assert sorted(tmp_path.iterdir()) == [source, folder]


class Stopping:
    """Answers with fixed scores, and stops at a call with an exception; counts what it was asked."""

    def __init__(self, labels: int, error: BaseException | None = None, at: int = 0) -> None:
        self.labels, self.error, self.at, self.calls = labels, error, at, 0

    def answers(self, records: Sequence[Record]) -> list[Any]:
        from dialoguellm_release.predict.trained_model import LabelScores

        self.calls += 1
        if self.error is not None and self.calls == self.at:
            raise self.error
        return [
            LabelScores(tuple(-abs(len(one.input) % self.labels - place) for place in range(self.labels)))
            for one in records
        ]


@pytest.fixture
def stub(predictor: EmotionPredictor, monkeypatch: pytest.MonkeyPatch) -> Callable[..., EmotionPredictor]:
    """A predictor with fixed scores that answers three turns at once, and may stop at a call."""
    monkeypatch.setattr(files, "AT_ONCE", 3)

    def make(error: BaseException | None = None, at: int = 0) -> EmotionPredictor:
        answerer = Stopping(len(predictor.labels), error, at)
        return EmotionPredictor(answerer, predictor._prompt, predictor.choice, identity={"model": "stub"})

    return make


LONG = [(str(place // 4), "Alex", "word " * (place % 9 + 1)) for place in range(11)]


@pytest.mark.parametrize("ending", [".csv", ".jsonl", ".parquet"])
@pytest.mark.parametrize("at", [1, 2, 4])
def test_an_interrupted_run_goes_on(
    at: int, ending: str, stub: Callable[..., EmotionPredictor], tmp_path: Path
) -> None:
    source, out = table(tmp_path / "long.csv", LONG), tmp_path / f"out{ending}"
    with pytest.raises(KeyboardInterrupt):
        predict_file(source, stub(KeyboardInterrupt(), at), out)
    assert not out.exists()
    if at == 1:
        assert [one.name for one in tmp_path.iterdir()] == ["long.csv"]
    else:
        with pytest.raises(ReleaseError) as raised:
            predict_file(source, stub(), out)
        assert raised.value.problems[0].code == "predict.unfinished"
    predictor = stub()
    made = predict_file(source, predictor, out, resume=True)
    assert predictor._answerer.calls == 5 - at  # type: ignore[attr-defined]
    assert (made.turns, made.counts["without label"]) == (11, 0)
    whole = predict_file(source, stub(), tmp_path / f"whole{ending}")
    assert made.out.read_bytes() == whole.out.read_bytes()
    assert sorted(one.name for one in tmp_path.iterdir()) == ["long.csv", f"out{ending}", f"whole{ending}"]


def test_a_resumed_run_has_the_same_inputs(stub: Callable[..., EmotionPredictor], tmp_path: Path) -> None:
    source, out = table(tmp_path / "long.csv", LONG), tmp_path / "out.csv"
    with pytest.raises(KeyboardInterrupt):
        predict_file(source, stub(KeyboardInterrupt(), 2), out)
    table(source, [*LONG, ("9", "Alex", "one more")])
    with pytest.raises(ReleaseError) as raised:
        predict_file(source, stub(), out, resume=True)
    assert [one.code for one in raised.value.problems] == ["predict.other_inputs"]
    assert "another input" in str(raised.value)
    assert raised.value.outcome == "the 3 predictions of the earlier run are kept as they are"
    with pytest.raises(ReleaseError) as raised:
        predict_file(source, stub(), out)
    assert [one.code for one in raised.value.problems] == ["predict.unfinished"]
    assert raised.value.outcome == "they are kept as they are"
    assert predict_file(source, stub(), out, replace=True).turns == 12


def test_an_output_is_not_replaced_unasked(stub: Callable[..., EmotionPredictor], tmp_path: Path) -> None:
    source, out = table(tmp_path / "long.csv", LONG), tmp_path / "out.csv"
    out.write_text("mine", encoding="utf-8")
    with pytest.raises(ReleaseError) as raised:
        predict_file(source, stub(), out)
    assert raised.value.problems[0].code == "predict.exists"
    assert raised.value.outcome == "it is as it was"
    assert out.read_text(encoding="utf-8") == "mine"
    assert predict_file(source, stub(), out, replace=True).turns == 11


def test_a_full_disk_keeps_what_was_written(
    stub: Callable[..., EmotionPredictor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, out = table(tmp_path / "long.csv", LONG), tmp_path / "out.csv"
    left = [2]

    def full(path: Path, text: str) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(28, "No space left on device")
        write_text(path, text)

    with monkeypatch.context() as patched:
        patched.setattr(files, "write_text", full)
        with pytest.raises(ReleaseError) as raised:
            predict_file(source, stub(), out)
    assert raised.value.problems[0].code == "predict.not_written"
    assert raised.value.outcome == "6 predictions are kept; go on with the same command and --resume"
    assert not out.exists()
    made = predict_file(source, stub(), out, resume=True)
    assert made.out.read_bytes() == predict_file(source, stub(), tmp_path / "whole.csv").out.read_bytes()


@pytest.mark.slow
def test_halves_in_processes_of_their_own_are_the_whole(
    predictor: EmotionPredictor, tiny_adapter: Path, tiny_backbone: Path, tmp_path: Path
) -> None:
    words = ["the", "house", "is", "here", "and", "you", "said", "no", "never", "again", "happy"]
    rows = [
        (str(place // 5), f"Speaker {place % 2}", " ".join(words[: place % 11 + 1])) for place in range(400)
    ]
    whole = read(predict_file(table(tmp_path / "whole.csv", rows), predictor, tmp_path / "out.jsonl").out)
    command = [str(Path(sys.executable).with_name("dlm-release")), "predict", "--adapter", str(tiny_adapter)]
    command += ["--backbone", str(tiny_backbone), "--batch-size", "7"]
    started = [
        subprocess.Popen(
            [*command, str(table(tmp_path / f"{name}.csv", half)), "--out", str(tmp_path / f"{name}.jsonl")],
            env=os.environ | {"OMP_NUM_THREADS": threads},
        )
        for name, half, threads in (("first", rows[:200], "1"), ("second", rows[200:], "2"))
    ]
    assert [one.wait() for one in started] == [0, 0]
    halves = [*read(tmp_path / "first.jsonl"), *read(tmp_path / "second.jsonl")]
    assert [one["label"] for one in halves] == [one["label"] for one in whole]
    for ours, theirs in zip(halves, whole, strict=True):
        shares = [(ours[name], theirs[name]) for name in ours if name.startswith("p_")]
        assert all(abs(one - other) < 1e-6 for one, other in shares)
