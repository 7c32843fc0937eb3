"""What only several recipes together can get wrong: a recipe that names another one which is not there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dialoguellm_release.errors import Problem, RecipeError
from dialoguellm_release.recipes.catalogue import load_any, path_of
from dialoguellm_release.recipes.load import Loaded
from dialoguellm_release.schemas.recipes.adapter import AdapterRecipe
from dialoguellm_release.schemas.recipes.dataset import DatasetRecipe
from dialoguellm_release.schemas.recipes.kinds import Recipe, RecipeKind


def validate_recipes(names: Sequence[str]) -> list[str]:
    """The names, when all of them are valid and name only recipes that exist.

    Raises:
        RecipeError: With the problems of all of them.
    """
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
    for key, kind, name in _references(loaded.recipe):
        try:
            path_of(name, kind)
        except RecipeError as error:
            where = str(loaded.origins.get((key,), loaded.name))
            yield from (
                Problem(where, f"{key}: {one.what}", one.expected, name, one.fix) for one in error.problems
            )


def _references(recipe: Recipe) -> Iterator[tuple[str, RecipeKind, str]]:
    match recipe:
        case DatasetRecipe():
            yield "prompt", "prompt", recipe.prompt
            if recipe.claims is not None:
                yield "claims", "claims", recipe.claims
        case AdapterRecipe():
            yield "prompt", "prompt", recipe.prompt
            yield "backbone", "backbone", recipe.backbone
