"""Damaged files of a dataset folder: `dataset check` names the file, and reading it ends in no traceback."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from dialoguellm_release.records import read_records
from dialoguellm_release.schemas.dataset_manifest import DatasetManifest
from dialoguellm_release.step import StepResult
from dialoguellm_release.steps.dataset import audit_dataset, check_dataset
from tests.damage import damaged, only_release_errors

FILES = ("audit.json", "croissant.json", "README.md", "manifest.json", "data", "sft")


@pytest.mark.slow
@pytest.mark.parametrize("file", FILES)
def test_damaged_dataset_folders(
    file: str, demo_dataset: StepResult[DatasetManifest], tmp_path: Path
) -> None:
    folder = tmp_path / "dataset"
    shutil.copytree(demo_dataset.folder, folder)
    path = folder / file
    if path.is_dir():
        path = max(path.rglob("*.parquet"), key=lambda one: one.stat().st_size)
    content = path.read_bytes()
    named = path.stem if file == "manifest.json" else path.name  # "the manifest lists another"
    found = set()
    for name, changed in damaged(content, range(60)):
        path.write_bytes(changed)
        with only_release_errors(name, names=named):
            problems = check_dataset(folder)
            if changed != content and file != "manifest.json":  # where white space and versions may change
                assert any(path.name in problem.where for problem in problems), name
                found.add(True)
        with only_release_errors(name, names=named):
            list(read_records(folder, "default", "train"))
        if file in ("data", "manifest.json"):
            with only_release_errors(name, names=named):
                audit_dataset(folder)
    assert found == {True} or file == "manifest.json"
