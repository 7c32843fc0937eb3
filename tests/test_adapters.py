"""An adapter of somebody's is put onto its backbone from safetensors alone."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path

import pytest

from dialoguellm_release.backbones.adapters import adapter_files_sha256, load_adapter
from dialoguellm_release.backbones.load import load_backbone
from dialoguellm_release.errors import DataError
from dialoguellm_release.recipes.load import Loaded
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


def test_what_is_no_adapter_of_the_model_is_told(
    tiny_adapter: Path, tiny_backbone: Path, tiny_recipe: Loaded[BackboneRecipe], tmp_path: Path
) -> None:
    model, _ = load_backbone(tiny_recipe.recipe, tiny_backbone)
    with pytest.raises(DataError, match=r"no adapter_config\.json here[\s\S]*no adapter_model"):
        load_adapter(model, tiny_backbone)
    cut = shutil.copytree(tiny_adapter, tmp_path / "cut")
    weights = cut / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-8])
    with pytest.raises(DataError, match="cannot be loaded as an adapter"):
        load_adapter(model, cut)
    assert adapter_files_sha256(cut) != adapter_files_sha256(tiny_adapter)
