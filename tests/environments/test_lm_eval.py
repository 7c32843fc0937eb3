"""The tasks for lm-evaluation-harness, run by it in an environment of its own."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from dialoguellm_release.corpora.registry import corpus_entry
from dialoguellm_release.steps.dataset import build_dataset
from dialoguellm_release.steps.score import ModelChoice, score
from tests.corpus_names import CORPORA

TASKS = Path(__file__).parents[2] / "lm_eval_tasks"


@pytest.mark.parametrize("corpus", CORPORA)
def test_a_task_offers_the_labels_of_its_corpus(corpus: Any) -> None:
    task = yaml.safe_load((TASKS / f"dialoguellm_{corpus}.yaml").read_text(encoding="utf-8"))
    assert task["doc_to_choice"] == list(corpus_entry(corpus).label_space)
    assert task["dataset_kwargs"]["data_files"]["test"] == f"sft/test-{corpus}-*.parquet"
    group = yaml.safe_load((TASKS / "dialoguellm.yaml").read_text(encoding="utf-8"))
    assert task["task"] in group["task"]
    assert len(group["task"]) == len(CORPORA)


@pytest.mark.slow
def test_the_harness_finds_the_same_accuracy(environment: Any, tmp_path: Path, tiny_backbone: Path) -> None:
    dataset = build_dataset("demo", out=tmp_path / "dataset").folder
    tasks = tmp_path / "tasks"
    shutil.copytree(TASKS, tasks)
    common = tasks / "_dialoguellm_yaml"
    text = common.read_text(encoding="utf-8")
    common.write_text(text.replace("dialoguellm/instructions", str(dataset)), encoding="utf-8")
    environment.install("torch==2.13.0")
    environment.install("lm_eval[hf]==0.4.13", "transformers==5.23.0", "accelerate==1.15.0")
    names = ("meld", "emorynlp", "iemocap")
    environment.run(
        "lm_eval",
        *("--model", "hf", "--device", "cpu", "--batch_size", "8"),
        *("--model_args", f"pretrained={tiny_backbone},add_bos_token=True,dtype=float32"),
        *("--include_path", tasks, "--tasks", ",".join(f"dialoguellm_{name}" for name in names)),
        *("--output_path", tmp_path / "found"),
    )
    (found,) = (tmp_path / "found").rglob("results_*.json")
    results = json.loads(found.read_text(encoding="utf-8"))["results"]
    for name in names:
        ours = score(
            name,
            dataset,
            ModelChoice(None, "tiny", tiny_backbone.parent, tmp_path / "cache"),
            tmp_path / name,
            overrides=("scorer=full_likelihood", "intervals.resamples=50"),
        )
        assert results[f"dialoguellm_{name}"]["acc,none"] == ours.manifest.figures.metrics["accuracy"]
