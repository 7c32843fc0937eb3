"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout and nothing else.")]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Change a value of the recipe, as in trainer.max_steps=10."
    ),
]
Again = Annotated[bool, typer.Option("--again", help="Do the work even where the output is current.")]
Replace = Annotated[
    bool, typer.Option("--replace", help="Replace finished work of another recipe or with other settings.")
]
DatasetFolder = Annotated[Path, typer.Option("--dataset", help="Folder that `dataset build` made.")]
BackbonesFolder = Annotated[
    Path, typer.Option("--backbones", help="Where backbones of our own making lie; built where they are not.")
]
