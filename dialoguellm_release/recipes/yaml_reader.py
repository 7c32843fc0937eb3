"""YAML with a position for every key: the strict subset of recipes, and what others write into cards.

Why: PyYAML reads YAML 1.1, in which `2e-4` is a string, `no` is False, `12:30:00` is 45000 and the
second of two equal keys wins silently.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import yaml

from dialoguellm_release.errors import Problem, RecipeError
from dialoguellm_release.resources import record, resource_folder

KeyPath = tuple[str | int, ...]

MOST_VALUES = 100_000
"""A few lines with aliases can stand for billions of values; no card or recipe has more than these."""

DEEPEST = 100
"""Levels of nesting."""


@dataclass(frozen=True)
class Position:
    """A place in a file, counted from 1."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass
class Document:
    """The data of a file and the position of each of its keys and items."""

    data: Any
    positions: dict[KeyPath, Position] = field(default_factory=dict)

    def where(self, *path: str | int) -> str:
        """File and line of the innermost part of a path that the file has."""
        known = (self.positions.get(path[:end]) for end in range(len(path), -1, -1))
        found = next(filter(None, known))
        return f"{found.file}:{found.line}"


class _Yaml12Loader(yaml.SafeLoader):
    """The scalars of YAML 1.2's core schema, without infinities and not-a-numbers."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012


class _BundledLoader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """The same in a seventh of the time, for files that are known."""

    yaml_implicit_resolvers = _Yaml12Loader.yaml_implicit_resolvers


for _tag, _pattern, _first in (
    ("null", r"null|~|", ["n", "~", ""]),
    ("bool", r"true|false", list("tf")),
    ("int", r"[-+]?[0-9]+", list("-+0123456789")),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", list("-+.0123456789")),
):
    _Yaml12Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"^(?:{_pattern})$"), _first)

_SCALARS: dict[str, Callable[[str], Any]] = {
    "str": str,
    "null": lambda _: None,
    "bool": "true".__eq__,
    "int": int,
    "float": float,
}
"""From the text of a scalar of YAML 1.2 to its value."""


def read_yaml(path: Path) -> Document:
    """The mapping in the YAML file of a recipe, with positions."""
    try:
        text = record(path).read_text(encoding="utf-8")
    except OSError as error:
        problem = Problem(str(path), f"cannot be read: {error.strerror}", code="recipe.unreadable")
        raise RecipeError(problem) from error
    except UnicodeDecodeError as error:
        what, fix = f"not UTF-8 at byte {error.start}", "save it as UTF-8"
        raise RecipeError(Problem(str(path), what, fix=fix, code="recipe.not_utf8")) from error
    document, problems = _parsed(text, str(path))
    if problems:
        raise RecipeError(problems)
    if not isinstance(document.data, dict):
        what = "a recipe is a mapping of keys to values"
        raise RecipeError(Problem(f"{path}:1:1", what, code="recipe.not_a_mapping"))
    return Document(deepcopy(document.data), dict(document.positions))


@lru_cache(maxsize=256)
def _parsed(text: str, file: str) -> tuple[Document, list[Problem]]:
    """A recipe that others extend is parsed once; who reads it changes copies."""
    is_bundled = Path(file).is_relative_to(resource_folder("recipes"))
    return parse_yaml(text, file, loader=_BundledLoader if is_bundled else _Yaml12Loader)


def parse_yaml(
    text: str,
    file: str,
    *,
    first_line: int = 1,
    alias: Literal["refuse", "allow"] = "refuse",
    loader: type[yaml.SafeLoader] = _Yaml12Loader,
) -> tuple[Document, list[Problem]]:
    """The values in a text with their positions, and what is wrong with it.

    Why `alias`: recipes are YAML 1.2 without aliases and tags; what others wrote is read as PyYAML reads it.
    The loader, but for bundled files, is the slow one of Python: deep nesting raises there, and ends the
    process in libyaml.
    """
    try:
        parser = (yaml.SafeLoader if alias == "allow" else loader)(text)
        node = parser.get_single_node()
        walk = _Walk(file, first_line, parser if alias == "allow" else None)
        data = None if node is None else walk.value(node, ())
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{file}:{mark.line + first_line}:{mark.column + 1}" if mark else file
        what = f"not YAML: {error.problem or error.context}"
        raise RecipeError(Problem(where, what, code="yaml.invalid")) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        what = f"not YAML: {error}"
        raise RecipeError(Problem(f"{file}:{first_line}", what, code="yaml.invalid")) from error
    walk.positions.setdefault((), Position(file, first_line, 1))
    return Document(data, walk.positions), walk.problems


def read_scalar(text: str) -> Any:
    """The value of a scalar or flow collection as a recipe would have it (`1e-4` is a float)."""
    document, problems = parse_yaml(text, "--set")
    if problems:
        raise RecipeError(problems)
    return document.data


class _Walk:
    """Turns nodes into data and collects positions and problems."""

    def __init__(self, file: str, first_line: int, foreign: yaml.SafeLoader | None) -> None:
        self.positions: dict[KeyPath, Position] = {}
        self.problems: list[Problem] = []
        self._file = file
        self._first_line = first_line
        self._foreign = foreign
        self._seen: set[int] = set()

    def value(self, node: yaml.Node, path: KeyPath) -> Any:
        self.positions.setdefault(path, self._position(node))
        if len(self.positions) > MOST_VALUES or len(path) > DEEPEST:
            what = "far larger than its text, because of aliases or deep nesting"
            raise RecipeError(Problem(f"{self._file}:{self._first_line}", what, code="yaml.too_large"))
        if not self._foreign and id(node) in self._seen:
            self._refuse(node, "an alias", "write the value again, or use extends")
            return None
        self._seen.add(id(node))
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item, (*path, index)) for index, item in enumerate(node.value)]
        return self._foreign.construct_object(node) if self._foreign else self._scalar(node)

    def _mapping(self, node: yaml.MappingNode, path: KeyPath) -> dict[str, Any]:
        data: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                self._refuse(key_node, "a key that is not text", "use a text as the key")
                continue
            key = str(key_node.value)
            if key in data:
                first = self.positions[(*path, key)]
                self._refuse(key_node, f"the key {key} a second time (first at {first})", "keep one")
                continue
            self.positions[(*path, key)] = self._position(key_node)
            data[key] = self.value(value_node, (*path, key))
        return data

    def _scalar(self, node: yaml.Node) -> Any:
        value_of = _SCALARS.get(node.tag.removeprefix("tag:yaml.org,2002:"))
        if value_of is None:
            self._refuse(node, f"the tag {node.tag}", "write a plain value")
            return None
        return value_of(str(node.value))

    def _position(self, node: yaml.Node) -> Position:
        mark = node.start_mark
        return Position(self._file, mark.line + self._first_line, mark.column + 1)

    def _refuse(self, node: yaml.Node, what: str, fix: str) -> None:
        where = str(self._position(node))
        self.problems.append(Problem(where, f"{what} is not allowed", fix=fix, code="yaml.not_allowed"))
