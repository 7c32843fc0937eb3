"""YAML as a recipe needs it: the safe subset, with a position for every key and no silent surprises.

Why: PyYAML speaks YAML 1.1, in which `2e-4` is a string, `no` is False, `12:30:00` is 45000 and the
second of two equal keys wins without a word.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from dialoguellm_release.errors import Problem, RecipeError
from dialoguellm_release.resources import record

KeyPath = tuple[str | int, ...]


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
    """The data of a file and where each key and item of it stands."""

    data: dict[str, Any]
    positions: dict[KeyPath, Position] = field(default_factory=dict)


class _Yaml12Resolver(yaml.resolver.BaseResolver):
    """The scalars of YAML 1.2's core schema, without infinities and not-a-numbers."""


for _tag, _pattern, _first in (
    ("null", r"null|~|", ["n", "~", ""]),
    ("bool", r"true|false", list("tf")),
    ("int", r"[-+]?[0-9]+", list("-+0123456789")),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", list("-+.0123456789")),
):
    _Yaml12Resolver.add_implicit_resolver(
        f"tag:yaml.org,2002:{_tag}", re.compile(rf"^(?:{_pattern})$"), _first
    )


class _Composer(
    yaml.reader.Reader,
    yaml.scanner.Scanner,
    yaml.parser.Parser,
    yaml.composer.Composer,
    _Yaml12Resolver,
):
    def __init__(self, text: str) -> None:
        yaml.reader.Reader.__init__(self, text)
        yaml.scanner.Scanner.__init__(self)
        yaml.parser.Parser.__init__(self)
        yaml.composer.Composer.__init__(self)
        _Yaml12Resolver.__init__(self)


def read_yaml(path: Path) -> Document:
    """The mapping in a YAML file, with positions.

    Raises:
        RecipeError: The file cannot be read, is not YAML, is not a mapping, repeats a key, or uses
            an alias or a tag.
    """
    try:
        text = record(path).read_text(encoding="utf-8")
    except OSError as error:
        raise RecipeError(Problem(str(path), f"cannot be read: {error.strerror}")) from error
    except UnicodeDecodeError as error:
        problem = Problem(str(path), f"is not UTF-8 at byte {error.start}", fix="save it as UTF-8")
        raise RecipeError(problem) from error
    try:
        node = _Composer(text).get_single_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{path}:{mark.line + 1}:{mark.column + 1}" if mark else str(path)
        raise RecipeError(Problem(where, f"not YAML: {error.problem or error.context}")) from error
    except (yaml.YAMLError, RecursionError) as error:
        raise RecipeError(Problem(str(path), f"not YAML: {error}")) from error
    if not isinstance(node, yaml.MappingNode):
        raise RecipeError(Problem(f"{path}:1:1", "a recipe is a mapping of keys to values"))
    walk = _Walk(str(path))
    data = walk.mapping(node, ())
    if walk.problems:
        raise RecipeError(walk.problems)
    return Document(data, walk.positions)


def read_scalar(text: str) -> Any:
    """The value of a scalar or flow collection as it would stand in a recipe (`1e-4` is a float)."""
    walk = _Walk("--set")
    try:
        node = _Composer(text).get_single_node()
    except yaml.YAMLError as error:
        raise RecipeError(Problem("--set", f"not a YAML value: {text}")) from error
    value = None if node is None else walk.value(node, ())
    if walk.problems:
        raise RecipeError(walk.problems)
    return value


class _Walk:
    """Turns nodes into data; collects positions and problems on its way."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.positions: dict[KeyPath, Position] = {}
        self.problems: list[Problem] = []
        self._seen: set[int] = set()

    def value(self, node: yaml.Node, path: KeyPath) -> Any:
        self.positions.setdefault(path, self._position(node))
        if id(node) in self._seen:
            self._refuse(node, "an alias", "write the value again, or use extends")
            return None
        self._seen.add(id(node))
        if isinstance(node, yaml.MappingNode):
            return self.mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item, (*path, index)) for index, item in enumerate(node.value)]
        return self._scalar(node)

    def mapping(self, node: yaml.MappingNode, path: KeyPath) -> dict[str, Any]:
        data: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                self._refuse(key_node, "a key that is not a plain text", "use a text as the key")
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
        text = str(node.value)
        match node.tag.removeprefix("tag:yaml.org,2002:"):
            case "str":
                return text
            case "null":
                return None
            case "bool":
                return text == "true"
            case "int":
                return int(text)
            case "float":
                return float(text)
        self._refuse(node, f"the tag {node.tag}", "write a plain value")
        return None

    def _position(self, node: yaml.Node) -> Position:
        return Position(self.file, node.start_mark.line + 1, node.start_mark.column + 1)

    def _refuse(self, node: yaml.Node, what: str, fix: str) -> None:
        self.problems.append(Problem(str(self._position(node)), f"{what} is not allowed", fix=fix))
