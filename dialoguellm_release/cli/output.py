"""Data on stdout, everything else on stderr."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import typer

from dialoguellm_release.render.tables import Table

if TYPE_CHECKING:
    from dialoguellm_release.steps import StepResult


def say(text: str) -> None:
    """A line for people, on stderr."""
    typer.echo(text, err=True)


def say_made(made: StepResult[Any], done: str) -> None:
    """What a step did, on stderr: `done`, as in "trained", or nothing where its folder is current."""
    say(f"{made.folder} is current; nothing was done." if made.was_current else f"{made.folder} is {done}.")


def show(text: str) -> None:
    """Data as text, on stdout."""
    typer.echo(text)


def show_json(data: Any) -> None:
    """Data as one JSON object, on stdout."""
    typer.echo(json.dumps(data, ensure_ascii=False, indent=2))


def table(rows: Sequence[Sequence[str]]) -> str:
    """Rows as a table at the width of the terminal; the first is the header."""
    return Table(rows[0], rows[1:]).text()
