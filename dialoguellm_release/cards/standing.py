"""A card where it lies: a README.md and the files around it, made by this package or by anybody."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from dialoguellm_release.cards.check import CARD, repository_card_problems
from dialoguellm_release.cards.merge import BEGIN
from dialoguellm_release.errors import Problem
from dialoguellm_release.folders import kind_of

_WITH_CARDS = ("adapter", "backbone", "dataset")
"""The kinds of folder that become repositories; the report of a score folder is only part of one."""

_NO_CONTENT = frozenset({".cache", ".git", ".venv", "__pycache__", "node_modules"})


@dataclass(frozen=True)
class CheckedCard:
    """What is wrong with a card.

    Attributes:
        path: Of the card; of the folder where there is none.
        is_ours: Whether it was held to what the cards of this package promise.
    """

    path: Path
    is_ours: bool
    problems: tuple[Problem, ...]


def checked_card(path: Path) -> CheckedCard:
    """What is wrong with a card and what it names beside it.

    Args:
        path: The card, or the folder that holds one.
    """
    card = path / CARD if path.is_dir() else path
    if not card.is_file():
        expected = f"a {CARD}, or a folder that holds one"
        return CheckedCard(path, False, (Problem(str(path), "there is no card here", expected=expected),))
    folder = card.parent
    try:
        is_ours = kind_of(folder) in _WITH_CARDS or BEGIN in card.read_text(encoding="utf-8")
        found = list(problems_in(folder, is_ours=is_ours, card=card.name))
    except UnicodeDecodeError as error:
        what = f"is not UTF-8 at byte {error.start}"
        return CheckedCard(card, False, (Problem(str(card), what, fix="save it as UTF-8"),))
    placed = (replace(one, where=str(folder / one.where)) for one in found)
    return CheckedCard(card, is_ours, tuple(placed))


def problems_in(folder: Path, *, is_ours: bool, card: str = CARD) -> Iterator[Problem]:
    """What is wrong with the card of a folder, placed relative to the folder.

    Args:
        card: The file that is the card.
    """
    files = {path if path != card else CARD for path in files_in(folder)}

    def read(path: str) -> str:
        if path == CARD:
            return (folder / card).read_text(encoding="utf-8")
        return (folder / path).read_text(encoding="utf-8", errors="replace")

    for problem in repository_card_problems(files, read, is_ours=is_ours):
        yield replace(problem, where=problem.where.replace(CARD, card, 1))


def files_in(folder: Path) -> Iterator[str]:
    """The files of a repository as it lies on disk, without what git and tools keep there."""
    for root, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name not in _NO_CONTENT]
        for name in names:
            yield (Path(root) / name).relative_to(folder).as_posix()
