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

from dialoguellm_release.errors import RecipeError
from dialoguellm_release.folders import read_manifest, stamps
from dialoguellm_release.schemas.manifests.adapter import AdapterManifest
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

COMMAND_LINE = "from dialoguellm_release.cli.main import main; main()"


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory, records_of: Any, dataset_of: Any) -> Path:
    splits = {"train": records_of("train", RECORDS), "validation": records_of("validation", 13)}
    folder: Path = dataset_of(tmp_path_factory.mktemp("datasets") / "both", splits)
    return folder


def two_processes(dataset: Path, out: Path, *options: str) -> list[str]:
    """The command that trains in two processes; they find each other by a free port."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    command += ["--no-python", sys.executable, "-c", COMMAND_LINE, "adapter", "train", "tiny"]
    return [*command, "--dataset", str(dataset), "--out", str(out), *options, "--json"]


def settings(*more: str) -> list[str]:
    return [part for setting in (*SETTINGS, *more) for part in ("--set", setting)]


def run(command: list[str], cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


def test_micro_batches_that_cannot_be_shared_out_are_refused_before_anything_is_read(
    tmp_path: Path, dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.setattr("dialoguellm_release.steps.adapter.built_backbone", lambda *_: None)
    monkeypatch.setattr("dialoguellm_release.training.processes._wait_for_all", lambda: None)
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
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 240
    while last_whole_checkpoint(checkpoints_of(out)) is None and time.monotonic() < deadline:
        time.sleep(0.05)
    # torchrun ends what is left when one of its processes dies.
    workers = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text(encoding="ascii").split()
    assert len(workers) == 2
    os.kill(int(workers[1]), signal.SIGKILL)
    assert process.wait(120) != 0
    assert last_whole_checkpoint(checkpoints_of(out)) is not None
    assert not out.exists()

    resumed = run(two_processes(dataset, out, *settings(*more), "--resume"), tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    whole = run(two_processes(dataset, tmp_path / "whole", *settings(*more)), tmp_path)
    assert whole.returncode == 0, whole.stderr
    assert json.loads(resumed.stdout)["content_sha256"] == json.loads(whole.stdout)["content_sha256"]
    assert counted(out) == counted(tmp_path / "whole")
    assert not checkpoints_of(out).exists()


SHARD_AND_GATHER = """
import torch
from peft import LoraConfig, get_peft_model
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from transformers import LlamaConfig, LlamaForCausalLM
from dialoguellm_release.training.processes import gather_trained

mesh = init_device_mesh("cpu", (2,))
torch.manual_seed(0)
config = LlamaConfig(
    vocab_size=32, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2
)
model = get_peft_model(LlamaForCausalLM(config), LoraConfig(r=2, target_modules=["q_proj"]))
before = {name: weight.detach().clone() for name, weight in model.named_parameters() if weight.requires_grad}
fully_shard(model, mesh=mesh)
trained = [weight for weight in model.parameters() if weight.requires_grad]
assert trained and all(isinstance(weight, DTensor) for weight in trained)
gather_trained(model)
after = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
assert after.keys() == before.keys()
assert all(torch.equal(after[name], before[name]) for name in before)
torch.distributed.destroy_process_group()
print("gathered")
"""


@pytest.mark.slow
def test_weights_that_fsdp_spread_are_whole_again(tmp_path: Path) -> None:
    script = tmp_path / "gather.py"
    script.write_text(SHARD_AND_GATHER, encoding="utf-8")
    done = run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", str(script)],
        tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["gathered", "gathered"]
