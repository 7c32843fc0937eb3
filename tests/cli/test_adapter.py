"""`dlm-release adapter`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dialoguellm_release.schemas.labels import Split
from dialoguellm_release.schemas.record import Record


@pytest.mark.parametrize(("name", "expected"), [("llama-2-7b", 2_097_152), ("llama-13b", 3_276_800)])
def test_the_paper_s_numbers_of_trainable_parameters(name: str, expected: int, run: Any) -> None:
    shown = json.loads(run("adapter", "check", name, "--json").out)
    assert shown["trainable_parameters"] == expected
    assert shown["steps"] is None
    assert any("no tokenizer is here" in line for line in shown["unknown"])
    assert any("no dataset is built" in line for line in shown["unknown"])
    memory = shown["memory"]
    assert memory["total"] == sum(size for part, size in memory.items() if part != "total")
    assert memory["weights"] == 2 * shown["parameters"]


@pytest.mark.parametrize(
    ("name", "settings", "is_advised"),
    [
        ("llama-2-7b", (), True),
        (
            "llama-2-7b",
            ("trainer.per_device_train_batch_size=64", "trainer.gradient_accumulation_steps=2"),
            False,
        ),
        ("llama-2-7b", ("packing=none",), False),
        ("tiny", (), False),
    ],
)
def test_small_packs_of_a_large_model_are_advised_against(
    name: str, settings: tuple[str, ...], is_advised: bool, run: Any
) -> None:
    options = [part for setting in settings for part in ("--set", setting)]
    (advice,) = json.loads(run("adapter", "check", name, *options, "--json").out)["advice"] or [""]
    assert ("the batch stays 128" in advice) == is_advised
    assert ("\nadvice\n" in run("adapter", "check", name, *options).out) == is_advised


def test_what_would_be_refused_is_shown_with_the_lengths(
    run: Any,
    tmp_path: Path,
    tiny_backbone: Path,
    records_of: Callable[[Split, int], list[Record]],
    dataset_of: Any,
) -> None:
    records = records_of("train", 20)
    records[3] = records[3].model_copy(update={"input": "why " * 400})
    records[4] = records[4].model_copy(update={"context": ("Robin: " + "so " * 300,)})
    dataset = dataset_of(tmp_path / "dataset", {"train": records})
    settings = ["adapter", "check", "tiny", "--dataset", dataset, "--backbones", tiny_backbone.parent]
    ended = run(*settings, "--set", "trainer.max_length=256", "--json")
    assert ended.code == 1
    assert "1 records do not fit trainer.max_length: this training would be refused." in ended.err
    rows = {row["max_length"]: row for row in json.loads(ended.out)["tokens"]["survival"]}
    assert rows[256] == {
        "max_length": 256,
        "is_of_recipe": True,
        "whole": 18,
        "shortened": 1,
        "refused": 1,
        "labels_lost": 2,
    }
    assert (rows[2048]["whole"], rows[2048]["labels_lost"]) == (20, 0)
    roomy = run(*settings, "--set", "trainer.max_length=2048")
    assert roomy.code == 0
    assert "recipe: 2,048" in roomy.out
    refused = run(
        "adapter",
        "train",
        "tiny",
        "--set",
        "trainer.max_length=256",
        "--dataset",
        dataset,
        "--out",
        tmp_path / "out",
        "--backbones",
        tiny_backbone.parent,
    )
    assert refused.code == 1
    assert "1 of 20 prompts do not fit" in refused.err
    table = [line.split() for line in refused.err.splitlines() if line.strip().startswith("recipe: 256")]
    assert table == [["recipe:", "256", "18", "1", "1", "2"]]
    assert not (tmp_path / "out").exists()
