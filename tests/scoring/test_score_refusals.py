"""What is not scored: the wrong prompt, base, adapter, label or corpus."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from dialoguellm_release.errors import DataError
from dialoguellm_release.folders import read_manifest, write_manifest
from dialoguellm_release.schemas.dataset_manifest import DatasetManifest
from dialoguellm_release.schemas.manifests import ScoreManifest
from dialoguellm_release.steps.score import ModelChoice, score


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
            ModelChoice(tiny_adapter, str(bytes_recipe), backbones, tmp_path / "cache"),
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


@pytest.mark.parametrize("reference", ["dialoguellm/tiny", "dialoguellm/tiny@main"])
def test_an_adapter_is_found_on_the_hub(
    reference: str, run: Any, tiny_adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub

    snapshot = tmp_path / "snapshots" / ("0" * 40)
    shutil.copytree(tiny_adapter, snapshot)
    asked = []

    def download(repo_id: str, revision: str | None, allow_patterns: object) -> str:
        assert allow_patterns is None
        asked.append((repo_id, revision))
        return str(snapshot)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    local, remote = run("local", "max_records=2"), run("remote", "max_records=2", adapter=reference)
    assert asked == [("dialoguellm/tiny", "main" if "@" in reference else None)]
    manifests = [read_manifest(folder, ScoreManifest) for folder in (local, remote)]
    assert manifests[0].content_sha256 == manifests[1].content_sha256


def test_neither_a_folder_nor_a_repository(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub
    from huggingface_hub.errors import LocalEntryNotFoundError

    def refuse(repo_id: str, revision: str | None, allow_patterns: object) -> str:
        raise LocalEntryNotFoundError(f"{repo_id} at {revision}: {allow_patterns}")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse)
    with pytest.raises(DataError) as raised:
        run("out", adapter="adapters/tiny")
    assert raised.value.problems[0].code == "backbones.unreachable"
    assert raised.value.problems[0].what.startswith("no such folder")
