"""What is seen of a training while it runs, and what earlier versions of the libraries read of its folder."""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dialoguellm_release.backbones.load import load_backbone
from dialoguellm_release.backbones.weights import write_for_earlier_versions
from dialoguellm_release.encoding import Encoder
from dialoguellm_release.errors import DataError
from dialoguellm_release.prompts import load_prompt
from dialoguellm_release.recipes.catalogue import load_recipe
from dialoguellm_release.recipes.load import Loaded
from dialoguellm_release.schemas.labels import Split
from dialoguellm_release.schemas.manifests import TRAINING_LOG
from dialoguellm_release.schemas.recipes.adapter import AdapterRecipe
from dialoguellm_release.schemas.recipes.backbone import BackboneRecipe
from dialoguellm_release.schemas.record import Record
from dialoguellm_release.training.data import training_rows
from dialoguellm_release.training.sft import Tuned, Work, tune

PEFT_0_13 = {
    *("task_type", "peft_type", "auto_mapping", "base_model_name_or_path", "revision", "inference_mode", "r"),
    *(
        "target_modules",
        "lora_alpha",
        "lora_dropout",
        "fan_in_fan_out",
        "bias",
        "use_rslora",
        "modules_to_save",
    ),
    *(
        "init_lora_weights",
        "layers_to_transform",
        "layers_pattern",
        "rank_pattern",
        "alpha_pattern",
        "use_dora",
    ),
    *("megatron_config", "megatron_core", "loftq_config", "layer_replication"),
}
"""The fields of its LoraConfig; it refuses a file with any other."""

Tune = Callable[..., Tuned]


@pytest.fixture
def tune_with(
    tiny_backbone: Path,
    tiny_recipe: Loaded[BackboneRecipe],
    records_of: Callable[[Split, int], list[Record]],
) -> Tune:
    """Trains the tiny adapter on a few records, with settings."""

    def run(work: Work, *settings: str, base: str | None = None) -> Tuned:
        recipe = load_recipe("tiny", "adapter", AdapterRecipe, settings).recipe
        model, tokenizer = load_backbone(tiny_recipe.recipe, tiny_backbone)
        model.name_or_path = base or model.name_or_path
        encoder = Encoder(load_prompt("dialogue-v1"), tokenizer, 512)
        rows = training_rows(encoder, encoder.encode_all(records_of("train", 20)))
        return tune(model, tokenizer, rows, recipe, work=work)

    return run


def entries_of(log: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]


