"""`dlm-release predict`: a table, CSV or JSON on stdout, or a file; the limits of use once, on stderr."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dialoguellm_release.render.predictions import LIMITS_OF_USE

CHAT = "Robin: I heard about the house.\nAlex: They said yes!\n\nAlex:\n"


@pytest.fixture
def predict(run: Any, tiny_adapter: Path, tiny_backbone: Path, tmp_path: Path) -> Callable[..., Any]:
    """Predicts a chat with the tiny adapter, with options."""
    (tmp_path / "talk.txt").write_text(CHAT, encoding="utf-8")
    model = ("--adapter", tiny_adapter, "--backbone", tiny_backbone)
    return lambda *options: run("predict", tmp_path / "talk.txt", *model, *options)


def test_csv_into_a_pipe(predict: Callable[..., Any]) -> None:
    ended = predict()
    assert ended.code == 0, ended.err
    rows = list(csv.DictReader(io.StringIO(ended.out)))
    assert [row["speaker"] for row in rows] == ["Robin", "Alex", "Alex"]
    assert [row["reason"] for row in rows] == ["", "", "the turn has no text"]
    assert ended.err.count(LIMITS_OF_USE) == 1
    assert "warning: the probabilities are not calibrated" in ended.err
    assert ended.err.splitlines()[-1] == "3 turns, 1 without a label"


def test_a_table_on_a_terminal(predict: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dialoguellm_release.cli.predict.is_terminal", lambda: True)
    header, first, _, last = predict().out.rstrip("\n").split("\n")
    assert header.split() == ["conversation", "speaker", "text", "label", "probability", "margin"]
    assert first.split()[:3] == ["1", "Robin", "I"]
    assert "(the turn has no text)" in last


def test_json(predict: Callable[..., Any], tmp_path: Path) -> None:
    data = json.loads(predict("--json", "--labels", "anger, fear").out)
    assert data["limits_of_use"] == LIMITS_OF_USE
    assert [row["label"] in ("anger", "fear") for row in data["predictions"]] == [True, True, False]
    assert data["predictions"][0].keys() >= {"p_anger", "p_fear"}
    ended = predict("--json", "--out", tmp_path / "out.jsonl")
    assert json.loads(ended.out) | {"turns": 3, "temperature": None} == json.loads(ended.out)
    again = predict("--out", tmp_path / "out.jsonl")
    assert again.code == 1
    assert "is there already" in again.err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--resume",), "--resume and --replace need --out"),
        (("--served", "m"), "--backbone and --device are of a model that runs here"),
    ],
)
def test_options_that_contradict_each_other(
    options: tuple[str, ...], said: str, predict: Callable[..., Any]
) -> None:
    ended = predict(*options)
    assert (ended.code, ended.out) == (2, "")
    assert said in " ".join(ended.err.split())


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("absent.csv", None, "no such file"),
        ("talk.csv", "speaker,text\nAlex,yes,no\n", "talk.csv:2: the number of cells"),
    ],
)
def test_the_input_is_looked_at_before_a_model_is_loaded(
    name: str, text: str | None, said: str, run: Any, tmp_path: Path
) -> None:
    if text is not None:
        (tmp_path / name).write_text(text, encoding="utf-8")
    ended = run("predict", tmp_path / name, "--adapter", tmp_path / "no-adapter")
    assert ended.code == 1
    assert said in ended.err
    assert "no-adapter" not in ended.err


def test_a_model_has_to_be_named(run: Any) -> None:
    ended = run("predict", "talk.txt")
    assert ended.code == 2
    assert "--adapter" in ended.err


def test_the_base_is_built_where_the_recipe_is_of_this_package(
    run: Any, tiny_adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("talk.txt").write_text(CHAT, encoding="utf-8")
    ended = run("predict", "talk.txt", "--adapter", tiny_adapter, "--out", "out.csv")
    assert ended.code == 0, ended.err
    assert (tmp_path / "build" / "backbones" / "tiny" / "manifest.json").is_file()
