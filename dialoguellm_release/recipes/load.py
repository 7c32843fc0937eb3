"""A recipe by its name or path: read, extended, overridden, validated, hashed."""

from __future__ import annotations

import difflib
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from dialoguellm_release.errors import Problem, RecipeError
from dialoguellm_release.folders import canonical_json, sha256_of_text
from dialoguellm_release.recipes.yaml_reader import Document, KeyPath, Position, read_scalar, read_yaml
from dialoguellm_release.resources import resource_folder
from dialoguellm_release.schemas.base import RecipeKind
from dialoguellm_release.schemas.manifests import RecipeStamp

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


if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

MAX_DEPTH = 3
NAMED_BY: Mapping[str, RecipeKind] = {"backbone": "backbone", "prompt": "prompt", "claims": "claims"}
"""Keys that name another recipe, with its kind."""

FOLDER_KEYS: tuple[KeyPath, ...] = (("source", "path"), ("init_adapter", "path"))
"""Keys that name the folder of a model."""

Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True)
class Loaded(Generic[Model]):
    """A validated recipe with the origin of each value."""

    name: str  # the name of its file, without the ending
    recipe: Model
    # Where each value that a file or `--set` states was written; a default has no origin.
    origins: Mapping[KeyPath, Position]

    @property
    def sha256(self) -> str:
        """The hash of the resolved recipe."""
        return sha256_of_text(canonical_json(self.recipe))

    @property
    def stamp(self) -> RecipeStamp:
        """The recipe as manifests carry it."""
        resolved = self.recipe.model_dump(mode="json")
        return RecipeStamp(name=self.name, sha256=self.sha256, resolved=resolved)


def load_file(
    path: Path, model: type[Model], overrides: Sequence[str] = (), kind: RecipeKind | None = None
) -> Loaded[Model]:
    """The recipe in a YAML file.

    A path to another recipe starts from the file that states it; the loaded recipe has it from the current
    directory.
    """
    document = _extended(path, (), kind)
    _place_references(document)
    keys = [override.partition("=")[0] for override in overrides]
    if twice := sorted({key for key in keys if keys.count(key) > 1}):
        what, fix = "sets a key more than once", "set each key once"
        raise RecipeError(Problem("--set", what, got=", ".join(twice), fix=fix, code="recipe.set_twice"))
    for override in overrides:
        _override(document, override)
    return Loaded(path.stem, validated(document, model, path), document.positions)


def validated(document: Document, model: type[Model], path: Path) -> Model:
    """The data of a document as a model."""
    try:
        # JSON keeps strictness ("1" is no number) and still takes lists for tuples.
        return model.model_validate_json(json.dumps(document.data))
    except ValidationError as error:
        raise RecipeError(_problems(error.errors(), document, model, path)) from None


def _extended(path: Path, below: tuple[Path, ...], kind: RecipeKind | None) -> Document:
    document = read_yaml(path)
    parent = document.data.get("extends")
    if parent is None:
        document.data.pop("extends", None)
        return document
    where = str(document.positions[("extends",)])
    if not isinstance(parent, str):
        what = "extends takes the name or path of one recipe"
        raise RecipeError(Problem(where, what, got=repr(parent), code="recipe.extends"))
    parent_path = parent_of(parent, kind, path, document)
    chain = (*below, path.resolve())
    if parent_path.resolve() in chain:
        raise RecipeError(Problem(where, f"extends itself through {parent}", code="recipe.extends_circle"))
    if len(chain) > MAX_DEPTH:
        what = f"extends more than {MAX_DEPTH} recipes deep"
        raise RecipeError(Problem(where, what, code="recipe.extends_depth"))
    del document.data["extends"], document.positions[("extends",)]
    base = _extended(parent_path, chain, kind)
    positions = dict(base.positions)
    data = _merge(base.data, document.data, (), positions)
    return Document(data, positions | document.positions)


def parent_of(name: str, kind: RecipeKind | None, path: Path, document: Document) -> Path:
    """The file that a recipe extends."""
    where = str(document.positions[("extends",)])
    if is_path(name):
        found = path.parent / name
        if len(name) <= MAX_PATH and found.is_file():
            return found
        what = "extends a file that does not exist"
        raise RecipeError(Problem(where, what, got=name, code="recipe.extends_missing"))
    try:
        return path_of(name, kind, path.parent)
    except RecipeError as error:
        problems = [
            replace(one, where=where, what=f"extends: {one.what}", got=name) for one in error.problems
        ]
        raise RecipeError(problems) from None


def _place_references(document: Document) -> None:
    """Makes the paths of other recipes and of model folders start from the current directory.

    Where a bundled recipe names a folder, it starts from there already. A path of an adapter may be the id of
    a repository.
    """
    bundled = resource_folder("recipes").absolute()
    for keys in (*((key,) for key in NAMED_BY), *FOLDER_KEYS):
        group: Any = document.data
        for key in keys[:-1]:
            group = group.get(key) if isinstance(group, dict) else None
        value = group.get(keys[-1]) if isinstance(group, dict) else None
        position = document.positions.get(keys)
        if not isinstance(value, str) or position is None or Path(value).is_absolute():
            continue
        placed, is_placed = Path(position.file).parent / value, is_path(value)
        if keys in FOLDER_KEYS:
            may_be_repository = keys[0] == "init_adapter" and not value.startswith(".")
            is_placed = placed.is_dir() or not may_be_repository
            is_placed &= not placed.absolute().is_relative_to(bundled)
        if is_placed:
            group[keys[-1]] = os.path.relpath(placed)


