"""Every line of code on a published card runs as it stands, against a Hub on this machine."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import hf_hub_download

from dialoguellm_release.schemas.labels import LABELS
from dialoguellm_release.schemas.record import SFT_COLUMNS
from dialoguellm_release.steps.release import publish
from tests.hub_server.server import HubServer


def run_the_code_on(repo_type: str, repo_id: str, tmp_path: Path) -> tuple[int, dict[str, Any]]:
    """How many blocks a card has, and what they leave behind; doctests are run with the metrics."""
    card = Path(hf_hub_download(repo_id, "README.md", repo_type=repo_type, cache_dir=tmp_path))
    blocks = re.findall(r"^```python\n(.*?)^```", card.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    blocks = [block for block in blocks if not block.startswith(">>>")]
    names: dict[str, Any] = {}
    for block in blocks:
        exec(block, names)
    return len(blocks), names


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_the_code_on_every_card_runs(demo_build: Path, hub_server: HubServer, tmp_path: Path) -> None:
    publish("demo", demo_build, "hub")
    assert hub_server.url

    count, names = run_the_code_on("dataset", "dialoguellm/instructions", tmp_path)
    assert count >= 2
    assert {split: rows.num_rows for split, rows in names["one_corpus"].items()}.keys() == {
        "train", "validation", "test"
    }  # fmt: skip
    assert names["sft"]["train"].column_names == list(SFT_COLUMNS)
    for config in ("records", "clean", "one_corpus", "sft"):
        rows = names[config]["test"]
        dialogues = names["whole_dialogues"](rows)
        assert sum(map(len, dialogues)) == rows.num_rows
        for turns in dialogues:
            starts = {turn["id"].rpartition("/")[0] for turn in turns}
            assert len(starts) == 1, config

    count, names = run_the_code_on("model", "dialoguellm/tiny", tmp_path)
    assert count == 3
    assert {turn.label for turn in names["predictor"](names["conversation"])} <= set(LABELS)
    assert sum("lora_" in name for name, _ in names["model"].named_parameters()) > 0
    assert names["answer"] in LABELS
    assert "They said yes!" in names["prompt"]

    count, names = run_the_code_on("model", "dialoguellm/tiny-llama", tmp_path)
    assert count == 1
    assert names["model"].num_parameters() > 0

    count, names = run_the_code_on("space", "dialoguellm/erc_scores", tmp_path)
    assert count == 1
    assert "erc_scores" in names
