"""An adapter of somebody's is put onto its backbone from safetensors alone."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dialoguellm_release.backbones.adapters import (
    adapter_files_sha256,
    config_problems,
    load_adapter,
    load_answering,
    other_function,
    read_config,
)
from dialoguellm_release.backbones.load import load_backbone
from dialoguellm_release.errors import DataError
from dialoguellm_release.folders import read_manifest
from dialoguellm_release.recipes.load import Loaded
from dialoguellm_release.schemas.manifests import AdapterManifest
from dialoguellm_release.schemas.recipes.adapter import AdapterRecipe
from dialoguellm_release.schemas.recipes.backbone import BackboneRecipe


class Opened:
    """Leaves a trace where it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[object, tuple[str, ...]]:
        return Path.mkdir, (self.trace,)  # type: ignore[return-value]


def test_a_pickle_is_never_opened(
    tiny_adapter: Path, tiny_backbone: Path, tiny_recipe: Loaded[BackboneRecipe], tmp_path: Path
) -> None:
    folder = tmp_path / "foreign"
    folder.mkdir()
    shutil.copyfile(tiny_adapter / "adapter_config.json", folder / "adapter_config.json")
    (folder / "adapter_model.bin").write_bytes(pickle.dumps(Opened(tmp_path / "trace")))
    model, _ = load_backbone(tiny_recipe.recipe, tiny_backbone)
    with pytest.raises(DataError, match=r"no adapter_model\.safetensors here"):
        load_adapter(model, folder)
    assert not (tmp_path / "trace").exists()


@pytest.mark.parametrize(("precision", "is_merged"), [("float32", True), ("bf16", False)])
def test_an_adapter_is_merged_only_where_that_rounds_nothing_that_counts(
    precision: Any,
    is_merged: bool,
    tiny_adapter: Path,
    tiny_backbone: Path,
    tiny_recipe: Loaded[BackboneRecipe],
) -> None:
    import torch
    from peft import PeftModel

    def loaded() -> Any:
        return load_backbone(tiny_recipe.recipe, tiny_backbone, precision=precision)[0]

    answering, apart = load_answering(loaded(), tiny_adapter), load_adapter(loaded(), tiny_adapter).eval()
    assert isinstance(answering, PeftModel) is not is_merged
    assert not answering.training
    ids = torch.arange(40)[None]
    with torch.inference_mode():
        found, expected, base = (model(input_ids=ids).logits for model in (answering, apart, loaded()))
    assert (found.softmax(-1) - expected.softmax(-1)).abs().max() < 1e-5
    assert (found.softmax(-1) - base.softmax(-1)).abs().max() > 1e-3


def test_what_is_no_adapter_of_the_model_is_told(
    tiny_adapter: Path, tiny_backbone: Path, tiny_recipe: Loaded[BackboneRecipe], tmp_path: Path
) -> None:
    model, _ = load_backbone(tiny_recipe.recipe, tiny_backbone)
    with pytest.raises(DataError, match=r"no adapter_config\.json here[\s\S]*no adapter_model"):
        load_adapter(model, tiny_backbone)
    cut = shutil.copytree(tiny_adapter, tmp_path / "cut")
    weights = cut / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-8])
    with pytest.raises(DataError, match="cannot be loaded as an adapter") as raised:
        load_adapter(model, cut)
    assert raised.value.problems[0].code == "adapters.not_loadable"
    assert adapter_files_sha256(cut) != adapter_files_sha256(tiny_adapter)


