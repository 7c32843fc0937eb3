"""The tasks for lm-evaluation-harness, run by it in an environment of its own."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml
from huggingface_hub import hf_hub_download

from dialoguellm_release.corpora.registry import corpus_entry
from dialoguellm_release.steps.adapter import train_adapter
from dialoguellm_release.steps.dataset import build_dataset
from dialoguellm_release.steps.release import publish
from dialoguellm_release.steps.score import ModelChoice, score
from tests.corpus_names import CORPORA
from tests.environments.roads import TASKS, answers_by_the_card, answers_of_the_harness
from tests.hub_server.accounts import Token
from tests.hub_server.clients import point_clients_at
from tests.hub_server.server import HubServer


@pytest.mark.parametrize("corpus", CORPORA)
def test_a_task_offers_the_labels_of_its_corpus(corpus: Any) -> None:
    task = yaml.safe_load((TASKS / f"dialoguellm_{corpus}.yaml").read_text(encoding="utf-8"))
    assert task["doc_to_choice"] == list(corpus_entry(corpus).label_space)
    assert task["dataset_kwargs"]["data_files"]["test"] == f"sft/test-{corpus}-*.parquet"
    group = yaml.safe_load((TASKS / "dialoguellm.yaml").read_text(encoding="utf-8"))
    assert task["task"] in group["task"]
    assert len(group["task"]) == len(CORPORA)


RELEASE = """\
version: 1
kind: release
description: A tiny adapter.
tag: v1.0.0
changelog: The first release.
dataset: {repo_id: dialoguellm/instructions, folder: dataset}
backbones: [{repo_id: dialoguellm/tiny-llama, folder: backbones/tiny}]
spaces: [{repo_id: dialoguellm/erc_scores, metric: erc_scores}]
adapters:
  - repo_id: dialoguellm/tiny
    folder: adapter
    scores: [meld-first_token]
    depends_on: [datasets/dialoguellm/instructions, dialoguellm/tiny-llama, spaces/dialoguellm/erc_scores]
"""
NAMES = ("meld", "emorynlp", "iemocap")


@dataclass(frozen=True)
class Built:
    """A build folder with a dataset, a backbone and an adapter of both, and the release recipe beside it."""

    build: Path
    release: Path

    def answers(self, corpus: str, scorer: str) -> tuple[dict[str, str], float]:
        """The answers of our scorer by record, and their accuracy."""
        folder = self.build / f"{corpus}-{scorer}"
        made = score(
            corpus,
            self.build / "dataset",
            ModelChoice(self.build / "adapter", None, self.build / "backbones", self.build / "cache"),
            folder,
            overrides=(f"scorer={scorer}", "intervals.resamples=50"),
        )
        rows = pq.read_table(folder / "predictions.parquet", columns=["id", "prediction"]).to_pylist()
        accuracy = made.manifest.figures.metrics["accuracy"]
        return {row["id"]: row["prediction"] for row in rows}, accuracy


@pytest.fixture
def built(tmp_path: Path, tiny_backbone: Path) -> Built:
    build = tmp_path / "build"
    shutil.copytree(tiny_backbone, build / "backbones" / "tiny")
    build_dataset("demo", out=build / "dataset")
    steps = ["trainer.max_steps=6", "trainer.learning_rate=3e-3"]
    train_adapter(
        "tiny", build / "dataset", build / "adapter", backbones=build / "backbones", overrides=steps
    )
    (tmp_path / "release.yaml").write_text(RELEASE, encoding="utf-8")
    return Built(build, tmp_path / "release.yaml")


@contextmanager
def published_card(built: Built, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The card of the adapter on a Hub that runs while it is read."""
    with HubServer().running() as server:
        token = server.accounts.add("hf_a", Token("maintainer", organizations=("dialoguellm",)))
        monkeypatch.setenv("HF_TOKEN", token)
        point_clients_at(server, cache, monkeypatch)
        publish(built.release, built.build, "hub")
        yield Path(hf_hub_download("dialoguellm/tiny", "README.md")).read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_three_roads_give_the_same_answers(
    environment: Any, built: Built, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Our scorer, plain transformers and PEFT by the code of the card, and lm-evaluation-harness."""
    by_first_token, _ = built.answers("meld", "first_token")
    dataset = built.build / "dataset"
    with published_card(built, tmp_path / "hub-cache", monkeypatch) as card:
        assert answers_by_the_card(card, dataset, None, None) == by_first_token
    assert len(set(by_first_token.values())) > 3
    model = (
        f"pretrained={built.build / 'backbones' / 'tiny'},peft={built.build / 'adapter'},add_bos_token=True"
    )
    answers, accuracies = answers_of_the_harness(environment, tmp_path, dataset, model, NAMES)
    for name in NAMES:
        ours, accuracy = built.answers(name, "full_likelihood")
        assert answers[name] == ours
        assert accuracies[name] == accuracy
