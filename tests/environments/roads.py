"""Two roads to an answer that know nothing of our scorer: the code on a card, and lm-evaluation-harness."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from dialoguellm_release.corpora.registry import corpus_entry
from tests.environments.conftest import Environment

TASKS = Path(__file__).parents[2] / "lm_eval_tasks"


def prompts_of_meld(dataset: Path) -> Iterator[tuple[str, str]]:
    """Id and prompt of each test record, in the order of the dataset."""
    for path in sorted((dataset / "sft").glob("test-meld-*.parquet")):
        for row in pq.read_table(path, columns=["id", "prompt"]).to_pylist():
            yield row["id"], row["prompt"]


def answers_by_the_card(card: str, dataset: Path, base: Path | None, limit: int | None) -> dict[str, str]:
    """What transformers and PEFT answer on MELD, by the code on the card of an adapter.

    Args:
        base: What a reader puts in place of FOLDER_OF_THE_BASE.
    """
    blocks = re.findall(r"^```python\n(.*?)^```", card, re.MULTILINE | re.DOTALL)
    (block,) = (block for block in blocks if "PeftModel" in block and "answer =" in block)
    block = block.replace("FOLDER_OF_THE_BASE", str(base))
    names: dict[str, Any] = {}
    exec(block, names)
    asks = compile(block[block.index("with torch.inference_mode():") :], "card", "exec")
    found = {}
    for record, prompt in islice(prompts_of_meld(dataset), limit):
        exec(asks, names | {"prompt": prompt}, spoken := dict[str, Any]())
        found[record] = spoken["answer"]
    return found


def answers_of_the_harness(
    environment: Environment,
    folder: Path,
    dataset: Path,
    model: str,
    corpora: Sequence[str],
    limit: int | None = None,
) -> tuple[dict[str, dict[str, str]], dict[str, float]]:
    """The answers of lm-evaluation-harness by corpus and record, and their accuracy.

    Args:
        folder: Holds its tasks and what it finds.
        model: `--model_args` of its model `hf`.
    """
    tasks = folder / "tasks"
    shutil.copytree(TASKS, tasks)
    common = tasks / "_dialoguellm_yaml"
    text = common.read_text(encoding="utf-8")
    common.write_text(text.replace("dialoguellm/instructions", str(dataset)), encoding="utf-8")
    environment.install("torch==2.13.0")
    environment.install(
        "lm_eval[hf]==0.4.13", "transformers==5.23.0", "accelerate==1.15.0", "peft==0.21.2", "gguf==0.19.0"
    )
    environment.run(
        "lm_eval",
        *("--model", "hf", "--device", "cpu", "--batch_size", "8", "--log_samples"),
        *("--model_args", f"{model},dtype=float32"),
        *("--include_path", tasks, "--tasks", ",".join(f"dialoguellm_{name}" for name in corpora)),
        *(("--limit", str(limit)) if limit else ()),
        *("--output_path", folder / "found"),
    )
    (found,) = (folder / "found").rglob("results_*.json")
    results = json.loads(found.read_text(encoding="utf-8"))["results"]
    answers: dict[str, dict[str, str]] = {}
    for name in corpora:
        labels = corpus_entry(name).label_space
        (samples,) = (folder / "found").rglob(f"samples_dialoguellm_{name}_*.jsonl")
        for line in samples.read_text(encoding="utf-8").splitlines():
            one = json.loads(line)
            likelihoods = [float(reply[0]) for reply in one["filtered_resps"]]
            answer = labels[likelihoods.index(max(likelihoods))]
            answers.setdefault(name, {})[one["doc"]["id"]] = answer
    return answers, {name: results[f"dialoguellm_{name}"]["acc,none"] for name in corpora}
