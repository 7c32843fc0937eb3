"""YAML that anybody may have written, as the metadata of a card: read safely, with the line of every key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import yaml

from dialoguellm_release.cards.markdown import FENCE
from dialoguellm_release.errors import CardError, Problem

KeyPath = tuple[str | int, ...]

MOST_VALUES = 100_000
"""More values than these are no card's: a few lines of anchors can stand for billions."""

DEEPEST = 100


@dataclass(frozen=True)
class Lines:
    """The lines of keys and items in a file, by their path, counted from 1."""

    file: str
    by_path: Mapping[KeyPath, int]

    def where(self, *path: str | int) -> str:
        """The place of the innermost part of a path that stands there."""
        ends = (path[:end] for end in range(len(path), 0, -1))
        return f"{self.file}:{next((self.by_path[end] for end in ends if end in self.by_path), 1)}"


@dataclass(frozen=True)
class FrontMatter:
    """The metadata of a card."""

    data: Mapping[str, object]
    lines: Lines

    def where(self, *path: str | int) -> str:
        """The place of the innermost part of a path that stands there."""
        return self.lines.where(*path)


def read_front_matter(text: str, card: str) -> tuple[FrontMatter | None, Sequence[Problem]]:
    """The metadata of a card, None where it cannot be read, and what is wrong with it as YAML.

    Args:
        card: For messages.
    """
    head, fence, _ = text.removeprefix(FENCE).partition(f"\n{FENCE}")
    if not text.startswith(FENCE) or not fence:
        fix = "save it as UTF-8 without a byte order mark" if text.startswith("\ufeff") else None
        expected = "YAML between two lines of ---"
        return None, [Problem(f"{card}:1", "has no metadata", expected=expected, fix=fix)]
    try:
        data, lines, problems = read_yaml(head, card, first_line=2, subject="its metadata ")
    except CardError as error:
        return None, error.problems
    if not isinstance(data, dict):
        return None, [Problem(f"{card}:1", "its metadata is not a mapping", got=repr(data))]
    return FrontMatter({str(key): value for key, value in data.items()}, lines), problems


def read_yaml(
    text: str, file: str, *, first_line: int = 1, subject: str = ""
) -> tuple[object, Lines, list[Problem]]:
    """The values in a text, where they stand, and the keys that are there twice.

    Args:
        file: For messages.
        first_line: Of the text in the file.
        subject: What messages begin with; empty where the file says it.

    Raises:
        CardError: It is not YAML, or stands for far more than is written there.
    """
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        lines, repeated = _walked(node, first_line) if node else ({}, [])
        if lines is None:
            raise CardError(Problem(f"{file}:1", f"{subject}is far larger than what is written there"))
        data = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{file}:{mark.line + first_line if mark else 1}"
        raise CardError(Problem(where, f"{subject}is not YAML: {error.problem or error.context}")) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise CardError(Problem(f"{file}:1", f"{subject}is not YAML: {error}")) from error
    problems = [Problem(f"{file}:{line}", f"{key}: stands there twice") for key, line in repeated]
    return data, Lines(file, lines), problems


def _walked(root: yaml.Node, first_line: int) -> tuple[dict[KeyPath, int] | None, list[tuple[str, int]]]:
    """The line of every value by its path, None where they are too many, and keys that are there twice."""
    lines, repeated = dict[KeyPath, int](), list[tuple[str, int]]()
    pending: list[tuple[KeyPath, int, yaml.Node]] = [((), root.start_mark.line, root)]
    while pending:
        path, line, node = pending.pop()
        if len(lines) == MOST_VALUES or len(path) > DEEPEST:
            return None, repeated
        if path in lines:
            repeated.append((str(path[-1]), line + first_line))
        lines[path] = line + first_line
        pending += reversed([((*path, name), line, below) for name, line, below in _below(node)])
    return lines, repeated


def _below(node: yaml.Node) -> Iterator[tuple[str | int, int, yaml.Node]]:
    """The name, line and value of each part of a node."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield str(key.value), key.start_mark.line, value
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            yield index, item.start_mark.line, item
