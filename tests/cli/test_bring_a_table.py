"""`recipe new` through the command line: what is found is shown, nothing is overwritten, and it builds."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dialoguellm_release.records import read_records

LABELS = ("joy", "anger", "neutral", "neutral")


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Forty dialogues of two turns, the first one without a label, and no splits."""
    lines = ["Conversation;Who said it;Utterance;Emotion"]
    for number in range(40):
        label = LABELS[number % 4]
        lines += [
            f"{number};Ann;And then, number {number}?;",
            f"{number};Bo;It was {label} {number}.;{label}",
        ]
    path = tmp_path / "my.csv"
    path.write_bytes("\n".join(lines).encode("utf-16"))
    return path


def test_a_dry_run_shows_everything_and_writes_nothing(run: Any, table: Path, tmp_path: Path) -> None:
    command = ("recipe", "new", "--extends", "tiny", "--data", table, "--out", tmp_path / "own", "--dry-run")
    ended = run(*command, "--speaker", "Who said it")
    assert ended.code == 0
    assert "Nothing was written." in ended.err
    said = " ".join(ended.out.split())
    for shown in (
        "separator ';'",
        "speaker column Who said it",
        "label joy 10; the nearest label of the other corpora: --map joy=happiness",
        "to draw 40 records",
        "train 32, validation 4, test 4; by label, from seed 42",
        "no label 40 times",
        "my-corpus.yaml",
    ):
        assert shown in said
    assert not (tmp_path / "own").exists()
    data = json.loads(run(*command, "--map", "joy=happiness", "--json").out)
    assert data["labels"] == {"happiness": 10, "anger": 10, "neutral": 20}
    assert data["columns"] == {"text": "Utterance", "label": "Emotion", "dialogue": "Conversation"}
    assert data["files"] == [
        str(tmp_path / "own" / f"my{end}.yaml") for end in ("-corpus", "-dataset", "", "-score")
    ]
    assert not (tmp_path / "own").exists()


def test_drawn_splits_are_built_with_every_label_in_proportion(run: Any, table: Path, tmp_path: Path) -> None:
    own = tmp_path / "own"
    assert run("recipe", "new", "--extends", "tiny", "--data", table, "--out", own, "--map", "joy=").code == 0
    assert run("dataset", "build", own / "my-dataset.yaml", "--out", tmp_path / "built").code == 0
    assert run("dataset", "check", tmp_path / "built").code == 0
    counts = {
        split: Counter(record.label for record in read_records(tmp_path / "built", "my", split))
        for split in ("train", "validation", "test")
    }
    assert counts["validation"] == counts["test"] == {"anger": 1, "neutral": 2}
    assert counts["train"] == {"anger": 8, "neutral": 16}
    first = next(iter(read_records(tmp_path / "built", "my", "test")))
    assert first.context == (f"And then, number {first.dialogue_id}?",)
    before = (own / "my-corpus.yaml").read_bytes()
    (own / "my-corpus.yaml").write_bytes(before + b"# mine\n")
    assert run("recipe", "new", "--extends", "tiny", "--data", table, "--out", own, "--map", "joy=").code == 1
    assert (own / "my-corpus.yaml").read_bytes() == before + b"# mine\n"


def test_what_datasets_loads_is_copied_beside_the_recipes(run: Any, tmp_path: Path) -> None:
    rows = {"text": ["We won!", "Stop it."], "label": ["happiness", "anger"]}
    (tmp_path / "talk" / "data").mkdir(parents=True)
    for split in ("train", "test"):
        pq.write_table(pa.table(rows), tmp_path / "talk" / "data" / f"{split}.parquet")
    own = tmp_path / "own"
    command = ("recipe", "new", "--extends", "tiny", "--data", tmp_path / "talk", "--out", own)
    for _ in range(2):
        assert run(*command).code == 0
    assert sorted(path.name for path in (own / "talk-data").iterdir()) == ["test.parquet", "train.parquet"]
    assert run("dataset", "build", own / "talk-dataset.yaml", "--out", tmp_path / "built").code == 0
    assert [one.input for one in read_records(tmp_path / "built", "talk", "test")] == rows["text"]
    (own / "talk-data" / "test.parquet").write_bytes(b"mine")
    ended = run(*command)
    assert ended.code == 1
    assert "test.parquet: exists with other content" in ended.err


def test_options_that_are_wrong(run: Any, table: Path) -> None:
    command = ("recipe", "new", "--extends", "tiny", "--data", table, "--dry-run")
    assert run(*command, "--map", "joy").code == 2
    assert run(*command, "--map", "joy=anger", "--map", "joy=fear").code == 2
    assert run(*command, "--held-out", "0.9").code == 2
    ended = run(*command, "--encoding", "utf-8")
    assert ended.code == 1
    assert "state its encoding" in ended.err
