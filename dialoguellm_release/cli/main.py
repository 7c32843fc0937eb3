"""`dlm-release`: the tree of commands, and the one place where errors become text and exit codes."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from typer.core import TyperCommand, TyperGroup

from dialoguellm_release.cli import (
    adapter,
    card,
    corpora,
    dataset,
    demo,
    predict,
    publish,
    recipe,
    score,
    video,
)
from dialoguellm_release.cli.command import Json, say, show, show_json
from dialoguellm_release.errors import Problem, ReleaseError
from dialoguellm_release.render.predictions import LIMITS_OF_USE
from dialoguellm_release.render.tables import Table


def doctor(
    sources: Annotated[
        Path | None, typer.Option(help="Folder of the corpora. [default: the one that DLM_CORPORA names]")
    ] = None,
    json: Json = False,
) -> None:
    """Show what this machine has and lacks.

    Versions, extras, disk, GPU, endpoint, token and its rights, corpora.

    Ends with 1 where something is wrong; without what is missing, some commands do not work.

    Example: dlm-release doctor --sources corpora
    """
    from dialoguellm_release.steps.doctor import examine

    findings = examine(sources)
    if json:
        show_json({"findings": [asdict(one) for one in findings]})
    else:
        show(Table(("", "state", ""), [(one.name, one.state, one.note) for one in findings]))
        for one in findings:
            if one.state == "missing" and one.fix:
                say(f"{one.name}: {one.fix}")
    wrong = [
        Problem(one.name, one.note, fix=one.fix, code="doctor.wrong")
        for one in findings
        if one.state == "wrong"
    ]
    if wrong:
        raise ReleaseError(wrong, outcome="nothing was changed")


COMMANDS: dict[str, typer.Typer | Callable[..., None]] = {
    "demo": demo.demo,
    "recipe": recipe.app,
    "corpora": corpora.app,
    "dataset": dataset.app,
    "video": video.app,
    "adapter": adapter.app,
    "score": score.app,
    "predict": predict.predict,
    "card": card.app,
    "publish": publish.publish,
    "verify": publish.verify,
    "doctor": doctor,
}
"""Commands and groups in the order of the work."""

ORDER = tuple(COMMANDS)
EPILOGS = {"predict": LIMITS_OF_USE}


class _InOrder(TyperGroup):
    def list_commands(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]
        return sorted(super().list_commands(ctx), key=ORDER.index)


class _Once(TyperCommand):
    """A command that refuses an option given twice, of which the first would be dropped silently."""

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]
        _, _, given = self.make_parser(ctx).parse_args(args=list(args))
        for param in {one.name: one for one in given}.values():
            takes_one = param.param_type_name == "option" and param.nargs == 1 and not param.multiple
            if takes_one and not getattr(param, "is_flag", False) and given.count(param) > 1:
                ctx.fail(f"{param.opts[0]} takes one value and was given {given.count(param)} times")
        return super().parse_args(ctx, args)


app = typer.Typer(
    name="dlm-release",
    help="Build, train, score and publish the release of DialogueLLM. Start with: dlm-release demo",
    cls=_InOrder,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for _name, _command in COMMANDS.items():
    if isinstance(_command, typer.Typer):
        app.add_typer(_command, name=_name)
    else:
        app.command(name=_name, epilog=EPILOGS.get(_name))(_command)
for _group in (app, *(one.typer_instance for one in app.registered_groups)):
    for _info in _group.registered_commands if _group else ():
        _info.cls = _Once


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
    """Runs the command line.

    Exit codes: 0 done, 1 a problem that the user can fix, 2 wrong usage, 130 Ctrl-C. It is not a problem that
    a reader of the output stops early, as `head` does.
    """
    try:
        app()
        sys.stdout.flush()
    except BrokenPipeError:
        # Python flushes stdout once more at its end, which would print the error after all.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except ReleaseError as error:
        _fail(error, error)
    except OSError as error:
        _fail(error, _file_problem(error))
    except KeyboardInterrupt:
        typer.echo("Stopped; no file was left half-written.", err=True)
        sys.exit(130)


def _fail(raised: Exception, error: ReleaseError) -> None:
    if os.environ.get("DLM_DEBUG"):
        raise raised
    typer.echo(str(error), err=True)
    sys.exit(1)


def _file_problem(error: OSError) -> ReleaseError:
    """A failure of the file system, as a problem."""
    advice = {
        errno.ENOSPC: "free some space and run the same command again",
        errno.EDQUOT: "free some of your quota and run the same command again",
        errno.EFBIG: "the file system or a limit does not accept files of this size",
        errno.EACCES: "check the permissions",
    }
    where = str(error.filename) if error.filename else "the file system"
    fix = advice.get(error.errno or 0)
    return ReleaseError(Problem(where, error.strerror or str(error), fix=fix, code="files.system"))


if __name__ == "__main__":
    main()
