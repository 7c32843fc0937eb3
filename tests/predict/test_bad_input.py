"""Bad input: a file, a model or a machine that is not what it should be has one code, and leaves nothing."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dialoguellm_release import EmotionPredictor, ReleaseError, predict_file
from dialoguellm_release.scoring import scorers
from dialoguellm_release.scoring.answers import Batch, Reply
from dialoguellm_release.scoring.scorers import LikelihoodScorer

TALK = "speaker,text\nAlex,They said yes!\nRobin,I heard about the house.\n"
JSON_LINES = '{"text": "They said yes!"}\n{"text": "I heard about the house."}\n'
FILES: dict[str, tuple[str, bytes, str]] = {
    "empty file": ("a.csv", b"", "predict.empty_file"),
    "white space": ("a.txt", b" \n\xc2\xa0\n", "predict.empty_file"),
    "byte-order mark alone": ("a.txt", b"\xef\xbb\xbf", "predict.empty_file"),
    "header alone": ("a.csv", b"speaker,text\n", "predict.empty_file"),
    "turns without text": ("a.csv", b"speaker,text\nAlex,\nRobin,  \n", "predict.empty_file"),
    "binary": ("a.txt", bytes(range(256)) * 8, "predict.binary"),
    "picture": ("a.csv", b"\x89PNG\r\n\x1a\n" + bytes(64), "predict.binary"),
    "UTF-16 without a mark": ("a.csv", TALK.encode("utf-16-le"), "predict.binary"),
    "cp1252": ("a.csv", TALK.replace("yes", "“yes”").encode("cp1252"), "predict.encoding"),
    "UTF-8 cut in a character": ("a.txt", "Alex: oui, é".encode()[:-1], "predict.encoding"),
    "quote that is not closed": ("a.csv", TALK.encode() + b'Alex,"and', "table.csv"),
    "row that is cut off": ("a.csv", TALK.encode() + b"Alex\n", "table.width"),
    "JSON Lines cut off": ("a.jsonl", JSON_LINES.encode()[:-9], "table.json"),
    "JSON without text": ("a.jsonl", b'{"words": "They said yes!"}\n', "corpora.no_column"),
    "later JSON without text": ("a.jsonl", JSON_LINES.encode() + b'{"speaker": "Alex"}\n', "table.columns"),
    "text that is a list": ("a.jsonl", b'{"text": ["They", "said"]}\n', "corpora.not_a_text"),
    "half a surrogate pair": ("a.jsonl", b'{"text": "\\ud800"}\n', "corpora.not_unicode"),
    "key that the first row lacks": (
        "a.jsonl",
        JSON_LINES.encode() + b'{"text": "No.", "speaker": "Alex"}\n',
        "predict.late_column",
    ),
    "turn of no conversation": ("a.csv", b"dialogue,text\n1,Yes.\n,No.\n", "predict.no_conversation_id"),
    "cut in a character at the end of a block": (
        "a.txt",
        b"a" * ((1 << 20) - 1) + b"\xc3",
        "predict.encoding",
    ),
    "no Parquet": ("a.parquet", b"PAR1" + bytes(64), "table.parquet"),
    "SRT without times": ("a.srt", b"1\nThey said yes!\n\n2\nNo.\n", "predict.no_times"),
    "SRT with a wrong time": ("a.srt", b"1\n00:00:01 --> 00:00:02\nNo.\n", "predict.times"),
    "unknown ending": ("a.docx", b"Alex: They said yes!", "predict.format"),
}


def code_of(raised: pytest.ExceptionInfo[ReleaseError]) -> str:
    return raised.value.problems[0].code


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_no_conversation(name: str, predictor: EmotionPredictor, tmp_path: Path) -> None:
    ending, content, code = FILES[name]
    source = tmp_path / ending
    source.write_bytes(content)
    with pytest.raises(ReleaseError) as raised:
        predict_file(source, predictor, tmp_path / "out.csv")
    assert code_of(raised) == code
    assert str(source) in str(raised.value)
    assert [one.name for one in tmp_path.iterdir()] == [ending]


def test_every_fault_of_a_file_is_told_at_once(predictor: EmotionPredictor, tmp_path: Path) -> None:
    source = tmp_path / "a.jsonl"
    source.write_text(JSON_LINES + "{\n[]\n" + JSON_LINES + '{"text": 1}\n{"text": {}}\n', encoding="utf-8")
    with pytest.raises(ReleaseError) as raised:
        predict_file(source, predictor, tmp_path / "out.csv")
    places = [one.where.rpartition(":")[2] for one in raised.value.problems]
    assert places == ["3", "4", "8"]


@pytest.mark.parametrize(
    ("source", "options", "code"),
    [
        ("nothing.csv", {}, "predict.no_file"),
        (".", {"form": "csv"}, "predict.no_file"),
        ("talk.csv", {"form": "docx"}, "argument.unknown_name"),
        ("talk.csv", {"columns": {"text": "words"}}, "corpora.no_column"),
        ("talk.txt", {"columns": {"text": "words"}}, "predict.no_columns"),
        ("talk.txt", {"out": "out.xlsx"}, "predict.out_format"),
    ],
)
def test_options_that_do_not_fit(
    source: str,
    options: dict[str, Any],
    code: str,
    predictor: EmotionPredictor,
    tmp_path: Path,
) -> None:
    for name in ("talk.csv", "talk.txt"):
        (tmp_path / name).write_text(TALK, encoding="utf-8")
    out = tmp_path / options.get("out", "out.csv")
    given = {name: value for name, value in options.items() if name != "out"}
    with pytest.raises(ReleaseError) as raised:
        predict_file(tmp_path / source, predictor, out, **given)
    assert code_of(raised) == code
    assert sorted(one.name for one in tmp_path.iterdir()) == ["talk.csv", "talk.txt"]


def test_one_speaker_and_a_turn_of_5000_words(predictor: EmotionPredictor, tmp_path: Path) -> None:
    source = tmp_path / "talk.txt"
    source.write_text("Alex: " + "word " * 5_000 + "\nAlex: They said yes!\n", encoding="utf-8")
    made = predict_file(source, predictor, tmp_path / "out.csv")
    assert (made.turns, made.counts) == (2, {"without label": 0, "shortened": 1, "cut": 1})


def test_an_answer_that_is_not_a_number_names_the_line(
    predictor: EmotionPredictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    source = tmp_path / "talk.csv"
    source.write_text(TALK + '"Ann","a text\nof two lines"\nBob,NaN\n', encoding="utf-8")
    replies, found = LikelihoodScorer.replies, scorers._log_likelihoods

    def one_by_one(scorer: LikelihoodScorer, prompts: Any, batch: Batch) -> list[Reply]:
        answers = []
        for place in batch.places:
            wrong = torch.nan if prompts[place].record.input == "NaN" else 0.0
            monkeypatch.setattr(
                scorers, "_log_likelihoods", lambda *given, wrong=wrong: found(*given) + wrong
            )
            answers += replies(scorer, prompts, Batch((place,), batch.shared))
        return answers

    monkeypatch.setattr(LikelihoodScorer, "replies", one_by_one)
    with pytest.raises(ReleaseError) as raised:
        predict_file(source, predictor, tmp_path / "out.csv")
    assert (code_of(raised), raised.value.problems[0].where) == ("score.nan", f"{source}:6")
    with pytest.raises(ReleaseError) as raised:
        list(predictor.predict([["Yes."], ["No.", "NaN"]]))
    assert raised.value.problems[0].where == "conversation 1, turn 1"


def test_text_in_utf_16_with_its_mark(predictor: EmotionPredictor, tmp_path: Path) -> None:
    source = tmp_path / "talk.csv"
    source.write_bytes(TALK.encode("utf-16"))
    assert predict_file(source, predictor, tmp_path / "out.csv").turns == 2


Change = Callable[[Path], object]


def truncate(name: str) -> Change:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:-1000])


def state(**figures: Any) -> Change:
    """Changes figures in the manifest of an adapter."""

    def change(folder: Path) -> None:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        manifest["figures"] |= figures
        (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")

    return change


def remove(name: str) -> Change:
    return lambda folder: (folder / name).unlink()


MODELS: dict[str, tuple[Change, bool, str]] = {
    "weights cut off": (truncate("adapter_model.safetensors"), True, "adapters.changed_file"),
    "no weights": (remove("adapter_model.safetensors"), True, "adapters.changed_file"),
    "no manifest": (remove("manifest.json"), True, "folders.no_manifest"),
    "damaged manifest": (truncate("manifest.json"), True, "folders.damaged_manifest"),
    "no prompt": (remove("prompt.json"), True, "adapters.changed_file"),
    "no base, no network": (lambda _: None, False, "predict.no_base"),
    "a base that is a folder": (state(base_is_folder=True), False, "predict.no_base"),
    "another base": (state(base_content_sha256="0" * 64), True, "predict.other_base"),
    "a base on the Hub, no network": (
        state(base_content_sha256=None, base="nobody/nothing", base_revision="1" * 40),
        False,
        "backbones.unreachable",
    ),
    "no task": (state(task=None), True, "predict.no_task"),
}


@pytest.mark.parametrize("name", MODELS)
def test_a_model_that_cannot_be_used(
    name: str, tiny_adapter: Path, tiny_backbone: Path, tmp_path: Path
) -> None:
    change, has_base, code = MODELS[name]
    folder = tmp_path / "adapter"
    shutil.copytree(tiny_adapter, folder)
    change(folder)
    with pytest.raises(ReleaseError) as raised:
        EmotionPredictor.from_pretrained(folder, backbone=tiny_backbone if has_base else None)
    assert code_of(raised) == code


def test_a_base_at_another_revision(tiny_adapter: Path, tiny_backbone: Path, tmp_path: Path) -> None:
    folder, base = tmp_path / "adapter", tmp_path / "base"
    shutil.copytree(tiny_adapter, folder)
    shutil.copytree(tiny_backbone, base)
    state(base_content_sha256=None, base_revision="1" * 40)(folder)
    download = base / ".cache" / "huggingface" / "download"
    download.mkdir(parents=True)
    (download / "config.json.metadata").write_text("2" * 40 + "\netag\n1.0\n", encoding="utf-8")
    with pytest.raises(ReleaseError) as raised:
        EmotionPredictor.from_pretrained(folder, backbone=base)
    assert code_of(raised) == "predict.other_base"
    (download / "config.json.metadata").write_text("1" * 40 + "\netag\n1.0\n", encoding="utf-8")
    assert EmotionPredictor.from_pretrained(folder, backbone=base)(["They said yes!"])[0].label


def test_a_model_that_nobody_has() -> None:
    for name, code in (("nobody/nothing", "backbones.unreachable"), ("nothing", "folders.no_manifest")):
        with pytest.raises(ReleaseError) as raised:
            EmotionPredictor.from_pretrained(name)
        assert code_of(raised) == code


class Piped:
    """Standard input with bytes."""

    def __init__(self, content: bytes) -> None:
        self.buffer = io.BytesIO(content)


def test_standard_input(predictor: EmotionPredictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", Piped(b"Alex: They said yes!\n"))
    with pytest.raises(ReleaseError) as raised:
        predict_file("-", predictor, tmp_path / "out.csv")
    assert code_of(raised) == "predict.format"
    assert predict_file("-", predictor, tmp_path / "out.csv", form="chat").turns == 1
