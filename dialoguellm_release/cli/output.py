"""Data on stdout, everything else on stderr."""

from __future__ import annotations

import json as json_module
from collections.abc import Iterable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from dialoguellm_release.errors import Problem
    from dialoguellm_release.steps import StepResult


def say(text: object) -> None:
    """A line for people, on stderr."""
    typer.echo(text, err=True)


def say_made(made: StepResult[Any], done: str) -> None:
    """What a step did, on stderr: `done`, as in "trained", or nothing where its folder is current."""
    say(f"{made.folder} is current; nothing was done." if made.was_current else f"{made.folder} is {done}.")


def show(text: object) -> None:
    """Data as text, on stdout."""
    typer.echo(text)


def show_json(data: Any) -> None:
    """Data as one JSON object, on stdout."""
    typer.echo(json_module.dumps(data, ensure_ascii=False, indent=2))


def show_result(data: Any, text: object, *, json: bool) -> None:
    """A result on stdout: its data as JSON, or its text."""
    if json:
        show_json(data)
    else:
        show(text)


def problem_data(problems: Iterable[Problem]) -> list[dict[str, Any]]:
    """Problems as data."""
    return [asdict(problem) for problem in problems]
