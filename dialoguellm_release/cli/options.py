"""Options that several commands share, and the names that options take."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Any

import typer

BUILD = Path("build")
"""Where commands write and look, unless an option says otherwise."""


def group(help_text: str) -> typer.Typer:
    """A group of commands."""
    return typer.Typer(no_args_is_help=True, rich_markup_mode=None, help=help_text)


def setting(example: str) -> Any:
    """The option `--set`, with an example of what it may change."""
    help_text = f"Change a value of the recipe, as in {example}; may be repeated."
    return typer.Option("--set", metavar="KEY=VALUE", help=help_text)


def output(default: str) -> Any:
    """The option `--out` of a folder whose default depends on the other options."""
    return typer.Option("--out", help=f"The folder to write. [default: {default}]")


Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout and nothing else.")]
Again = Annotated[bool, typer.Option("--again", help="Do the work even where the output is current.")]
Replace = Annotated[
    bool, typer.Option("--replace", help="Replace finished work of another recipe or with other settings.")
]
Skip = Annotated[list[str] | None, typer.Option(help="A corpus to leave out; may be repeated.")]
DatasetFolder = Annotated[Path, typer.Option("--dataset", help="Folder that `dataset build` made.")]
BackbonesFolder = Annotated[
    Path, typer.Option("--backbones", help="Folder of the backbones that this package builds.")
]


def choice(name: str, known: Collection[Any], option: str) -> Any:
    """A name that an option takes, where it is one of the known ones."""
    if name not in known:
        raise typer.BadParameter(f"{option}: {name} is none of {', '.join(map(str, known))}")
    return name
