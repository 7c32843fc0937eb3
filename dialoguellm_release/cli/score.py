"""`dlm-release score`: score adapters and backbones."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dialoguellm_release.cli.options import Again, BackbonesFolder, DatasetFolder, Json, Settings
from dialoguellm_release.cli.output import say, show, show_json, table

if TYPE_CHECKING:
    from dialoguellm_release.schemas.manifest import ScoreManifest

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Score adapters and backbones.")


@app.callback()
def _group() -> None:
    """Keeps `run` a command of its own name."""


@app.command()
def run(
    recipe: Annotated[str, typer.Argument(help="A bundled score recipe (meld) or a path.")],
    dataset: DatasetFolder = Path("build/dataset"),
    adapter: Annotated[
        Path | None,
        typer.Option(help="Folder that `adapter train` made; without it, --backbone is scored alone."),
    ] = None,
    backbone: Annotated[
        str | None, typer.Option(help="A backbone recipe. [default: the one of the adapter]")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="The score folder. [default: build/scores/RECIPE-ADAPTER]")
    ] = None,
    backbones: BackbonesFolder = Path("build/backbones"),
    settings: Settings = None,
    again: Again = False,
    json: Json = False,
) -> None:
    """Score records: a probability for every label, without free generation.

    Example: dlm-release score run meld --adapter build/adapters/tiny
    """
    from dialoguellm_release.steps import score

    made = score(
        recipe,
        dataset,
        adapter,
        out,
        backbone=backbone,
        backbones=backbones,
        overrides=settings or (),
        again=again,
    )
    say(f"{made.folder} is current; nothing was done." if made.was_current else f"{made.folder} is scored.")
    if json:
        show_json(summary(made.manifest))
    else:
        show(as_text(made.manifest))


def summary(manifest: ScoreManifest) -> dict[str, Any]:
    """The metrics and what they were taken on, as data."""
    figures = manifest.figures.model_dump(mode="json")
    return {"content_sha256": manifest.content_sha256, **figures.pop("metrics"), **figures}


def as_text(manifest: ScoreManifest) -> str:
    """The metrics as a table, in percent, beside those of the commonest label."""
    figures = manifest.figures
    rows = [("", *figures.metrics)]
    for name, metrics in (
        ("scored", figures.metrics),
        (f"always {figures.majority_label}", figures.majority),
    ):
        rows.append((name, *(f"{100 * metrics[metric]:.1f}" for metric in figures.metrics)))
    return f"{figures.records:,} records of {figures.corpus}/{figures.split}, in percent\n{table(rows)}"
