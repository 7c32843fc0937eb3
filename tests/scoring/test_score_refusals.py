"""What is not scored: the wrong prompt, base, adapter, label or corpus."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from dialoguellm_release.errors import DataError
from dialoguellm_release.folders import read_manifest, write_manifest
from dialoguellm_release.schemas.dataset_manifest import DatasetManifest
from dialoguellm_release.steps.score import ModelChoice, WorkFolders, score


def test_a_dataset_of_another_prompt_and_another_base_are_refused_together(
    tiny_adapter: Path,
    backbones: Path,
    bytes_recipe: Path,
    tmp_path: Path,
    dialogues_of: Any,
    dataset_of: Any,
) -> None:
    dataset = dataset_of(tmp_path / "dataset", {"test": dialogues_of("test", 7)})
    manifest = read_manifest(dataset, DatasetManifest)
    figures = manifest.figures.model_copy(update={"prompt_sha256": "f" * 64})
    write_manifest(dataset, manifest.model_copy(update={"figures": figures}))
    with pytest.raises(DataError) as raised:
        score(
            "meld",
            dataset,
            ModelChoice(tiny_adapter, str(bytes_recipe), WorkFolders(backbones, tmp_path / "cache")),
            tmp_path / "out",
        )
    prompt_problem, base_problem = raised.value.problems
    assert str(prompt_problem.got).endswith("f" * 64)
    assert base_problem.what == "was trained on another backbone"
    assert not (tmp_path / "out").exists()


def test_an_adapter_whose_prompt_was_edited_is_refused(run: Any, tiny_adapter: Path, tmp_path: Path) -> None:
    edited = tmp_path / "edited"
    shutil.copytree(tiny_adapter, edited)
    path = edited / "prompt.json"
    path.write_text(
        path.read_text(encoding="utf-8").replace("### Response:", "### Answer:"), encoding="utf-8"
    )
    with pytest.raises(DataError, match="its templates were changed"):
        run("out", adapter=edited)


def test_a_folder_that_is_no_adapter_is_refused(run: Any, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no adapter folder here"):
        run("out", adapter=tmp_path / "absent")


def test_a_label_outside_the_label_space_is_refused(
    run: Any, tmp_path: Path, dialogues_of: Any, dataset_of: Any
) -> None:
    odd = [
        record.model_copy(update={"output": "powerful", "label": "powerful"})
        for record in dialogues_of("test", 2)
    ]
    dataset = dataset_of(tmp_path / "dataset", {"test": odd})
    with pytest.raises(DataError, match="the label space of the corpus lacks") as raised:
        run("out", dataset=dataset)
    assert raised.value.problems[0].got == "powerful (2)"


def test_a_corpus_that_is_not_in_the_dataset_is_refused(run: Any) -> None:
    with pytest.raises(DataError, match="no records of config iemocap"):
        run("out", "corpus=iemocap")
