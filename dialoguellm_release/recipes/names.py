"""Names of recipes: `kind/name`, a name that is clear, or a path."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import get_args

from dialoguellm_release.errors import Problem, RecipeError
from dialoguellm_release.resources import resource_folder
from dialoguellm_release.schemas.base import RecipeKind

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

MAX_PATH = 250
"""No recipe has a longer name; the file system would refuse it."""


def bundled() -> dict[str, Path]:
    """Every bundled recipe by `folder/name`; files that begin with `_` are parents, not recipes."""
    root = resource_folder("recipes")
    return {
        f"{folder}/{path.stem}": path
        for folder in FOLDERS.values()
        for path in sorted((root / folder).glob("*.yaml"))
        if not path.name.startswith("_")
    }


def as_kind(name: str) -> RecipeKind:
    """A kind of recipe by its name."""
    if name not in KINDS:
        expected = ", ".join(KINDS)
        raise RecipeError(Problem(name, "not a kind of recipe", expected, code="recipe.unknown_kind"))
    return name


def is_path(name: str) -> bool:
    """Whether a recipe is named by a path: it ends in `.yaml`."""
    return name.endswith((".yaml", ".yml"))


def path_of(name: str, kind: RecipeKind | None, beside: Path | None = None) -> Path:
    """The file of a recipe: `adapters/tiny`, `adapter/tiny`, a `tiny` that is unique, or a path of YAML."""
    if is_path(name):
        return (beside or Path()) / name
    folders = FOLDERS if kind is None else {kind: FOLDERS[kind]}
    known = {key: path for key, path in bundled().items() if key.partition("/")[0] in folders.values()}
    singular = {f"{one}/": f"{folder}/" for one, folder in folders.items()}
    whole = next(
        (full + name[len(short) :] for short, full in singular.items() if name.startswith(short)), name
    )
    matches = [key for key in known if whole in (key, key.partition("/")[2])]
    if len(matches) == 1:
        return known[matches[0]]
    if matches:
        what, fix = "the name of several recipes", f"write the kind too, as in {matches[0]}"
        raise RecipeError(Problem(name, what, " or ".join(matches), fix=fix, code="recipe.ambiguous_name"))
    raise RecipeError(_unknown(name, kind, known, beside or Path()))


def _unknown(name: str, kind: RecipeKind | None, known: dict[str, Path], beside: Path) -> Problem:
    names = sorted({*known, *(key.partition("/")[2] for key in known)})
    close = difflib.get_close_matches(name, names, n=1)
    fix = f"did you mean {close[0]}?" if close else "see: dlm-release recipe list"
    if len(name) < MAX_PATH and (beside / f"{name}.yaml").is_file():
        fix = f"did you mean the file {name}.yaml?"
    what = f"no bundled {f'{kind} ' if kind else ''}recipe has this name"
    expected = f"a path that ends in .yaml, or one of {', '.join(sorted(known))}"
    return Problem(name[:MAX_PATH], what, expected, fix=fix, code="recipe.unknown_name")
