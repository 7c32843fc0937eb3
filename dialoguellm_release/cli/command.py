"""What commands share: options, the names that options take, data on stdout and all else on stderr."""

from __future__ import annotations

import json as json_module
from collections.abc import Collection, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

from dialoguellm_release import steps

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


Cache = Annotated[
    Path, typer.Option("--cache", help="Folder where answers are kept and found by the next run.")
]
BaseUrl = Annotated[str, typer.Option(help="An OpenAI-compatible API, as vLLM and llama.cpp serve it.")]
Api = Annotated[str, typer.Option(help="chat, or completions for a model that is not tuned for chat.")]
KeyVariable = Annotated[str, typer.Option(help="Environment variable that holds the key.")]
Concurrency = Annotated[int, typer.Option(min=1, help="Requests under way at once.")]
LOCAL_SERVER = "http://127.0.0.1:8000/v1"
"""Where a served model is asked: no text leaves the machine unless another address is stated."""

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


def served_model(
    model: str, base_url: str, api: str, key_variable: str, concurrency: int
) -> steps.predict.ServedModel:
    """The served model that the options name."""
    from dialoguellm_release.schemas.scores import ServerApi

    known = choice(api, get_args(ServerApi), "--api")
    return steps.predict.ServedModel(base_url, model, known, key_variable, concurrency)


if TYPE_CHECKING:
    from dialoguellm_release.errors import Problem


def say(text: object) -> None:
    """A line for people, on stderr."""
    typer.echo(text, err=True)


def say_made(made: steps.score.StepResult[Any], done: str) -> None:
    """What a step did, on stderr: `done`, as in "trained", or nothing where its folder is current."""
    say(f"{made.folder} is current; nothing was done." if made.was_current else f"{made.folder} is {done}.")


def warn_of_unknown(paths: Iterable[str]) -> None:
    """Names files of a corpus that were read although they are not the public ones."""
    for path in paths:
        say(f"warning: {path} is not the public file (its hash differs); it was read all the same")


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
