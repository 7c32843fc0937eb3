"""A training that was cut off goes on to the same adapter; one that fails leaves nothing half-written."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dialoguellm_release.errors import DataError
from dialoguellm_release.folders import read_manifest, stamps
from dialoguellm_release.recipes.catalogue import load_recipe
from dialoguellm_release.schemas.manifests import AdapterManifest, FileStamp
from dialoguellm_release.schemas.recipes.adapter import AdapterRecipe
from dialoguellm_release.steps.adapter import trained
from dialoguellm_release.training.checkpoints import checkpoints_of, last_whole_checkpoint

SETTINGS = (
    "trainer.max_steps=16",
    "trainer.per_device_train_batch_size=4",
    "trainer.gradient_accumulation_steps=2",
    "trainer.logging_steps=2",
    "trainer.save_steps=4",
    "trainer.eval_steps=4",
    "lora.lora_dropout=0.1",
)
BEST = (*SETTINGS, "trainer.load_best_model_at_end=true")


class Cut(Exception):
    """What cuts a training off in these tests."""


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory, records_of: Any, dataset_of: Any) -> Path:
    splits = {"train": records_of("train", 84), "validation": records_of("validation", 15)}
    folder: Path = dataset_of(tmp_path_factory.mktemp("datasets") / "both", splits)
    return folder


@pytest.fixture
def train(tiny_backbone: Path, dataset: Path) -> Callable[..., Any]:
    def run(out: Path, *settings: str, resume: bool = False, again: bool = False) -> AdapterManifest:
        recipe = load_recipe("tiny", "adapter", AdapterRecipe, settings or SETTINGS)
        return trained(
            recipe,
            out,
            dataset,
            tiny_backbone.parent,
            unfinished="resume" if resume else "refuse",
            again=again,
        ).manifest

    return run


@pytest.fixture(scope="module")
def unbroken(
    tmp_path_factory: pytest.TempPathFactory,
    tiny_backbone: Path,
    dataset: Path,
) -> Path:
    out = tmp_path_factory.mktemp("unbroken") / "tiny"
    recipe = load_recipe("tiny", "adapter", AdapterRecipe, SETTINGS)
    trained(recipe, out, dataset, tiny_backbone.parent)
    return out


def cut_after(monkeypatch: pytest.MonkeyPatch, micro_batches: int) -> pytest.MonkeyPatch:
    """Ends the training after so many micro-batches of training."""
    from dialoguellm_release.training import packs

    count = 0
    summed_loss = packs.summed_loss

    def counted(model: Any, batch: Any, mask_of: Any) -> Any:
        nonlocal count
        if model.training:
            count += 1
        if count > micro_batches:
            raise Cut
        return summed_loss(model, batch, mask_of)

    monkeypatch.setattr("dialoguellm_release.training.trainer.summed_loss", counted)
    return monkeypatch


@pytest.mark.parametrize(
    ("micro_batches", "checkpoint"),
    [
        pytest.param(9, "checkpoint-4", marks=pytest.mark.slow),
        pytest.param(17, "checkpoint-8", marks=pytest.mark.slow),
        (27, "checkpoint-12"),  # in the second epoch, whose first step is the twelfth
    ],
)
def test_a_resumed_training_gives_the_bytes_of_an_unbroken_one(
    micro_batches: int,
    checkpoint: str,
    train: Any,
    unbroken: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "tiny"
    with monkeypatch.context() as patch:
        cut_after(patch, micro_batches)
        with pytest.raises(Cut):
            train(out)
    assert not out.exists()
    checkpoints = checkpoints_of(out)
    assert last_whole_checkpoint(checkpoints) == checkpoints / checkpoint
    manifest = train(out, resume=True)
    assert made_files(out) == made_files(unbroken)
    expected = read_manifest(unbroken, AdapterManifest)
    assert manifest.run is not None
    assert manifest.run.precision == "float32"
    assert manifest.run.steps == 16 - int(checkpoint.rpartition("-")[2])
    of_the_clock = {"run": None, "outputs": ()}
    assert manifest.model_copy(update=of_the_clock) == expected.model_copy(update=of_the_clock)
    assert [path.name for path in tmp_path.iterdir()] == ["tiny"]


@pytest.mark.slow
def test_a_checkpoint_that_was_cut_off_itself_is_passed_over(
    train: Any, unbroken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "tiny"
    with monkeypatch.context() as patch:
        cut_after(patch, 18)
        with pytest.raises(Cut):
            train(out)
    checkpoints = checkpoints_of(out)
    state = checkpoints / "checkpoint-8" / "trainer_state.json"
    state.write_text(state.read_text()[:100])
    (checkpoints / "checkpoint-8" / "adapter_model.safetensors").write_bytes(b"half")
    assert last_whole_checkpoint(checkpoints) == checkpoints / "checkpoint-4"
    train(out, resume=True)
    assert made_files(out) == made_files(unbroken)


def test_an_unfinished_training_is_neither_lost_nor_mixed_up(
    train: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "tiny"
    with monkeypatch.context() as patch:
        cut_after(patch, 10)
        with pytest.raises(Cut):
            train(out)
    with pytest.raises(DataError) as raised:
        train(out)
    (problem,) = raised.value.problems
    assert problem.code == "training.unfinished"
    assert "4 steps" in problem.what
    assert "--resume" in str(problem.fix)
    assert "--again" in str(problem.fix)
    with pytest.raises(DataError) as raised:
        train(out, *SETTINGS, "trainer.learning_rate=1e-4", resume=True)
    assert raised.value.problems[0].code == "training.other_run"
    without_checkpoints = [setting for setting in SETTINGS if "save_steps" not in setting]
    with pytest.raises(DataError) as raised:
        train(out, *without_checkpoints)
    assert raised.value.problems[0].code == "training.unfinished"
    assert last_whole_checkpoint(checkpoints_of(out)) is not None
    assert train(out, again=True).figures.steps == 16
    assert not checkpoints_of(out).exists()


@pytest.mark.slow
def test_resume_without_anything_to_go_on_from_begins_anew(
    train: Any, unbroken: Path, tmp_path: Path
) -> None:
    train(tmp_path / "tiny", resume=True)
    assert made_files(tmp_path / "tiny") == made_files(unbroken)


@pytest.mark.slow
def test_the_best_weights_on_the_validation_split_are_kept_in_a_resumed_training_too(
    train: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    restless = (*BEST, "trainer.lr_scheduler_type=constant", "trainer.learning_rate=0.03")
    best = train(tmp_path / "best", *restless)
    last = train(tmp_path / "last", *(setting for setting in restless if "load_best" not in setting))
    log = [json.loads(line) for line in (tmp_path / "best" / "training_log.jsonl").read_text().splitlines()]
    looks = {entry["step"]: entry["eval_loss"] for entry in log if "eval_loss" in entry}
    assert list(looks) == [4, 8, 12, 16]
    assert best.figures.validation_loss == min(looks.values()) < looks[16]
    assert last.figures.validation_loss == looks[16]
    assert best.content_sha256 != last.content_sha256
    assert best.figures.validation_records == 15

    again = tmp_path / "again"
    with monkeypatch.context() as patch:
        cut_after(patch, 19)
        with pytest.raises(Cut):
            train(again, *restless)
    train(again, *restless, resume=True)
    assert made_files(again) == made_files(tmp_path / "best")


@pytest.mark.parametrize("save_steps", ["null", "12"])
def test_the_log_survives_a_failure_before_the_first_checkpoint(
    save_steps: str, train: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    settings = [setting for setting in SETTINGS if "save_steps" not in setting]
    with monkeypatch.context() as patch:
        cut_after(patch, 9)
        with pytest.raises(Cut):
            train(tmp_path / "tiny", *settings, f"trainer.save_steps={save_steps}")
    (log,) = checkpoints_of(tmp_path / "tiny").iterdir()
    steps = [json.loads(line)["step"] for line in log.read_text(encoding="utf-8").splitlines()]
    assert steps == [1, 2, 4, 4]
    assert str(log) in capsys.readouterr().err
    train(tmp_path / "tiny", "trainer.max_steps=3")
    assert [path.name for path in tmp_path.iterdir()] == ["tiny"]


def test_a_recipe_that_looks_at_validation_needs_the_split(
    tiny_backbone: Path, small_dataset: Path, tmp_path: Path
) -> None:
    recipe = load_recipe("tiny", "adapter", AdapterRecipe, SETTINGS)
    with pytest.raises(DataError, match="no records of config meld, split validation"):
        trained(recipe, tmp_path / "out", small_dataset, tiny_backbone.parent)


def test_too_little_memory_gets_advice_from_the_estimate(
    train: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    def too_large(*_: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    monkeypatch.setattr("dialoguellm_release.training.trainer.summed_loss", too_large)
    with pytest.raises(DataError) as raised:
        train(tmp_path / "out")
    (problem,) = raised.value.problems
    assert problem.code == "training.out_of_memory"
    assert "2.00 GiB" in problem.what
    assert re.search(r"weights [\d.]+ kB", str(problem.expected))
    assert "trainer.per_device_train_batch_size: 2 with trainer.gradient_accumulation_steps: 4" in str(
        problem.fix
    )
    assert "activation_checkpointing: true" in str(problem.fix)


def test_a_training_that_diverges_stops_at_once(train: Any, tmp_path: Path) -> None:
    settings = (
        *(one for one in SETTINGS if not one.startswith("trainer.max_steps=")),
        "trainer.learning_rate=1e30",
        "trainer.max_grad_norm=1e30",
        "trainer.max_steps=1000",
    )
    with pytest.raises(DataError, match="has diverged") as raised:
        train(tmp_path / "out", *settings)
    assert "loss" in str(raised.value.problems[0].got)
    assert not (tmp_path / "out").exists()


# What follows kills and starves whole processes.

RUN = """
import resource, signal, sys
from dialoguellm_release.cli.main import main
most = int(sys.argv.pop(1))
if most:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
main()
"""


def command(dataset: Path, backbones: Path, out: Path, *options: str, most_bytes: int = 0) -> list[str]:
    settings = [part for setting in SETTINGS for part in ("--set", setting)]
    place = ["--dataset", str(dataset), "--backbones", str(backbones), "--out", str(out)]
    return [
        sys.executable,
        "-c",
        RUN,
        str(most_bytes),
        "adapter",
        "train",
        "tiny",
        *place,
        *settings,
        *options,
    ]


@pytest.fixture(scope="module")
def by_command(dataset: Path, tiny_backbone: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the command makes when nothing happens to it."""
    out = tmp_path_factory.mktemp("command") / "tiny"
    subprocess.run(command(dataset, tiny_backbone.parent, out), check=True, capture_output=True)
    return out


