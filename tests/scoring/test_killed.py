"""A run that is killed outright, in the middle: what the model has said is kept, and the end is the same."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from dialoguellm_release.folders import stamps


@pytest.mark.slow
@pytest.mark.parametrize("scorer", ["first_token", "free_generation"])
def test_kill_9_in_the_middle_loses_no_answer(
    scorer: str, tiny_adapter: Path, tiny_backbone: Path, tmp_path: Path, dialogues_of: Any, dataset_of: Any
) -> None:
    dataset = dataset_of(tmp_path / "dataset", {"test": dialogues_of("test", 200)})

    def command(name: str) -> list[str]:
        return [
            *[sys.executable, "-m", "dialoguellm_release.cli.main", "score", "run", "meld"],
            *["--dataset", str(dataset), "--adapter", str(tiny_adapter)],
            *["--backbones", str(tiny_backbone.parent), "--cache", str(tmp_path / f"{name} cache")],
            *["--out", str(tmp_path / name), "--set", f"scorer={scorer}", "--set", "batch_size=1"],
            *["--set", "max_new_tokens=4", "--set", "intervals.resamples=50"],
        ]

    store = tmp_path / "killed cache" / "answers.sqlite"

    def kept() -> int:
        with suppress(sqlite3.Error), closing(sqlite3.connect(f"file:{store}?mode=ro", uri=True)) as db:
            return int(db.execute("SELECT count(*) FROM answer").fetchone()[0])
        return 0

    subprocess.run(command("whole"), check=True, capture_output=True)
    process = subprocess.Popen(command("killed"), stderr=subprocess.PIPE)
    deadline = time.monotonic() + 120
    while kept() < 5 and time.monotonic() < deadline:
        time.sleep(0.002)
    process.kill()
    process.communicate()
    before = kept()
    assert 5 <= before < len({record.input for record in dialogues_of("test", 200)})
    assert not (tmp_path / "killed").exists()
    subprocess.run(command("killed"), check=True, capture_output=True)
    assert kept() > before
    assert stamps(tmp_path / "killed") == stamps(tmp_path / "whole")