def _merge(
    parent: dict[str, Any], child: dict[str, Any], path: KeyPath, positions: dict[KeyPath, Position]
) -> dict[str, Any]:
    merged = dict(parent)
    for key, value in child.items():
        before = merged.get(key)
        if isinstance(before, dict) and isinstance(value, dict):
            merged[key] = _merge(before, value, (*path, key), positions)
            continue
        replaced = (*path, key)
        for known in [known for known in positions if known[: len(replaced)] == replaced]:
            del positions[known]
        merged[key] = value
    return merged


def _override(document: Document, setting: str) -> None:
    keys, separator, text = setting.partition("=")
    if not separator or not all(keys.split(".")):
        raise RecipeError(Problem("--set", "takes key.key=value", got=setting, code="recipe.set"))
    *parents, last = keys.split(".")
    target, known = document.data, 0
    for key in parents:
        if target.get(key) is None:
            target[key] = {}
        else:
            known += 1
        target = target[key]
        if not isinstance(target, dict):
            what = f"{key} is a value, not a group of keys"
            raise RecipeError(Problem(f"--set {setting}", what, code="recipe.set"))
    value = read_scalar(text)
    if value is None and isinstance(target.get(last), dict):
        del target[last]  # null removes a mapping, such as one corpus of a dataset
    else:
        target[last] = value
    path, position = tuple(keys.split(".")), Position(f"--set {setting}", 1, 1)
    for depth in range(1, len(path)):
        if depth > known:
            document.positions[path[:depth]] = position
    document.positions[path] = position


def _problems(
    errors: list[ErrorDetails], document: Document, model: type[BaseModel], path: Path
) -> list[Problem]:
    """The problems in the order of the file; a misspelt key is not also reported as missing."""
    hints, meant = dict[KeyPath, str](), set[KeyPath]()
    for details in errors:
        if details["type"] == "extra_forbidden":
            location = details["loc"]
            known = _field_names(model, _known_part(location, document.data)[:-1], document.data)
            close = difflib.get_close_matches(str(location[-1]), known, n=1)
            hints[location] = f"did you mean {close[0]}?" if close else f"known: {', '.join(known)}"
            meant |= {(*location[:-1], name) for name in close}
    found = []
    for details in errors:
        if details["type"] != "missing" or details["loc"] not in meant:
            location = _known_part(details["loc"], document.data)
            written = (document.positions.get(location[:end]) for end in range(len(location), 0, -1))
            position = next(filter(None, written), Position(str(path), 1, 1))
            where = position.file if position.file.startswith("--set") else str(position)
            if details["type"] == "value_error":
                where = _settings_between(details["msg"], location, document) or where
            found.append((position, _problem(details, where, location, hints.get(details["loc"], ""))))
    found.sort(key=lambda pair: (pair[0].file, pair[0].line, pair[0].column))
    return [problem for _, problem in found]


def _settings_between(message: str, location: KeyPath, document: Document) -> str:
    """The `--set` that state the keys which a problem between several keys names; empty where none does."""
    words = set(re.findall(r"\w+", message))
    stated = {
        path: position.file
        for path, position in document.positions.items()
        if path[: len(location)] == location and path != location
    }
    named = {path: file for path, file in stated.items() if words & set(map(str, path[len(location) :]))}
    settings = (
        file
        for path, file in (named or stated).items()
        if file.startswith(f"--set {'.'.join(map(str, path))}=")
    )
    return " ".join(dict.fromkeys(settings))


def _problem(details: ErrorDetails, where: str, location: KeyPath, hint: str) -> Problem:
    key = ".".join(map(str, location))
    match details["type"]:
        case "extra_forbidden":
            return Problem(where, f"{key}: unknown key; {hint}", code="recipe.unknown_key")
        case "missing":
            missing = ".".join(map(str, (*location, details["loc"][-1])))
            return Problem(where, f"{missing}: missing", code="recipe.missing_key")
        case "value_error":
            return Problem(where, f"{key or 'the recipe'}: {details['ctx']['error']}", code="recipe.value")
        case "union_tag_invalid" | "union_tag_not_found":
            expected = str(details["ctx"].get("expected_tags", details["ctx"]["discriminator"]))
            return Problem(where, f"{key}: unknown type", expected=expected, code="recipe.unknown_type")
    said = details["msg"].removeprefix("Input ")
    got = json.dumps(details["input"], ensure_ascii=False)
    return Problem(where, f"{key}: {said}", got=got, code="recipe.value")


def _known_part(location: tuple[str | int, ...], data: Any) -> KeyPath:
    """The part of pydantic's location that the data has: without tags of unions and missing keys."""
    known: list[str | int] = []
    for part in location:
        is_key = isinstance(data, dict) and part in data
        is_item = isinstance(data, list) and isinstance(part, int) and part < len(data)
        if is_key or is_item:
            data = data[part]
            known.append(part)
    return tuple(known)


def _field_names(model: type[BaseModel], location: KeyPath, data: Any) -> list[str]:
    """The keys that a schema knows at a location, for hints."""
    models = [model]
    for part in location:
        data = data[part]
        annotations = [
            inner.model_fields[part].annotation if part in inner.model_fields else None
            for inner in models
            if isinstance(part, str)
        ]
        if isinstance(part, str) and any(annotations):
            models = [found for annotation in annotations for found in _models_in(annotation)]
    fitting = [found for found in models if _tag_fits(found, data)] or models
    return sorted({name for found in fitting for name in found.model_fields})


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for inner in get_args(annotation) for found in _models_in(inner)]


def _tag_fits(model: type[BaseModel], data: Any) -> bool:
    tag = model.model_fields.get("type")
    return tag is not None and isinstance(data, dict) and data.get("type") in get_args(tag.annotation)