def made_files(folder: Path) -> list[FileStamp]:
    """The files of an adapter folder but its card, which tells how long the training took."""
    return [file for file in stamps(folder) if file.path != "README.md"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "file_that_appears",
    [
        ".tiny.partial",
        ".tiny.training/checkpoint-4",
        ".tiny.training/checkpoint-8/adapter_model.safetensors",
        ".tiny.training/checkpoint-8/optimizer.pt",
        ".tiny.training/checkpoint-12/trainer_state.json",
        ".tiny.partial/adapter_model.safetensors",
        ".tiny.partial/manifest.json",
    ],
)
def test_a_training_that_is_killed_goes_on(
    file_that_appears: str, dataset: Path, tiny_backbone: Path, by_command: Path, tmp_path: Path
) -> None:
    out = tmp_path / "tiny"
    started = subprocess.Popen(
        command(dataset, tiny_backbone.parent, out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    while not (tmp_path / file_that_appears).exists() and started.poll() is None:
        time.sleep(0.0005)
    started.kill()
    started.wait()
    again = subprocess.run(
        command(dataset, tiny_backbone.parent, out, "--resume"), capture_output=True, text=True, check=False
    )
    assert again.returncode == 0, again.stderr
    assert made_files(out) == made_files(by_command)
    assert [path.name for path in tmp_path.iterdir()] == ["tiny"]


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.5, 1.5], ids=["the weights", "the optimiser"])
def test_a_full_disk_says_so_and_the_training_goes_on(
    share: float, dataset: Path, tiny_backbone: Path, by_command: Path, tmp_path: Path
) -> None:
    weights = (by_command / "adapter_model.safetensors").stat().st_size
    out = tmp_path / "tiny"
    full = subprocess.run(
        command(dataset, tiny_backbone.parent, out, most_bytes=round(share * weights)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert full.returncode == 1, full.stderr
    assert "Traceback" not in full.stderr
    assert "cannot be written" in full.stderr
    assert "free some space" in full.stderr
    assert not out.exists()
    assert last_whole_checkpoint(checkpoints_of(out)) is None
    again = subprocess.run(
        command(dataset, tiny_backbone.parent, out, "--resume"), capture_output=True, text=True, check=False
    )
    assert again.returncode == 0, again.stderr
    assert made_files(out) == made_files(by_command)