@pytest.mark.parametrize(
    ("change", "counts"),
    [
        (lambda _: {}, "0 weights; 28 missing"),
        (
            lambda weights: {n: w for n, w in weights.items() if "layers.1." not in n},
            "14 weights; 14 missing",
        ),
        (lambda weights: {n.replace("base_model.", "other."): w for n, w in weights.items()}, "28 unknown"),
    ],
    ids=["no weights", "half of the layers", "another prefix"],
)
def test_an_adapter_whose_weights_do_not_fit_is_refused_with_counts(
    change: Callable[[dict[str, Any]], dict[str, Any]],
    counts: str,
    tiny_adapter: Path,
    tiny_backbone: Path,
    tiny_recipe: Loaded[BackboneRecipe],
    tmp_path: Path,
) -> None:
    from safetensors.torch import load_file, save_file

    folder = shutil.copytree(tiny_adapter, tmp_path / "changed")
    save_file(change(load_file(folder / "adapter_model.safetensors")), folder / "adapter_model.safetensors")
    model, _ = load_backbone(tiny_recipe.recipe, tiny_backbone)
    with pytest.raises(DataError) as raised:
        load_adapter(model, folder)
    (problem,) = raised.value.problems
    assert problem.code == "adapters.weights_do_not_fit"
    assert counts in str(problem.got)


def test_an_adapter_whose_weights_are_not_finite_is_refused(
    tiny_adapter: Path, tiny_backbone: Path, tiny_recipe: Loaded[BackboneRecipe], tmp_path: Path
) -> None:
    from safetensors.torch import load_file, save_file

    folder = shutil.copytree(tiny_adapter, tmp_path / "changed")
    weights = load_file(folder / "adapter_model.safetensors")
    name = sorted(weights)[0]
    weights[name][0, 0] = float("nan")
    save_file(weights, folder / "adapter_model.safetensors")
    model, _ = load_backbone(tiny_recipe.recipe, tiny_backbone)
    with pytest.raises(DataError) as raised:
        load_adapter(model, folder)
    (problem,) = raised.value.problems
    assert problem.code == "backbones.not_finite"
    assert problem.got == f"1 of 28: {name}"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"use_rslora": True}, "adapters.other_function"),
        ({"use_dora": True}, "adapters.other_function"),
        ({"init_lora_weights": "pissa"}, "adapters.other_function"),
        ({"modules_to_save": ["lm_head"]}, "adapters.other_function"),
        ({"rank_pattern": {"q_proj": 2}}, "adapters.other_function"),
        ({"layers_to_transform": [0]}, "adapters.other_function"),
        ({"bias": "all"}, "adapters.other_function"),
        ({"a_field_of_a_later_peft": 1}, "adapters.unknown_fields"),
        ({"r": 8}, "adapters.other_settings"),
        ({"target_modules": "all-linear"}, "adapters.other_settings"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_settings_that_change_the_function_are_problems(
    changes: dict[str, object], code: str, tiny_adapter: Path
) -> None:
    recipe = read_manifest(tiny_adapter, AdapterManifest).recipe.resolved
    lora = AdapterRecipe.model_validate_json(json.dumps(recipe)).lora.model_dump()
    config = read_config(tiny_adapter, "here")
    assert list(config_problems(config, lora, "here")) == []
    assert other_function(config, lora) == {}
    assert [problem.code for problem in config_problems(config | changes, lora, "here")] == [code]
    assert bool(other_function(config | changes, lora)) == (code != "adapters.other_settings")


def test_settings_that_change_no_answer_are_accepted(tiny_adapter: Path) -> None:
    recipe = read_manifest(tiny_adapter, AdapterManifest).recipe.resolved
    lora = AdapterRecipe.model_validate_json(json.dumps(recipe)).lora.model_dump()
    config = read_config(tiny_adapter, "here")
    changes = {"init_lora_weights": "gaussian", "lora_dropout": 0.3, "inference_mode": False}
    assert list(config_problems(config | changes, lora, "here")) == []


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"peft_type": "IA3"}', "{'r': 1}", "\ufeff{}", "null"])
def test_a_config_that_is_none_is_refused(text: str, tiny_adapter: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_adapter, tmp_path / "changed")
    (folder / "adapter_config.json").write_text(text, encoding="utf-8")
    with pytest.raises(DataError) as raised:
        read_config(folder, "here")
    assert raised.value.problems[0].code == "adapters.no_config"
