"""The metadata at the head of a card, with the line of every key and what keeps it from being read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import yaml

from dialoguellm_release.cards.markdown import FENCE
from dialoguellm_release.errors import Problem

KeyPath = tuple[str | int, ...]

MOST_VALUES = 100_000
"""More values than these are no card's: a few lines of anchors can stand for billions."""

DEEPEST = 20


@dataclass(frozen=True)
class FrontMatter:
    """The metadata of a card.

    Attributes:
        card: The name of the card, for messages.
        lines: Of keys and items by their path, counted from 1 over the whole card.
    """

    card: str
    data: Mapping[str, object]
    lines: Mapping[KeyPath, int]

    def where(self, *path: str | int) -> str:
        """The place of the innermost part of a path that stands there."""
        ends = (path[:end] for end in range(len(path), 0, -1))
        line = next((self.lines[end] for end in ends if end in self.lines), 1)
        return f"{self.card}:{line}"


def read_front_matter(text: str, card: str) -> tuple[FrontMatter | None, list[Problem]]:
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
        node = yaml.compose(head, Loader=yaml.SafeLoader)
        lines, repeated = _walked(node) if node else ({}, [])
        if lines is None:
            return None, [Problem(f"{card}:1", "its metadata is far larger than what is written there")]
        data = yaml.safe_load(head)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{card}:{mark.line + 2}" if mark else f"{card}:1"
        return None, [Problem(where, f"its metadata is not YAML: {error.problem or error.context}")]
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        return None, [Problem(f"{card}:1", f"its metadata is not YAML: {error}")]
    if not isinstance(data, dict):
        return None, [Problem(f"{card}:1", "its metadata is not a mapping", got=repr(data))]
    problems = [Problem(f"{card}:{line}", f"{key}: stands there twice") for key, line in repeated]
    return FrontMatter(card, {str(key): value for key, value in data.items()}, lines), problems


def _walked(root: yaml.Node) -> tuple[dict[KeyPath, int] | None, list[tuple[str, int]]]:
    """The line of every value by its path, None where they are too many, and keys that are there twice."""
    lines, repeated = dict[KeyPath, int](), list[tuple[str, int]]()
    pending: list[tuple[KeyPath, int, yaml.Node]] = [((), root.start_mark.line + 2, root)]
    while pending:
        path, line, node = pending.pop()
        if len(lines) == MOST_VALUES or len(path) > DEEPEST:
            return None, repeated
        if path in lines:
            repeated.append((str(path[-1]), line))
        lines[path] = line
        pending += reversed([((*path, name), line, below) for name, line, below in _below(node)])
    return lines, repeated


def _below(node: yaml.Node) -> Iterator[tuple[str | int, int, yaml.Node]]:
    """The name, line and value of each part of a node."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield str(key.value), key.start_mark.line + 2, value
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            yield index, item.start_mark.line + 2, item
