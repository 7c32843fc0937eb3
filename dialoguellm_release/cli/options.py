"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout and nothing else.")]


def _settings(example: str) -> Any:
    help_text = f"Change a value of the recipe, as in {example}; may be repeated."
    return typer.Option("--set", metavar="KEY=VALUE", help=help_text)


AdapterSettings = Annotated[list[str] | None, _settings("trainer.max_steps=10")]
DatasetSettings = Annotated[list[str] | None, _settings("context_k=3")]
ScoreSettings = Annotated[list[str] | None, _settings("max_records=100")]
VideoSettings = Annotated[list[str] | None, _settings("frames.count=4")]
AnySettings = Annotated[list[str] | None, _settings("description=Mine")]
Again = Annotated[bool, typer.Option("--again", help="Do the work even where the output is current.")]
Replace = Annotated[
    bool, typer.Option("--replace", help="Replace finished work of another recipe or with other settings.")
]
DatasetFolder = Annotated[Path, typer.Option("--dataset", help="Folder that `dataset build` made.")]
BackbonesFolder = Annotated[
    Path, typer.Option("--backbones", help="Folder of the backbones that this package builds.")
]
