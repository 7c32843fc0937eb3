"""A recipe from its file: read, extended, overridden, validated, hashed."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from dialoguellm_release.errors import Problem, RecipeError
from dialoguellm_release.folders import canonical_json, sha256_of_text
from dialoguellm_release.recipes.yaml_reader import (
    Document,
    KeyPath,
    Position,
    read_scalar,
    read_yaml,
)
from dialoguellm_release.schemas.manifests import RecipeStamp

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

MAX_DEPTH = 3
MAX_PATH = 250
"""No recipe has a longer name; the file system would refuse it."""

Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True)
class Loaded(Generic[Model]):
    """A validated recipe with its name and where each of its leaves was written.

    Attributes:
        origins: Key path of each leaf that a file or `--set` states; a default has none.
    """

    name: str
    recipe: Model
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


def load_file(path: Path, model: type[Model], overrides: Sequence[str] = ()) -> Loaded[Model]:
    """The recipe in a YAML file.

    Args:
        model: The schema that it must satisfy.
        overrides: Settings `key.key=value` that pass the same validation.

    Raises:
        RecipeError: With every problem that could be found at once, each at file, line and column.
    """
    document = _extended(path, ())
    for override in overrides:
        _override(document, override)
    return Loaded(path.stem, validated(document, model, path), document.positions)


def validated(document: Document, model: type[Model], path: Path) -> Model:
    """The data of a document as a model.

    Raises:
        RecipeError: One problem for each key that is wrong.
    """
    try:
        # JSON keeps strictness ("1" is no number) and still takes lists for tuples.
        return model.model_validate_json(json.dumps(document.data))
    except ValidationError as error:
        raise RecipeError(_problems(error.errors(), document, model, path)) from None


def _extended(path: Path, below: tuple[Path, ...]) -> Document:
    document = read_yaml(path)
    parent = document.data.pop("extends", None)
    if parent is None:
        return document
    where = str(document.positions.pop(("extends",)))
    if not isinstance(parent, str):
        raise RecipeError(Problem(where, "extends takes one relative path", got=repr(parent)))
    parent_path = (path.parent / parent[:MAX_PATH]).resolve()
    chain = (*below, path.resolve())
    if parent_path in chain:
        raise RecipeError(Problem(where, f"extends itself by way of {parent}"))
    if len(chain) > MAX_DEPTH:
        raise RecipeError(Problem(where, f"extends more than {MAX_DEPTH} recipes deep"))
    if len(parent) > MAX_PATH or not parent_path.is_file():
        raise RecipeError(Problem(where, "extends a file that does not exist", got=parent))
    return _merged(_extended(parent_path, chain), document)


def _merged(parent: Document, child: Document) -> Document:
    positions = dict(parent.positions)
    data = _merge(parent.data, child.data, (), positions)
    return Document(data, positions | child.positions)


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
        problem = Problem("--set", "takes key.key=value", got=setting)
        raise RecipeError(problem)
    *parents, last = keys.split(".")
    target = document.data
    for key in parents:
        if target.get(key) is None:
            target[key] = {}
        target = target[key]
        if not isinstance(target, dict):
            raise RecipeError(Problem(f"--set {setting}", f"{key} holds a value, not keys"))
    target[last] = read_scalar(text)
    path = tuple(keys.split("."))
    for depth in range(1, len(path) + 1):
        document.positions[path[:depth]] = Position(f"--set {setting}", 1, 1)


def _problems(
    errors: list[ErrorDetails], document: Document, model: type[BaseModel], path: Path
) -> list[Problem]:
    """The problems in the order of the file; a key that is only misspelt is not also called missing."""
    unknown = {
        details["loc"]: _close_name(details, document, model)
        for details in errors
        if details["type"] == "extra_forbidden"
    }
    meant = {(*location[:-1], name) for location, name in unknown.items()}
    found = []
    for details in errors:
        if details["type"] == "missing" and details["loc"] in meant:
            continue
        position = _position(_known_part(details["loc"], document.data), document, path)
        found.append((position, _problem(details, position, document, model)))
    found.sort(key=lambda pair: (pair[0].file, pair[0].line, pair[0].column))
    return [problem for _, problem in found]


def _problem(
    details: ErrorDetails, position: Position, document: Document, model: type[BaseModel]
) -> Problem:
    location = _known_part(details["loc"], document.data)
    key = ".".join(map(str, location))
    where = position.file if position.file.startswith("--set") else str(position)
    match details["type"]:
        case "extra_forbidden":
            close = _close_name(details, document, model)
            known = ", ".join(_field_names(model, location[:-1], document.data))
            return Problem(
                where, f"{key}: unknown key; {f'did you mean {close}?' if close else f'known: {known}'}"
            )
        case "missing":
            return Problem(where, f"{'.'.join([*filter(None, [key]), str(details['loc'][-1])])}: is missing")
        case "value_error":
            return Problem(where, f"{key or 'the recipe'}: {details['ctx']['error']}")
        case "union_tag_invalid" | "union_tag_not_found":
            expected = str(details["ctx"].get("expected_tags", details["ctx"]["discriminator"]))
            return Problem(where, f"{key}: of an unknown type", expected=expected)
    said = details["msg"].removeprefix("Input ")
    return Problem(where, f"{key}: {said}", got=json.dumps(details["input"], ensure_ascii=False))


def _close_name(details: ErrorDetails, document: Document, model: type[BaseModel]) -> str | None:
    """The key that was probably meant; None where none is close."""
    location = _known_part(details["loc"], document.data)
    names = _field_names(model, location[:-1], document.data)
    return next(iter(difflib.get_close_matches(str(location[-1]), names, n=1)), None)


def _position(location: KeyPath, document: Document, path: Path) -> Position:
    for length in range(len(location), 0, -1):
        position = document.positions.get(location[:length])
        if position is not None:
            return position
    return Position(str(path), 1, 1)


def _known_part(location: tuple[str | int, ...], data: Any) -> KeyPath:
    """The part of pydantic's location that stands in the data: without tags of unions and missing keys."""
    known: list[str | int] = []
    for part in location:
        is_key = isinstance(data, dict) and part in data
        is_item = isinstance(data, list) and isinstance(part, int) and part < len(data)
        if is_key or is_item:
            data = data[part]
            known.append(part)
    return tuple(known)


def _field_names(model: type[BaseModel], location: KeyPath, data: Any) -> list[str]:
    """The keys that a schema knows at a place, for hints."""
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
