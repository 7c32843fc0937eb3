"""Data on stdout, everything else on stderr."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from dialoguellm_release.step import StepResult


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


def table(rows: list[tuple[str, ...]]) -> str:
    """Rows as aligned columns; the first is the header."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )
