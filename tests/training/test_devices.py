"""Two processes train what one trains: same recipe, same adapter, one folder, one report."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from dialoguellm_release.errors import RecipeError
from dialoguellm_release.folders import read_manifest, stamps
from dialoguellm_release.schemas.manifests import AdapterManifest
from dialoguellm_release.steps.adapter import train_adapter
from dialoguellm_release.training.checkpoints import checkpoints_of, last_whole_checkpoint

RECORDS = 84
SETTINGS = (
    "trainer.max_steps=14",
    "trainer.per_device_train_batch_size=4",
    "trainer.gradient_accumulation_steps=2",
    "trainer.logging_steps=2",
    "trainer.eval_steps=7",
    "lora.lora_dropout=0",
)
"""An epoch is 10 steps of 8 records and one of 4, so the second process has nothing in the last of them."""

DOCS = Path(__file__).parents[2] / "docs"
COMMAND_LINE = "from dialoguellm_release.cli.main import main; main()"


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory, records_of: Any, dataset_of: Any) -> Path:
    splits = {"train": records_of("train", RECORDS), "validation": records_of("validation", 13)}
    folder: Path = dataset_of(tmp_path_factory.mktemp("datasets") / "both", splits)
    return folder


def one_process(dataset: Path, out: Path, *options: str, program: str = COMMAND_LINE) -> list[str]:
    """The command that trains in a process of its own."""
    command = [sys.executable, "-c", program, "adapter", "train", "tiny"]
    return [*command, "--dataset", str(dataset), "--out", str(out), *options, "--json"]


def two_processes(dataset: Path, out: Path, *options: str, program: str = COMMAND_LINE) -> list[str]:
    """The command that trains in two processes; they find each other by a free port."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    return [*command, "--no-python", *one_process(dataset, out, *options, program=program)]


def settings(*more: str) -> list[str]:
    """The settings of these tests as options; one of `more` replaces that of the same key."""
    values = dict(setting.split("=", 1) for setting in (*SETTINGS, *more))
    return [part for key, value in values.items() for part in ("--set", f"{key}={value}")]


def run(command: list[str], cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"OMP_NUM_THREADS": "1"} | variables
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


def kill_when_it_has_a_checkpoint(command: list[str], out: Path, **variables: str) -> None:
    """Kills one process of a training; torchrun ends what is left when one of its processes dies."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"} | variables
    errors = out.with_suffix(".stderr")
    with errors.open("wb") as stream:
        started = subprocess.Popen(command, cwd=out.parent, env=environment, stderr=stream)
    deadline = time.monotonic() + 240
    while last_whole_checkpoint(checkpoints_of(out)) is None and time.monotonic() < deadline:
        assert started.poll() is None, errors.read_text(encoding="utf-8")
        time.sleep(0.05)
    workers = Path(f"/proc/{started.pid}/task/{started.pid}/children").read_text(encoding="ascii").split()
    os.kill(int(workers[-1]) if "torch.distributed.run" in command else started.pid, signal.SIGKILL)
    assert started.wait(120) != 0
    assert last_whole_checkpoint(checkpoints_of(out)) is not None


def largest_difference(one: Path, other: Path) -> float:
    """Between the weights of two adapters, as a part of the largest weight."""
    from safetensors.torch import load_file

    weights, others = (load_file(folder / "adapter_model.safetensors") for folder in (one, other))
    assert weights.keys() == others.keys()
    largest = max(float(weight.abs().max()) for weight in weights.values())
    return max(float((weight - others[name]).abs().max()) for name, weight in weights.items()) / largest


def test_micro_batches_that_cannot_be_shared_out_are_refused_before_anything_is_read(
    tmp_path: Path, dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.setattr("dialoguellm_release.steps.adapter.built_backbone", lambda *_: None)
    monkeypatch.setattr("dialoguellm_release.processes._wait_for_all", lambda: None)
    with pytest.raises(RecipeError, match="cannot be shared out evenly") as raised:
        train_adapter(
            "llama-2-7b", dataset, tmp_path / "out", overrides=["trainer.gradient_accumulation_steps=6"]
        )
    assert (raised.value.problems[0].expected, raised.value.problems[0].got) == ("a multiple of 4", "6")
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize(
    "more", ["packing=shared_prefix", "packing=none", "trainer.activation_checkpointing=true"]
)
def test_two_processes_give_the_adapter_of_one(more: str, dataset: Path, tmp_path: Path) -> None:
    done = run(two_processes(dataset, tmp_path / "two", *settings(more)), tmp_path)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["run"]["devices"] == 2
    overrides = [*SETTINGS, more]
    one = train_adapter(
        "tiny", dataset, tmp_path / "one", backbones=tmp_path / "build/backbones", overrides=overrides
    )
    assert one.manifest.run is not None
    assert one.manifest.run.devices == 1

    two = read_manifest(tmp_path / "two", AdapterManifest)
    assert two.outputs == stamps(tmp_path / "two")
    assert two.recipe == one.manifest.recipe
    assert two.content_sha256 == one.manifest.content_sha256
    weights = [(tmp_path / name / "adapter_model.safetensors").read_bytes() for name in ("one", "two")]
    assert weights[0] == weights[1]
    assert two.figures.steps == one.manifest.figures.steps == 14
    assert two.figures.validation_loss == pytest.approx(one.manifest.figures.validation_loss, rel=1e-6)
    logs = [counted(tmp_path / name) for name in ("one", "two")]
    assert logs[0] == logs[1]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["build", "one", "two"]


def counted(adapter: Path) -> list[tuple[int, int]]:
    """The tokens of the records at each step that was logged."""
    entries = map(json.loads, (adapter / "training_log.jsonl").read_text(encoding="utf-8").splitlines())
    return [(entry["step"], entry["num_tokens"]) for entry in entries if "num_tokens" in entry]


@pytest.mark.slow
def test_two_processes_go_on_after_one_was_killed(dataset: Path, tmp_path: Path) -> None:
    more = ["trainer.save_steps=2", "trainer.max_steps=60"]
    out = tmp_path / "cut"
    command = two_processes(dataset, out, *settings(*more))
    kill_when_it_has_a_checkpoint(command, out)
    assert not out.exists()

    resumed = run(two_processes(dataset, out, *settings(*more), "--resume"), tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    whole = run(two_processes(dataset, tmp_path / "whole", *settings(*more)), tmp_path)
    assert whole.returncode == 0, whole.stderr
    assert json.loads(resumed.stdout)["content_sha256"] == json.loads(whole.stdout)["content_sha256"]
    assert counted(out) == counted(tmp_path / "whole")
    assert not checkpoints_of(out).exists()


@pytest.mark.slow
@pytest.mark.parametrize(("begun_by", "ended_by"), [(1, 2), (2, 1)])
def test_another_number_of_processes_goes_on_to_the_same_adapter(
    begun_by: int, ended_by: int, dataset: Path, tmp_path: Path
) -> None:
    more = settings("trainer.save_steps=2", "trainer.max_steps=60")
    commands = {1: one_process, 2: two_processes}
    out = tmp_path / "cut"
    kill_when_it_has_a_checkpoint(commands[begun_by](dataset, out, *more), out)
    resumed = run(commands[ended_by](dataset, out, *more, "--resume"), tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    assert json.loads(resumed.stdout)["run"]["devices"] == ended_by
    whole = run(one_process(dataset, tmp_path / "whole", *more), tmp_path)
    assert whole.returncode == 0, whole.stderr
    assert largest_difference(out, tmp_path / "whole") < 1e-5
    assert counted(out) == counted(tmp_path / "whole")


FSDP_ON_CPUS = """
from accelerate import state
from accelerate.utils import DistributedType

made = state.AcceleratorState.__init__


def made_for_fsdp(self, *arguments, fsdp_plugin=None, **settings):
    made(self, *arguments, fsdp_plugin=fsdp_plugin, **settings)
    if fsdp_plugin is not None and self.distributed_type == DistributedType.MULTI_CPU:
        self.fsdp_plugin = fsdp_plugin
        self.distributed_type = DistributedType.FSDP
        state.PartialState._shared_state["distributed_type"] = DistributedType.FSDP


state.AcceleratorState.__init__ = made_for_fsdp
"""
"""Accelerate (1.15) takes FSDP for accelerators alone, and on CPUs says nothing and spreads no weights. From
here on it takes CPUs too: all that follows is its own and torch's."""

SPREAD = """
from torch.distributed.tensor import DTensor
from dialoguellm_release.training import sft
gather = sft.gather_trained


def told(model):
    print("spread", all(isinstance(weight, DTensor) for weight in model.parameters()), file=sys.stderr)
    gather(model)


sft.gather_trained = told
"""


@pytest.mark.slow
@pytest.mark.parametrize("more", ["packing=shared_prefix", "trainer.activation_checkpointing=true"])
def test_weights_spread_by_fsdp_are_trained_like_whole_ones(more: str, dataset: Path, tmp_path: Path) -> None:
    stated = yaml.safe_load((DOCS / "accelerate" / "fsdp.yaml").read_text(encoding="utf-8"))["fsdp_config"]
    spread = {name.upper(): str(value) for name, value in stated.items()} | {"ACCELERATE_USE_FSDP": "true"}
    program = f"import sys\n{FSDP_ON_CPUS}\n{SPREAD}\n{COMMAND_LINE}"
    options = settings(more, "trainer.save_steps=2", "trainer.max_steps=60")
    out = tmp_path / "cut"
    command = two_processes(dataset, out, *options, program=program)
    kill_when_it_has_a_checkpoint(command, out, **spread)
    resumed = run([*command, "--resume"], tmp_path, **spread)
    assert resumed.returncode == 0, resumed.stderr
    assert resumed.stderr.count("spread True") == 2
    one = run(one_process(dataset, tmp_path / "one", *options), tmp_path)
    assert one.returncode == 0, one.stderr
    assert largest_difference(out, tmp_path / "one") < 1e-5
    assert counted(out) == counted(tmp_path / "one")
    assert not checkpoints_of(out).exists()
