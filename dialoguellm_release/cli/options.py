"""Options that several commands share, and the names that options take."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, get_args

import typer

if TYPE_CHECKING:
    from dialoguellm_release.schemas.scores import BaselineName, MetricName, ScorerName, ServerApi

Name = TypeVar("Name")

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


def scorer_names(text: str) -> list[ScorerName]:
    """The scorers that a list with commas names; `all` names every one."""
    from dialoguellm_release.schemas.scores import ScorerName

    known = get_args(ScorerName)
    names = known if text == "all" else text.split(",")
    return [_known(name, known, "--scorers") for name in names]


def baseline_name(text: str) -> BaselineName:
    """A baseline by its name."""
    from dialoguellm_release.schemas.scores import BaselineName

    return _known(text, get_args(BaselineName), "NAME")


def server_api(text: str) -> ServerApi:
    """A way of asking a server by its name."""
    from dialoguellm_release.schemas.scores import ServerApi

    return _known(text, get_args(ServerApi), "--api")


def metric_name(text: str | None) -> MetricName | None:
    """A metric by its name."""
    from dialoguellm_release.schemas.scores import MetricName

    return None if text is None else _known(text, get_args(MetricName), "--metric")


def claim_status(text: str | None, *, everything: bool) -> str | None:
    """Which claims to list: of a status, `all`, or None for a summary."""
    from dialoguellm_release.steps.claims import Status

    if everything:
        return "all"
    return None if text is None else _known(text, get_args(Status), "--status")


def _known(name: str, known: tuple[Name, ...], option: str) -> Name:
    for one in known:
        if one == name:
            return one
    raise typer.BadParameter(f"{option}: {name} is none of {', '.join(map(str, known))}")
