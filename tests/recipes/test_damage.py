"""Recipes that were damaged: they load, or a problem names the file."""

from __future__ import annotations

from pathlib import Path

import pytest

from dialoguellm_release.recipes.catalogue import load_any
from dialoguellm_release.recipes.load import bundled
from tests.damage import damaged, only_release_errors

NAMES = (
    "corpora/meld",
    "backbones/tiny",
    "claims/dialoguellm-2310.11374",
    "datasets/paper",
    "adapters/tiny",
    "scores/meld",
    "releases/v1",
    "prompts/dialogue-v1",
    "videos/openai",
)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_damaged_recipe_loads_or_is_named(name: str, tmp_path: Path) -> None:
    original = bundled()[name]
    folder = tmp_path / original.parent.name
    folder.mkdir()
    for parent in original.parent.glob("_*.yaml"):
        (folder / parent.name).write_bytes(parent.read_bytes())
    path = folder / "damaged.yaml"
    for damage, content in damaged(original.read_bytes(), range(140)):
        path.write_bytes(content)
        with only_release_errors(damage, names="damaged.yaml"):
            load_any(str(path))
