"""The bundled recipes, by kind and name, and recipes by path."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import cast, get_args

from dialoguellm_release.errors import Problem, RecipeError
from dialoguellm_release.recipes.load import MAX_PATH, Loaded, Model, load_file
from dialoguellm_release.recipes.yaml_reader import read_yaml
from dialoguellm_release.resources import resource_folder
from dialoguellm_release.schemas.claims import ClaimsRecipe
from dialoguellm_release.schemas.recipes.dataset import DatasetRecipe
from dialoguellm_release.schemas.recipes.kinds import RECIPE_MODELS, Recipe, RecipeKind

KINDS: tuple[RecipeKind, ...] = get_args(RecipeKind)
FOLDERS: dict[RecipeKind, str] = {
    "corpus": "corpora",
    "dataset": "datasets",
    "backbone": "backbones",
    "adapter": "adapters",
    "score": "scores",
    "release": "releases",
    "prompt": "prompts",
    "claims": "claims",
    "video": "videos",
}


def bundled() -> dict[str, Path]:
    """Every bundled recipe by `folder/name`; files that begin with `_` are parents, not recipes."""
    root = resource_folder("recipes")
    return {
        f"{folder}/{path.stem}": path
        for folder in FOLDERS.values()
        for path in sorted((root / folder).glob("*.yaml"))
        if not path.name.startswith("_")
    }


def load_recipe(
    name: str, kind: RecipeKind, model: type[Model], overrides: Sequence[str] = ()
) -> Loaded[Model]:
    """A recipe of a known kind, by the name of a bundled one or by a path.

    Raises:
        RecipeError: It does not exist or is not valid.
    """
    return load_file(path_of(name, kind), model, overrides)


def load_any(name: str, overrides: Sequence[str] = ()) -> Loaded[Recipe]:
    """A recipe by `folder/name`, by a bundled name that is unique among the kinds, or by a path."""
    path = path_of(name, None)
    return cast("Loaded[Recipe]", load_file(path, RECIPE_MODELS[read_kind(path)], overrides))


def load_claims(recipe: DatasetRecipe) -> ClaimsRecipe | None:
    """The figures that a dataset recipe sets beside its own; None where it names none."""
    return load_recipe(recipe.claims, "claims", ClaimsRecipe).recipe if recipe.claims else None


def as_kind(name: str) -> RecipeKind:
    """A kind of recipe by its name.

    Raises:
        RecipeError: There is no such kind.
    """
    if name not in KINDS:
        raise RecipeError(Problem(name, "not a kind of recipe", expected=", ".join(KINDS)))
    return name


def read_kind(path: Path) -> RecipeKind:
    """The kind that a recipe, or the parent that it extends, states.

    Raises:
        RecipeError: It states none, or one that does not exist.
    """
    document = read_yaml(path)
    kind = document.data.get("kind")
    parent = document.data.get("extends")
    if kind is None and isinstance(parent, str) and (path.parent / parent[:MAX_PATH]).is_file():
        return read_kind(path.parent / parent[:MAX_PATH])
    if kind in KINDS:
        return cast("RecipeKind", kind)
    where = str(document.positions.get(("kind",), f"{path}:1:1"))
    raise RecipeError(
        Problem(where, "kind: states no kind of recipe", expected=", ".join(KINDS), got=str(kind))
    )


def path_of(name: str, kind: RecipeKind | None) -> Path:
    """The file of a recipe that is named by the name of a bundled one or by a path.

    Args:
        kind: Where to look; None looks at every kind.

    Raises:
        RecipeError: No bundled recipe has this name, or several have.
    """
    if name.endswith((".yaml", ".yml")):
        return Path(name)
    known = {
        key: path for key, path in bundled().items() if kind is None or key.startswith(FOLDERS[kind] + "/")
    }
    matches = [key for key in known if name in (key, key.partition("/")[2])]
    if len(matches) == 1:
        return known[matches[0]]
    if matches:
        raise RecipeError(
            Problem(name, "names several recipes", expected=" or ".join(matches), fix="name one of them")
        )
    names = sorted({*known, *(key.partition("/")[2] for key in known)})
    close = difflib.get_close_matches(name, names, n=1)
    raise RecipeError(
        Problem(
            name,
            f"no bundled {kind or ''} recipe has this name".replace("  ", " "),
            expected=f"a path that ends in .yaml, or one of {', '.join(sorted(known))}",
            fix=f"did you mean {close[0]}?" if close else "see: dlm-release recipe list",
        )
    )
