"""What only another environment can show: the wheel alone, and an older `datasets`."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from dialoguellm_release.schemas.labels import LABELS
from dialoguellm_release.steps.dataset import build_dataset

pytestmark = pytest.mark.slow
CONSTRAINTS = Path(__file__).parents[2] / "constraints.txt"


def test_the_wheel_works_alone(environment: Any, wheel: Path) -> None:
    """Without the checkout and without any extra: help, recipes, and the dataset of the demo."""
    environment.install("-c", CONSTRAINTS, wheel)
    assert environment.run("dlm-release", "--help").startswith("Usage: dlm-release")
    listed = json.loads(environment.run("dlm-release", "recipe", "list", "--json"))
    environment.run("dlm-release", "recipe", "validate")
    built = json.loads(environment.run("dlm-release", "dataset", "build", "demo", "--out", "built", "--json"))
    here = build_dataset("demo", out=environment.folder / "here")
    assert built["content_sha256"] == here.manifest.content_sha256
    assert len(listed["recipes"]) >= 8
    assert (environment.folder / "built" / "README.md").is_file()


def test_a_missing_extra_is_told(environment: Any, wheel: Path) -> None:
    environment.install("-c", CONSTRAINTS, wheel)
    environment.run("dlm-release", "dataset", "build", "demo", "--out", "built")
    with pytest.raises(AssertionError, match=r"this step needs the extra 'train'"):
        environment.run("dlm-release", "adapter", "train", "tiny", "--dataset", "built")


def test_the_wheel_holds_what_it_needs_and_no_test(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert "dialoguellm_release/bundled/recipes/datasets/paper.yaml" in names
    assert "dialoguellm_release/bundled/metrics/erc_scores/functions.py" in names
    assert "dialoguellm_release/bundled/recipes/corpora/meld.yaml" in names
    assert not [
        name for name in names if Path(name).name.startswith(("test_", "conftest")) and name.endswith(".py")
    ]
    assert not [name for name in names if "__pycache__" in name]


def test_an_older_datasets_reads_the_same(environment: Any, tmp_path: Path) -> None:
    made = build_dataset("demo", out=tmp_path / "dataset")
    environment.install("datasets==3.6.0")
    code = """
import json, sys, datasets
from datasets import load_dataset
folder = sys.argv[1]
print(json.dumps({
    "version": datasets.__version__,
    "default": {split: len(rows) for split, rows in load_dataset(folder).items()},
    "meld": len(load_dataset(folder, "meld", split="test")),
    "sft": load_dataset(folder, "sft", split="train").column_names,
    "label": load_dataset(folder, "meld", split="test").features["label"].names,
    "context": load_dataset(folder, "meld", split="test")[1]["context"],
}))
"""
    read = json.loads(environment.run("python", "-c", code, made.folder).splitlines()[-1])
    assert read["version"] == "3.6.0"
    assert read["default"] == made.manifest.figures.records
    assert read["meld"] == made.manifest.figures.corpora["meld"].splits["test"].utterances
    assert read["sft"][:3] == ["id", "prompt", "completion"]
    assert read["sft"][3:] == ["label", "corpus", "split", "dialogue_id", "utterance_index"]
    assert read["label"] == list(LABELS)
    assert len(read["context"]) == 1