def test_the_log_is_written_as_it_goes(
    tune_with: Tune, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dialoguellm_release.training import packs, trainer

    log, seen = tmp_path / "log.jsonl", list[int]()
    summed_loss = packs.summed_loss

    def watched(*arguments: Any) -> Any:
        seen.append(len(entries_of(log)))
        return summed_loss(*arguments)

    monkeypatch.setattr(trainer, "summed_loss", watched)
    tuned = tune_with(Work(log=log), "trainer.max_steps=3", "trainer.logging_steps=1")
    assert seen == [0, 1, 2]
    assert entries_of(log) == tuned.log


def test_what_was_logged_is_there_when_a_training_fails(tune_with: Tune, tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    settings = ("trainer.max_steps=9", "trainer.logging_steps=1", "trainer.learning_rate=1e30")
    with pytest.raises(DataError) as raised:
        tune_with(Work(log=log), *settings)
    assert raised.value.problems[0].code == "training.diverged"
    assert entries_of(log)[0]["step"] == 1


def test_an_adapter_folder_has_the_whole_log(tiny_adapter: Path) -> None:
    assert [entry["step"] for entry in entries_of(tiny_adapter / TRAINING_LOG)] == [1, 10]


@pytest.mark.parametrize("tracker", ["tensorboard", "trackio"])
def test_a_tracker_that_is_not_installed_is_a_problem(
    tracker: str, tune_with: Tune, monkeypatch: pytest.MonkeyPatch
) -> None:
    import importlib.util

    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(DataError) as raised:
        tune_with(Work(), f"trainer.report_to=[{tracker}]")
    (problem,) = raised.value.problems
    assert (problem.where, problem.code) == ("trainer.report_to", "training.no_tracker")
    assert f"pip install {tracker}" in str(problem.fix)


WRITER = """
from pathlib import Path
class SummaryWriter:
    def __init__(self, log_dir):
        Path(log_dir).mkdir(parents=True)
        self.file = Path(log_dir, "events").open("w")
    def add_scalar(self, name, value, step):
        print(name, value, step, file=self.file, flush=True)
    def __getattr__(self, name):
        return lambda *_, **__: None
"""


def test_tensorboard_writes_beside_the_adapter(
    tune_with: Tune, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers.integrations import integration_utils

    package = tmp_path / "installed" / "tensorboardX"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(WRITER, encoding="utf-8")
    monkeypatch.syspath_prepend(package.parent)
    monkeypatch.setattr(integration_utils, "is_tensorboard_available", lambda: True)
    monkeypatch.setattr(integration_utils, "_has_tensorboard", True, raising=False)
    tracking = tmp_path / "tiny.tensorboard"
    tune_with(Work(tracking=tracking), "trainer.max_steps=2", "trainer.report_to=[tensorboard]")
    assert "train/loss" in (tracking / "events").read_text(encoding="utf-8")
    sys.modules.pop("tensorboardX", None)


def test_checkpoints_bring_no_warning_of_a_library(tune_with: Tune, tmp_path: Path) -> None:
    settings = ("trainer.max_steps=2", "trainer.logging_steps=1", "trainer.save_steps=1")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        tune_with(Work(checkpoints=tmp_path), *settings, base="someone/out-of-reach")
    assert list(tmp_path.glob("checkpoint-*"))
    assert not [one for one in caught if "config file" in str(one.message)]


def test_earlier_versions_of_peft_and_transformers_read_an_adapter(tiny_adapter: Path) -> None:
    config = json.loads((tiny_adapter / "adapter_config.json").read_text(encoding="utf-8"))
    assert set(config) <= PEFT_0_13
    assert {"r", "lora_alpha", "target_modules", "peft_type", "task_type"} <= set(config)
    tokenizer = json.loads((tiny_adapter / "tokenizer_config.json").read_text(encoding="utf-8"))
    assert tokenizer["tokenizer_class"] == "PreTrainedTokenizerFast"


def test_earlier_versions_of_transformers_read_a_backbone(tiny_backbone: Path) -> None:
    config = json.loads((tiny_backbone / "config.json").read_text(encoding="utf-8"))
    assert config["rope_theta"] == config["rope_parameters"]["rope_theta"]
    tokenizer = json.loads((tiny_backbone / "tokenizer_config.json").read_text(encoding="utf-8"))
    assert tokenizer["tokenizer_class"] == "PreTrainedTokenizerFast"


def test_scaled_positions_are_written_for_earlier_versions_too(tmp_path: Path) -> None:
    rope = {"rope_theta": 500000.0, "rope_type": "llama3", "factor": 8.0}
    (tmp_path / "config.json").write_text(json.dumps({"rope_parameters": rope}), encoding="utf-8")
    write_for_earlier_versions(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    assert config["rope_theta"] == 500000.0
    assert config["rope_scaling"] == {"rope_type": "llama3", "factor": 8.0}
    assert config["rope_parameters"] == rope


@pytest.mark.parametrize(("threads", "expected"), [("null", 1), ("2", 2)])
def test_threads_are_those_of_the_recipe_or_one_for_a_small_model(
    threads: str, expected: int, tune_with: Tune, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    from dialoguellm_release.training import packs, trainer

    used, before = set[int](), torch.get_num_threads()
    summed_loss = packs.summed_loss

    def watched(*arguments: Any) -> Any:
        used.add(torch.get_num_threads())
        return summed_loss(*arguments)

    monkeypatch.setattr(trainer, "summed_loss", watched)
    tuned = tune_with(Work(), "trainer.max_steps=2", f"trainer.threads={threads}")
    assert (used, tuned.threads) == ({expected}, expected)
    assert torch.get_num_threads() == before


def test_a_large_model_takes_every_core(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    from dialoguellm_release.training.devices import LARGE, threads_of

    class Model:
        def __init__(self, weights: int) -> None:
            self.weights = weights

        def num_parameters(self) -> int:
            return self.weights

    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2}, raising=False)
    recipe = load_recipe("tiny", "adapter", AdapterRecipe).recipe
    assert [threads_of(recipe.trainer, Model(count)) for count in (LARGE - 1, LARGE)] == [1, 3]


def test_a_run_in_bf16_says_so_and_how_fast_it_was(
    tiny_backbone: Path, small_dataset: Path, tmp_path: Path
) -> None:
    from dialoguellm_release.steps.adapter import train_adapter

    made = train_adapter(
        "tiny",
        small_dataset,
        tmp_path / "adapter",
        backbones=tiny_backbone.parent,
        overrides=["trainer.max_steps=2", "trainer.precision=bf16"],
    )
    run = made.manifest.run
    assert run is not None
    assert (run.precision, run.hardware.endswith("one thread")) == ("bf16", True)
    assert run.matmul_share is not None
    assert 0 < run.matmul_share < 1
