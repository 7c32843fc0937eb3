"""`dlm-release corpora`: list, fetch without a server, and check."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

PAPER_LIKE = """
version: 1
kind: dataset
description: MELD and EmoryNLP with counts to expect.
pretty_name: Two
prompt: dialogue-v1
context_k: 1
corpora:
  meld:
    expect:
      train: {dialogues: 3, utterances: 4}
  emorynlp: {}
  meisd:
    split: {seed: 1, dialogues: {train: 1000, validation: 1, test: 1}}
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "recipe.yaml"
    path.write_text(PAPER_LIKE)
    return path


def test_the_corpora_are_listed(run: Any) -> None:
    listed = {one["name"]: one for one in json.loads(run("corpora", "list", "--json").out)["corpora"]}
    assert list(listed) == ["dailydialog", "emorynlp", "iemocap", "masac", "meisd", "meld"]
    assert listed["meld"]["text_license"]["id"] == "GPL-3.0-only"
    assert (listed["meld"]["allowed"], listed["meisd"]["allowed"]) == ("full", "exclude")
    assert listed["meld"]["is_there"] is None
    assert [one["bytes"] for one in listed["meld"]["files"]] == [1119290, 121640, 294526]
    assert listed["meld"]["downloads"][0]["verified"] is False
    assert listed["iemocap"]["downloads"] == []
    short = run("corpora", "list").out
    assert all(name in short for name in listed)
    assert "emotion-detection-trn.json" not in short
    text = run("corpora", "list", "--all").out
    assert "GPL-3.0-only, may be passed on: yes; stated in LICENSE of declare-lab/MELD\n" in text
    assert "LicenseRef-MEISD-none-found, may be passed on: unknown; " in text
    assert "dlm-release corpora fetch dailydialog --out DIR" in text
    assert "the Signal Analysis and Interpretation Laboratory" in text
    assert "emotion-detection-trn.json" in text


def test_what_is_there_is_listed(run: Any, sources: Path) -> None:
    (sources / "meld" / "dev_sent_emo.csv").unlink()
    shutil.rmtree(sources / "dailydialog")
    ended = run("corpora", "list", "--sources", sources, "--json")
    listed = {one["name"]: one for one in json.loads(ended.out)["corpora"]}
    assert [one["state"] for one in listed["meld"]["files"]] == ["another", "missing", "another"]
    there = {name: one["is_there"] for name, one in listed.items()}
    assert there.pop("masac") is True
    assert there == {"meld": True, "emorynlp": True, "dailydialog": False, "meisd": True, "iemocap": True}
    text = run("corpora", "list", "--sources", sources, "--all").out
    assert "yes (no hash of its files is known)" in text
    assert "dev_sent_emo.csv (121.6 kB, missing)" in text


def test_what_cannot_be_fetched_is_told_with_whom_to_ask(run: Any, tmp_path: Path) -> None:
    ended = run("corpora", "fetch", "iemocap", "meld", "meisd", "--out", tmp_path / "to")
    assert ended.code == 1
    assert ended.out == ""
    assert "iemocap: IEMOCAP cannot be fetched, it has to be asked for" in ended.err
    assert "whom to ask: the Signal Analysis and Interpretation Laboratory" in ended.err
    assert "https://sail.usc.edu/iemocap/Data_Release_Form_IEMOCAP.pdf" in ended.err
    assert "meisd: MEISD cannot be fetched" in ended.err
    assert "https://aclanthology.org/2020.coling-main.393" in ended.err
    assert f"where to put it: {tmp_path / 'to' / 'meisd'}" in ended.err
    assert "2 problems; nothing was written." in ended.err
    assert not (tmp_path / "to").exists()


def test_addresses_that_were_never_tried_are_told_before(run: Any, sources: Path) -> None:
    ended = run("corpora", "fetch", "meld", "--out", sources)
    assert ended.code == 1
    assert ended.err.startswith(
        "warning: the addresses of MELD could not be tried when this version was made"
    )
    assert ended.err.count("is there already, but is another file") == 3


def test_a_name_that_is_none_is_told(run: Any, tmp_path: Path) -> None:
    ended = run("corpora", "fetch", "mled", "--out", tmp_path)
    assert ended.code == 1
    assert "not a corpus" in ended.err
    assert run("corpora", "fetch", "--out", tmp_path).code == 2


def test_a_folder_of_corpora_is_checked(run: Any, sources: Path) -> None:
    shutil.rmtree(sources / "meisd")
    ended = run("corpora", "check", sources, "--recipe", "demo", "--json")
    assert ended.code == 0
    checked = json.loads(ended.out)["corpora"]
    assert [(one["name"], one["source"]) for one in checked] == [
        ("meld", None),
        ("emorynlp", "csv"),
        ("emorynlp", "json"),
        ("dailydialog", None),
        ("iemocap", None),
    ]
    assert all(one["problems"] == [] for one in checked)
    assert {split["split"] for split in checked[0]["splits"]} == {"train", "validation", "test"}
    assert not any(file["known"] for one in checked[:4] for file in one["files"])
    assert "warning: meld/train_sent_emo.csv is not the public file" in ended.err
    assert "nothing is wrong." in ended.err
    text = run("corpora", "check", sources, "--recipe", "demo").out
    assert "meld: 0 of 3 files known by their hashes" in text


def test_what_is_wrong_is_told_of_all_corpora_at_once(run: Any, sources: Path, recipe: Path) -> None:
    (sources / "emorynlp" / "emorynlp_dev_final.csv").unlink()
    ended = run("corpora", "check", sources, "--recipe", recipe, "--json")
    assert ended.code == 1
    problems = {
        one["name"]: [problem["what"] for problem in one["problems"]]
        for one in json.loads(ended.out)["corpora"]
        if one["source"] != "json"
    }
    assert problems["meld"] == ["meld/train: dialogues / utterances miss the counts of the recipe"]
    assert problems["emorynlp"][0] == "is missing"
    assert problems["meisd"] == ["meisd: dialogues / utterances miss the counts of the recipe"]
    assert "expected: 3 / 4" in ended.err
    assert "expected: at least 1,002" in ended.err
    assert "not the public files: meld/" in ended.err
    assert "nothing was changed." in ended.err
    assert "<- misses" in run("corpora", "check", sources, "--recipe", recipe).out


def test_a_folder_without_a_corpus_is_told(run: Any, tmp_path: Path) -> None:
    ended = run("corpora", "check", tmp_path)
    assert ended.code == 1
    assert f"{tmp_path}: holds no corpus" in ended.err
    assert "meld/, emorynlp/" in ended.err
