"""`dlm-release`: the one place where errors become text and exit codes."""

from __future__ import annotations

import errno
import os
import sys
from typing import Annotated

import typer

from dialoguellm_release.cli import (
    adapter,
    card,
    corpora,
    dataset,
    demo,
    doctor,
    publish,
    recipe,
    score,
    verify,
    video,
)
from dialoguellm_release.errors import Problem, ReleaseError

app = typer.Typer(
    name="dlm-release",
    help="Build, train, score and publish the release of DialogueLLM. Start with: dlm-release demo",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(recipe.app, name="recipe")
app.add_typer(corpora.app, name="corpora")
app.add_typer(dataset.app, name="dataset")
app.add_typer(adapter.app, name="adapter")
app.add_typer(score.app, name="score")
app.add_typer(video.app, name="video")
app.add_typer(card.app, name="card")
app.command(name="publish")(publish.publish)
app.command(name="verify")(verify.verify)
app.command(name="doctor")(doctor.doctor)
app.command(name="demo")(demo.demo)


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(version("dialoguellm-release"))
        raise typer.Exit


@app.callback()
def _options(
    debug: Annotated[
        bool, typer.Option("--debug", envvar="DLM_DEBUG", help="Show the traceback of an error.")
    ] = False,
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit."),
    ] = False,
) -> None:
    if debug:
        os.environ["DLM_DEBUG"] = "1"


def main() -> None:
    """Runs the command line: exit 0 done, 1 a problem the user can mend, 2 usage, 130 Ctrl-C."""
    try:
        app()
    except ReleaseError as error:
        _fail(error)
    except OSError as error:
        _fail(_mendable(error))
    except KeyboardInterrupt:
        typer.echo("Stopped; nothing was left half-written.", err=True)
        sys.exit(130)


def _fail(error: ReleaseError) -> None:
    if os.environ.get("DLM_DEBUG"):
        raise error
    typer.echo(str(error), err=True)
    sys.exit(1)


def _mendable(error: OSError) -> ReleaseError:
    """A failure of the file system, as a problem."""
    if os.environ.get("DLM_DEBUG"):
        raise error
    advice = {
        errno.ENOSPC: "free some space and run the same command again",
        errno.EDQUOT: "free some of your quota and run the same command again",
        errno.EFBIG: "the file system or a limit does not take files of this size",
        errno.EACCES: "look at the permissions",
    }
    where = str(error.filename) if error.filename else "the file system"
    what = error.strerror or str(error)
    return ReleaseError(Problem(where, what, fix=advice.get(error.errno or 0)))


if __name__ == "__main__":
    main()
