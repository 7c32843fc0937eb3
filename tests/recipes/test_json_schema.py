from __future__ import annotations

import json
from pathlib import Path

import pytest

from dialoguellm_release.recipes.catalogue import json_schema
from dialoguellm_release.recipes.load import FOLDERS
from dialoguellm_release.resources import resource_folder
from dialoguellm_release.schemas.base import RecipeKind


@pytest.mark.parametrize("kind", FOLDERS)
def test_the_exported_schema_is_not_stale(kind: RecipeKind, request: pytest.FixtureRequest) -> None:
    path = resource_folder("recipes") / f"{kind}.schema.json"
    if request.config.getoption("--update-golden"):
        path.write_text(json_schema(kind), encoding="utf-8")
    assert path.read_text(encoding="utf-8") == json_schema(kind)


def test_every_recipe_names_its_schema() -> None:
    root = resource_folder("recipes")
    found = sorted(root.glob("*/*.yaml"))
    assert len(found) >= 8
    for path in found:
        kind = next(kind for kind, folder in FOLDERS.items() if folder == path.parent.name)
        first = path.read_text(encoding="utf-8").splitlines()[0]
        assert first == f"# yaml-language-server: $schema=../{kind}.schema.json", path
        assert (path.parent / first.partition("=")[2]).is_file()


def test_the_schema_is_closed_and_describes_extends() -> None:
    schema = json.loads(json_schema("adapter"))
    assert schema["additionalProperties"] is False
    assert schema["$defs"]["LoraRecipe"]["additionalProperties"] is False
    assert schema["properties"]["extends"]["type"] == "string"
    assert "required" not in schema


def test_no_schema_lies_around_unused() -> None:
    names = {path.name for path in Path(resource_folder("recipes")).glob("*.schema.json")}
    assert names == {f"{kind}.schema.json" for kind in FOLDERS}
