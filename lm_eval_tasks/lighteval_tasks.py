"""The corpora of this release as tasks of LightEval, by the labels of the tasks of lm-evaluation-harness.

lighteval accelerate "model_name=MODEL" dialoguellm_meld --custom-tasks lm_eval_tasks/lighteval_tasks.py

`DLM_DATASET` names another dataset than the published one, such as a folder that was built here.
"""

import os
from pathlib import Path
from typing import Any

import yaml
from lighteval.metrics.metrics import Metrics
from lighteval.tasks.lighteval_task import LightevalTaskConfig
from lighteval.tasks.requests import Doc

DATASET = os.environ.get("DLM_DATASET", "dialoguellm/instructions")


def _task(path: Path) -> LightevalTaskConfig:
    """The task of one corpus: the label whose tokens together are most likely after the prompt."""
    task = yaml.safe_load(path.read_text(encoding="utf-8"))
    corpus, labels = task["task"].removeprefix("dialoguellm_"), task["doc_to_choice"]

    def document(row: dict[str, Any], task_name: str) -> Doc:
        return Doc(
            task_name=task_name,
            query=row["prompt"],
            choices=[f" {label}" for label in labels],
            gold_index=labels.index(row["completion"].strip()),
        )

    return LightevalTaskConfig(
        name=task["task"],
        prompt_function=document,
        hf_repo=DATASET,
        hf_subset="sft",
        hf_filter=lambda row: row["corpus"] == corpus,
        hf_avail_splits=["train", "validation", "test"],
        evaluation_splits=["test"],
        metrics=[Metrics.loglikelihood_acc],
        version=1,
    )


TASKS_TABLE = [_task(path) for path in sorted(Path(__file__).parent.glob("dialoguellm_*.yaml"))]
