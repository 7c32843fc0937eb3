"""`dlm-release`: the tree of commands, with `demo` and `doctor`; here errors become text and exit codes."""

from __future__ import annotations

import errno
import os
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from typer.core import TyperCommand, TyperGroup

from dialoguellm_release import steps
from dialoguellm_release.cli import adapter, corpora, dataset, predict, publish, recipe, score, scores, video
from dialoguellm_release.cli.command import BUILD, Again, Json, Skip, say, show, show_json
from dialoguellm_release.errors import Problem, ReleaseError
from dialoguellm_release.render.predictions import LIMITS_OF_USE
from dialoguellm_release.render.tables import Table

LOADING = """\
from datasets import load_dataset; dataset = load_dataset("{dataset}", "{corpus}", split="test")
from transformers import AutoModelForCausalLM; base = AutoModelForCausalLM.from_pretrained("{backbone}")
from peft import PeftModel; model = PeftModel.from_pretrained(base, "{adapter}")"""


def demo(
    sources: Annotated[
        Path | None,
        typer.Option(help="Real corpora, one sub-folder each; without it, the bundled synthetic ones."),
    ] = None,
    out: Annotated[Path, typer.Option(help="Where everything is made.")] = BUILD / "demo",
    skip: Skip = None,
    again: Again = False,
    app: Annotated[
        bool,
        typer.Option("--app", help="Then serve the app of the demo Space with the adapter, until Ctrl-C."),
    ] = False,
) -> None:
    """Run the whole path on small synthetic data.

    Build the dataset, train a tiny adapter, score it, publish everything to a folder.

    Example: dlm-release demo --sources corpora
    """
    from dialoguellm_release.schemas.release import ReleaseRecipe

    started = time.monotonic()
    plan = steps.recipe.load_any("releases/demo").recipe
    assert isinstance(plan, ReleaseRecipe)
    assert plan.dataset is not None
    (backbone_plan,), (adapter_plan,) = plan.backbones, plan.adapters
    (score_folder,) = adapter_plan.scores
    score_recipe = Path(score_folder).name.partition("-")[0]

    recipe = "demo" if sources is None else "paper"
    say(f"1/4  dataset: recipe {recipe}")
    named = steps.dataset.corpora_of(recipe) if sources else ()
    absent = [name for name in named if sources and not (sources / name).exists()]
    if absent:
        say(f"     not in {sources}, left out: {', '.join(absent)}")
    left_out = {*(skip or ()), *absent}
    built = steps.dataset.build_dataset(
        recipe, sources, out / "dataset", skip=left_out, again=again, replace=True
    )
    dataset.warn_of_unknown_files(built.manifest)
    dataset.note_missing_figures(built.manifest)
    say("2/4  adapter: recipe tiny")
    trained = steps.adapter.train_adapter(
        "tiny",
        built.folder,
        out / adapter_plan.folder,
        backbones=out / "backbones",
        unfinished="discard" if again else "resume",
        again=again,
        replace=True,
    )
    say(f"3/4  scores: recipe {score_recipe}")
    model = steps.score.ModelChoice(trained.folder, backbones=out / "backbones", cache=out / "cache")
    scored = steps.score.score(
        score_recipe, built.folder, model, out / score_folder, again=again, replace=True
    )
    say("4/4  release: recipe demo")
    release = steps.release.publish("demo", out, str(out / "release"))

    where = {one.repo_id: one.where for one in release.repositories}
    loading = LOADING.format(
        dataset=where[plan.dataset.repo_id],
        corpus=scored.manifest.figures.protocol.corpus,
        backbone=where[backbone_plan.repo_id],
        adapter=where[adapter_plan.repo_id],
    )
    show(f"\nDataset, as dialogues / records\n{dataset.counts(built.manifest)}")
    show(f"\nAdapter\n{adapter.as_text(trained.manifest)}")
    show(f"\nScores\n{scores.as_text(scored.manifest)}")
    show(f"\nRelease\n{publish.as_text(release)}")
    show(f"\nLoad it\n{loading}")
    say(f"\nDone in {time.monotonic() - started:.0f} s. Everything is in {out}.")
    if app:
        raise typer.Exit(steps.predict.serve_app(trained.folder, out / backbone_plan.folder))


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
    findings = steps.doctor.examine(sources)
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
    "demo": demo,
    "recipe": recipe.app,
    "corpora": corpora.app,
    "dataset": dataset.app,
    "video": video.app,
    "adapter": adapter.app,
    "score": score.app,
    "predict": predict.predict,
    "card": publish.app,
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
