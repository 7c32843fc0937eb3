"""A training that starts from an adapter: of a folder or of the Hub, and what is refused."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from dialoguellm_release.backbones.load import load_backbone
from dialoguellm_release.backbones.weights import base_of
from dialoguellm_release.errors import DataError, RecipeError
from dialoguellm_release.folders import read_manifest
from dialoguellm_release.recipes.catalogue import load_recipe
from dialoguellm_release.recipes.load import Loaded
from dialoguellm_release.schemas.manifests import AdapterManifest
from dialoguellm_release.schemas.recipes.adapter import AdapterRecipe, InitAdapter
from dialoguellm_release.schemas.recipes.backbone import BackboneRecipe
from dialoguellm_release.step import StepResult
from dialoguellm_release.steps.adapter import train_adapter as train_step
from dialoguellm_release.steps.adapter import trained
from dialoguellm_release.training.train import with_init_adapter
from tests.hub_server.server import HubServer


def test_a_training_goes_on_from_an_adapter(
    tiny_adapter: Path,
    tiny_backbone: Path,
    small_dataset: Path,
    tmp_path: Path,
) -> None:
    few = ("trainer.max_steps=3", "trainer.per_device_train_batch_size=8")

    def onward(*settings: str, start: object = tiny_adapter) -> AdapterManifest:
        stated = [*few, f"init_adapter.path={start}", *settings]
        recipe = load_recipe("tiny", "adapter", AdapterRecipe, stated)
        return trained(
            recipe, tmp_path / "onward", small_dataset, tiny_backbone.parent, replace=True
        ).manifest

    first = read_manifest(tiny_adapter, AdapterManifest)
    manifest = onward()
    assert manifest.figures.first_loss < first.figures.first_loss / 2
    assert manifest.content_sha256 != first.content_sha256
    with pytest.raises(RecipeError) as raised:
        onward("lora.r=4", "lora.target_modules=[q_proj]")
    assert {problem.where for problem in raised.value.problems} == {"lora.r", "lora.target_modules"}
    with pytest.raises(DataError, match=r"no adapter_model\.safetensors here"):
        onward(start=tiny_backbone)
    with pytest.raises(DataError, match="neither in the local cache nor reachable on the Hub"):
        onward(f"init_adapter.revision={'0a' * 20}", start="someone/absent")
    with pytest.raises(RecipeError, match="an adapter on the Hub needs its commit"):
        onward(start="someone/absent")


def test_an_adapter_whose_start_has_changed_is_not_current(
    tiny_adapter: Path, tiny_backbone: Path, small_dataset: Path, tmp_path: Path
) -> None:
    from safetensors.torch import load_file, save_file

    start = shutil.copytree(tiny_adapter, tmp_path / "start")
    settings = ["trainer.max_steps=1", f"init_adapter.path={start}"]

    def made(*, replace: bool = False) -> StepResult[AdapterManifest]:
        return train_step(
            "tiny",
            small_dataset,
            tmp_path / "onward",
            backbones=tiny_backbone.parent,
            overrides=settings,
            replace=replace,
        )

    first = made()
    assert not first.was_current
    assert made().was_current
    weights = load_file(start / "adapter_model.safetensors")
    save_file({name: weight * 2 for name, weight in weights.items()}, start / "adapter_model.safetensors")
    with pytest.raises(DataError) as raised:
        made()
    assert raised.value.problems[0].code == "step.finished_work"
    assert "1 steps" in str(raised.value)
    assert "another init adapter" in str(raised.value)
    second = made(replace=True)
    assert not second.was_current
    assert second.manifest.content_sha256 != first.manifest.content_sha256


@pytest.fixture
def adapter_on_the_hub(hub_server: HubServer, tiny_adapter: Path) -> InitAdapter:
    """The tiny adapter as somebody published it."""
    from huggingface_hub import HfApi

    api = HfApi()
    assert api.endpoint == hub_server.url
    api.create_repo("dialoguellm/start")
    commit = api.upload_folder(repo_id="dialoguellm/start", folder_path=tiny_adapter)
    return InitAdapter(path="dialoguellm/start", revision=commit.oid)


def begun_with(init: InitAdapter, backbone: Path, recipe: Loaded[BackboneRecipe]) -> Any:
    lora = load_recipe("tiny", "adapter", AdapterRecipe).recipe.lora
    model, _ = load_backbone(recipe.recipe, backbone)
    return with_init_adapter(model, init, lora, base_of(recipe.recipe, backbone))


def test_a_training_goes_on_from_an_adapter_on_the_hub(
    adapter_on_the_hub: InitAdapter,
    tiny_backbone: Path,
    tiny_recipe: Loaded[BackboneRecipe],
    tiny_adapter: Path,
) -> None:
    from peft import get_peft_model_state_dict
    from safetensors.torch import load_file

    model = begun_with(adapter_on_the_hub, tiny_backbone, tiny_recipe)
    expected = load_file(tiny_adapter / "adapter_model.safetensors")
    assert all(
        bool((weight == expected[name]).all()) for name, weight in get_peft_model_state_dict(model).items()
    )
    assert any(weight.requires_grad for weight in model.parameters())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("hidden", "the Hub has no such model, or does not show it to you"),
        ("revision", f"at {'0a' * 20}: cannot be downloaded from the Hub"),
        ("pickles", r"no adapter_model\.safetensors here"),
    ],
)
def test_an_adapter_that_the_hub_does_not_give_says_why(
    change: str,
    said: str,
    adapter_on_the_hub: InitAdapter,
    tiny_backbone: Path,
    tiny_recipe: Loaded[BackboneRecipe],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from huggingface_hub import HfApi

    init = adapter_on_the_hub
    if change == "hidden":
        HfApi().update_repo_settings(init.path, visibility="private")
        monkeypatch.delenv("HF_TOKEN")
    elif change == "revision":
        init = init.model_copy(update={"revision": "0a" * 20})
    else:
        api = HfApi()
        api.delete_file("adapter_model.safetensors", init.path)
        commit = api.upload_file(
            path_or_fileobj=b"a pickle", path_in_repo="adapter_model.bin", repo_id=init.path
        )
        init = init.model_copy(update={"revision": commit.oid})
    with pytest.raises(DataError, match=said):
        begun_with(init, tiny_backbone, tiny_recipe)


@pytest.mark.parametrize(
    ("trained_on", "loaded", "code"),
    [
        ("1a" * 20, "2b" * 20, "adapters.other_revision"),
        ("1a" * 20, "1a" * 20, None),
        ("1a" * 20, None, None),
        (None, "2b" * 20, None),
    ],
    ids=["another", "the same", "no commit of the base", "no commit in the adapter"],
)
def test_an_adapter_of_another_revision_of_its_base_is_refused(
    trained_on: str | None,
    loaded: str | None,
    code: str | None,
    tiny_adapter: Path,
    tiny_backbone: Path,
    tiny_recipe: Loaded[BackboneRecipe],
    tmp_path: Path,
) -> None:
    start = shutil.copytree(tiny_adapter, tmp_path / "start")
    path = start / "adapter_config.json"
    config = json.loads(path.read_text(encoding="utf-8")) | {"revision": trained_on}
    path.write_text(json.dumps(config), encoding="utf-8")
    lora = load_recipe("tiny", "adapter", AdapterRecipe).recipe.lora
    model, _ = load_backbone(tiny_recipe.recipe, tiny_backbone)
    base = dataclasses.replace(base_of(tiny_recipe.recipe, tiny_backbone), revision=loaded)
    init = InitAdapter(path=str(start))
    if code is None:
        assert with_init_adapter(model, init, lora, base).peft_config
        return
    with pytest.raises(RecipeError) as raised:
        with_init_adapter(model, init, lora, base)
    (problem,) = raised.value.problems
    assert (problem.code, problem.expected, problem.got) == (code, trained_on, loaded)


def test_an_adapter_of_another_base_is_refused(
    tiny_adapter: Path, tiny_backbone: Path, tiny_recipe: Loaded[BackboneRecipe]
) -> None:
    lora = load_recipe("tiny", "adapter", AdapterRecipe).recipe.lora
    model, _ = load_backbone(tiny_recipe.recipe, tiny_backbone)
    base = dataclasses.replace(base_of(tiny_recipe.recipe, tiny_backbone), repo_id="someone/other")
    with pytest.raises(RecipeError) as raised:
        with_init_adapter(model, InitAdapter(path=str(tiny_adapter)), lora, base)
    assert [problem.code for problem in raised.value.problems] == ["adapters.other_base"]
