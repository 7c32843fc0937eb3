"""Adapter folders that were damaged: used as they are, or a problem names the file."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from dialoguellm_release.backbones.adapters import check_unchanged, load_adapter
from dialoguellm_release.backbones.load import load_backbone, local_tokenizer
from dialoguellm_release.errors import DataError
from dialoguellm_release.folders import read_manifest
from dialoguellm_release.recipes.load import Loaded
from dialoguellm_release.schemas.manifests import AdapterManifest
from dialoguellm_release.schemas.recipes.backbone import BackboneRecipe
from dialoguellm_release.steps.model import merge_adapter
from tests.damage import damaged, only_release_errors


@pytest.fixture
def folder(tiny_adapter: Path, tmp_path: Path) -> Path:
    return shutil.copytree(tiny_adapter, tmp_path / "adapter")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["adapter_config.json", "adapter_model.safetensors"])
def test_a_damaged_adapter_is_loaded_or_named(
    name: str, folder: Path, tiny_backbone: Path, tiny_recipe: Loaded[BackboneRecipe]
) -> None:
    model, _ = load_backbone(tiny_recipe.recipe, tiny_backbone)
    refused, path = 0, folder / name
    for damage, content in damaged(path.read_bytes(), range(140)):
        path.write_bytes(content)
        loaded: Any = None
        with only_release_errors(damage, names=name):
            loaded = load_adapter(model, folder)
        if loaded is None:
            refused += 1
        if hasattr(model, "peft_config") or loaded is not None:
            model, _ = load_backbone(tiny_recipe.recipe, tiny_backbone)
    assert refused > 40


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer_config.json"])
def test_a_damaged_tokenizer_is_loaded_or_named(
    name: str, folder: Path, tiny_recipe: Loaded[BackboneRecipe]
) -> None:
    path = folder / name
    for damage, content in damaged(path.read_bytes(), range(140)):
        path.write_bytes(content)
        with only_release_errors(damage, names=name):
            local_tokenizer(tiny_recipe.recipe, None, folder)


@pytest.mark.parametrize(
    "name", ["adapter_model.safetensors", "adapter_config.json", "golden_prompt.json", "tokenizer.json"]
)
def test_a_changed_file_is_neither_merged_nor_scored(
    name: str, folder: Path, tiny_backbone: Path, tmp_path: Path
) -> None:
    trained = read_manifest(folder, AdapterManifest)
    check_unchanged(folder, trained)
    path = folder / name
    for damage, content in damaged(path.read_bytes(), range(14)):
        if content == path.read_bytes():
            continue
        path.write_bytes(content)
        with pytest.raises(DataError) as raised:
            check_unchanged(folder, trained)
        (problem,) = raised.value.problems
        assert (problem.code, problem.where) == ("adapters.changed_file", str(path)), damage
    with pytest.raises(DataError) as raised:
        merge_adapter(folder, tmp_path / "merged", backbones=tiny_backbone.parent)
    assert raised.value.problems[0].code == "adapters.changed_file"
    assert not (tmp_path / "merged").exists()
