"""The bundled recipes and recipes by path: loaded, validated together, shown, and as JSON Schema."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import yaml

from dialoguellm_release.errors import Problem, RecipeError
from dialoguellm_release.recipes.load import KINDS, NAMED_BY, Loaded, Model, load_file, parent_of, path_of
from dialoguellm_release.recipes.yaml_reader import KeyPath, Position, read_yaml
from dialoguellm_release.resources import resource_folder
from dialoguellm_release.schemas.base import Recipe, RecipeKind
from dialoguellm_release.schemas.claims import ClaimsRecipe
from dialoguellm_release.schemas.corpus import CorpusEntry
from dialoguellm_release.schemas.recipes.adapter import AdapterRecipe
from dialoguellm_release.schemas.recipes.backbone import BackboneRecipe
from dialoguellm_release.schemas.recipes.dataset import DatasetRecipe, PromptRecipe
from dialoguellm_release.schemas.release import ReleaseRecipe
from dialoguellm_release.schemas.scores import ScoreRecipe
from dialoguellm_release.schemas.video import VideoRecipe

RECIPE_MODELS: dict[RecipeKind, type[Recipe]] = {
    "corpus": CorpusEntry,
    "dataset": DatasetRecipe,
    "backbone": BackboneRecipe,
    "adapter": AdapterRecipe,
    "score": ScoreRecipe,
    "release": ReleaseRecipe,
    "prompt": PromptRecipe,
    "claims": ClaimsRecipe,
    "video": VideoRecipe,
}


def load_recipe(
    name: str, kind: RecipeKind, model: type[Model], overrides: Sequence[str] = ()
) -> Loaded[Model]:
    """A recipe of a known kind, by the name of a bundled one or by a path."""
    return load_file(path_of(name, kind), model, overrides, kind)


def load_any(name: str, overrides: Sequence[str] = ()) -> Loaded[Recipe]:
    """A recipe by `folder/name`, by a bundled name that is unique among the kinds, or by a path."""
    path = path_of(name, None)
    kind = read_kind(path)
    return cast("Loaded[Recipe]", load_file(path, RECIPE_MODELS[kind], overrides, kind))


def load_claims(recipe: DatasetRecipe) -> ClaimsRecipe | None:
    """The figures that a dataset recipe sets beside its own; None where it names none."""
    return load_recipe(recipe.claims, "claims", ClaimsRecipe).recipe if recipe.claims else None


def read_kind(path: Path) -> RecipeKind:
    """The kind that a recipe, or the parent that it extends, states."""
    stated, seen = path, set[Path]()
    while True:
        document = read_yaml(stated)
        kind, parent = document.data.get("kind"), document.data.get("extends")
        if kind in KINDS:
            return cast("RecipeKind", kind)
        if kind is not None or not isinstance(parent, str) or stated in seen:
            break
        seen.add(stated)
        stated = parent_of(parent, None, stated, document)
    where = str(document.positions.get(("kind",), f"{stated}:1:1"))
    problem = Problem(where, "kind: not a kind of recipe", ", ".join(KINDS), str(kind), code="recipe.no_kind")
    raise RecipeError(problem)


def validate_recipes(names: Sequence[str]) -> list[str]:
    """The names, when all of them are valid and name only recipes that exist."""
    problems: list[Problem] = []
    for name in names:
        try:
            problems += _dangling(load_any(name))
        except RecipeError as error:
            problems += error.problems
    if problems:
        raise RecipeError(problems)
    return list(names)


def _dangling(loaded: Loaded[Recipe]) -> Iterator[Problem]:
    """References to recipes that do not exist."""
    for key, kind in NAMED_BY.items():
        name = getattr(loaded.recipe, key, None)
        if not isinstance(name, str):
            continue
        where = str(loaded.origins.get((key,), loaded.name))
        try:
            if not path_of(name, kind).is_file():
                yield Problem(where, f"{key}: no such file", got=name, code="recipe.dangling")
        except RecipeError as error:
            for one in error.problems:
                yield replace(one, where=where, what=f"{key}: {one.what}", got=name)


def as_yaml(loaded: Loaded[Recipe]) -> str:
    """The resolved recipe as YAML, with every default written out."""
    return yaml.safe_dump(loaded.stamp.resolved, sort_keys=False, allow_unicode=True, width=100).rstrip()


def leaves(loaded: Loaded[Recipe]) -> list[tuple[str, str, str]]:
    """Key, value and origin of every leaf of a resolved recipe."""
    return [
        (".".join(map(str, path)), str(value), _origin(loaded.origins.get(path)))
        for path, value in _leaves(loaded.stamp.resolved, ())
    ]


def _origin(position: Position | None) -> str:
    """Where a value was written; files of bundled recipes from the folder of recipes."""
    if position is None:
        return "default"
    if position.file.startswith("--set"):
        return "--set"
    file, root = Path(position.file).absolute(), resource_folder("recipes")
    name = file.relative_to(root) if file.is_relative_to(root) else Path(os.path.relpath(file))
    return f"{name}:{position.line}:{position.column}"


def _leaves(data: Any, path: KeyPath) -> Iterator[tuple[KeyPath, Any]]:
    if isinstance(data, dict) and data:
        for key, value in data.items():
            yield from _leaves(value, (*path, key))
    elif isinstance(data, list) and data:
        for index, value in enumerate(data):
            yield from _leaves(value, (*path, index))
    else:
        yield path, data


def json_schema(kind: RecipeKind) -> str:
    """The JSON Schema of a kind of recipe, as text.

    Why: it allows `extends` and requires nothing, so that an editor does not mark a file that only
    changes what it extends.
    """
    schema = RECIPE_MODELS[kind].model_json_schema()
    schema["properties"] = {
        "extends": {
            "type": "string",
            "description": "The recipe that this one extends: a name, kind/name, or a path from this file.",
        },
        **schema["properties"],
    }
    schema.pop("required", None)
    for definition in schema.get("$defs", {}).values():
        definition.pop("required", None)
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
