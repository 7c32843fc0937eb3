"""A backbone that reads fewer tokens than the records have is neither trained nor scored."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dialoguellm_release.encoding import check_context_window, context_window
from dialoguellm_release.errors import DataError
from dialoguellm_release.folders import MANIFEST, read_manifest
from dialoguellm_release.schemas.manifests import AdapterManifest
from dialoguellm_release.steps.adapter import train_adapter
from dialoguellm_release.steps.model import merge_adapter
from dialoguellm_release.steps.score import ModelChoice, score
from dialoguellm_release.training import adapter_folder

ROOMY = 450  # above every record of the test dataset, below max_length of the tiny recipes


def backbone_with(window: int, tiny_backbone: Path, tmp_path: Path) -> str:
    """A recipe of the tiny backbone in a folder, with another length in its config."""
    folder = shutil.copytree(
        tiny_backbone, tmp_path / f"model-{window}", ignore=shutil.ignore_patterns(MANIFEST)
    )
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config["max_position_embeddings"] = window
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    recipe = tmp_path / f"short-{window}.yaml"
    source = {"type": "folder", "repo_id": "someone/short", "path": str(folder)}
    lines = {"version": 1, "kind": "backbone", "description": "Short.", "license": "apache-2.0"}
    recipe.write_text(json.dumps({**lines, "source": source}), encoding="utf-8")
    return str(recipe)


@pytest.mark.parametrize("window", [16, 60])
def test_records_longer_than_the_window_are_not_trained_on(
    window: int, tiny_backbone: Path, small_dataset: Path, tmp_path: Path
) -> None:
    backbone = backbone_with(window, tiny_backbone, tmp_path)
    with pytest.raises(DataError) as raised:
        train_adapter(
            "tiny",
            small_dataset,
            tmp_path / "out",
            overrides=[f"backbone={backbone}", "trainer.max_steps=1"],
        )
    (problem,) = raised.value.problems
    assert problem.code == "backbones.context_window"
    assert problem.where.startswith("someone/short")
    assert f"at most {window} tokens" in str(problem.expected)
    assert not (tmp_path / "out").exists()


def test_max_length_above_the_window_is_no_problem_where_no_record_needs_it(
    tiny_backbone: Path, small_dataset: Path, tmp_path: Path
) -> None:
    backbone = backbone_with(ROOMY, tiny_backbone, tmp_path)
    settings = [f"backbone={backbone}", "trainer.max_steps=3", "trainer.max_length=512"]
    train_adapter("tiny", small_dataset, tmp_path / "out", overrides=settings)
    assert read_manifest(tmp_path / "out", AdapterManifest).figures.steps == 3


@pytest.mark.parametrize("scorer", ["first_token", "free_generation"])
def test_records_longer_than_the_window_are_not_scored(
    scorer: str, tiny_backbone: Path, small_dataset: Path, tmp_path: Path
) -> None:
    def scored(window: int, *settings: str) -> Any:
        model = ModelChoice(backbone=backbone_with(window, tiny_backbone, tmp_path))
        few = ["max_records=3", "intervals.resamples=20", f"scorer={scorer}", *settings]
        return score("meld", small_dataset, model, tmp_path / f"out-{window}", overrides=few)

    with pytest.raises(DataError) as raised:
        scored(16)
    assert [problem.code for problem in raised.value.problems] == ["backbones.context_window"]
    assert scored(ROOMY, "max_new_tokens=4").manifest.figures.records == 3


def test_a_merge_is_checked_within_the_window(
    tiny_adapter: Path, tiny_backbone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    logits_of = adapter_folder._logits

    def watched(model: Any, ids: list[int]) -> Any:
        seen.append(len(ids))
        return logits_of(model, ids)

    monkeypatch.setattr(adapter_folder, "context_window", lambda _config: 16)
    monkeypatch.setattr(adapter_folder, "_logits", watched)
    merge_adapter(tiny_adapter, tmp_path / "merged", backbones=tiny_backbone.parent)
    assert seen == [16, 16]


def model_with(**config: Any) -> Any:
    text = SimpleNamespace(**config)
    return SimpleNamespace(config=SimpleNamespace(get_text_config=lambda: text))


def test_the_last_position_counts_and_an_unknown_window_passes() -> None:
    check_context_window(model_with(max_position_embeddings=20), "someone/short", 20)
    with pytest.raises(DataError):
        check_context_window(model_with(max_position_embeddings=20), "someone/short", 21)
    check_context_window(model_with(), "someone/unbounded", 10**9)


@pytest.mark.parametrize(
    ("rope", "window"),
    [
        (None, 1000),
        ({"rope_type": "default"}, 1000),
        ({"rope_type": "linear", "factor": 4.0}, 4000),
        ({"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 1000}, 4000),
        ({"rope_type": "llama3", "factor": 8.0, "original_max_position_embeddings": 100}, 1000),
        ({"full_attention": {"rope_type": "dynamic", "factor": 2.0}}, 2000),
        ({"rope_type": "yarn", "factor": None}, 1000),
    ],
)
def test_scaled_positions_reach_further(rope: Any, window: int) -> None:
    config = SimpleNamespace(max_position_embeddings=1000, rope_parameters=rope)
    assert context_window(config) == window
