"""Damaged predictions and score folders: read, or refused with the name of the file."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from dialoguellm_release.recipes.catalogue import load_recipe
from dialoguellm_release.records import read_records
from dialoguellm_release.schemas.scores import ScoreRecipe
from dialoguellm_release.scoring.folder import read_answers
from dialoguellm_release.scoring.task import Task, read_task
from dialoguellm_release.steps.compare import compare_scores, score_table
from dialoguellm_release.steps.score import score_baseline
from tests.damage import damaged, only_release_errors

FEW = ["intervals.resamples=20"]


@pytest.fixture(scope="module")
def task(audited_dataset: Path) -> Task:
    return read_task(load_recipe("meld", "score", ScoreRecipe).recipe, audited_dataset)


@pytest.fixture(scope="module")
def majority(audited_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scores") / "majority"
    return score_baseline("meld", "majority", audited_dataset, folder, overrides=FEW).folder


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_damaged_predictions(
    suffix: str, task: Task, majority: Path, audited_dataset: Path, tmp_path: Path
) -> None:
    records = list(read_records(audited_dataset, "meld", "test"))
    path = tmp_path / f"mine{suffix}"
    if suffix == ".csv":
        rows = "".join(f"{record.id},{record.output}\n" for record in records)
        content = f"id,prediction\n{rows}".encode()
    elif suffix == ".jsonl":
        content = "".join(
            f'{{"id": "{record.id}", "prediction": "{record.output}"}}\n' for record in records
        ).encode()
    else:
        content = (majority / "predictions.parquet").read_bytes()
    outcomes = set()
    for name, changed in damaged(content, range(280)):
        path.write_bytes(changed)
        with only_release_errors(name, names=path.name):
            outcomes.add(len(read_answers(path, task)) == len(records))
            continue
        outcomes.add(False)
    assert outcomes == {True, False}


@pytest.mark.parametrize("file", ["manifest.json", "scores.json", "predictions.parquet"])
def test_damaged_score_folders(file: str, majority: Path, tmp_path: Path) -> None:
    folder = tmp_path / "damaged"
    shutil.copytree(majority, folder)
    content = (folder / file).read_bytes()
    for name, changed in damaged(content, range(140)):
        (folder / file).write_bytes(changed)
        with only_release_errors(name, names=str(folder)):
            compared: Any = compare_scores(majority, folder)
            assert compared.mcnemar_p == 1.0
        with only_release_errors(name, names=str(folder)):
            score_table([folder])
