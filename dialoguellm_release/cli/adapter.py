"""`dlm-release adapter`: train adapters."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dialoguellm_release.cli.options import Again, BackbonesFolder, DatasetFolder, Json, Settings
from dialoguellm_release.cli.output import say, show, show_json

if TYPE_CHECKING:
    from dialoguellm_release.schemas.manifest import AdapterManifest

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Train adapters.")


@app.callback()
def _group() -> None:
    """Keeps `train` a command of its own name."""


@app.command()
def train(
    recipe: Annotated[str, typer.Argument(help="A bundled adapter recipe (tiny) or a path.")],
    dataset: DatasetFolder = Path("build/dataset"),
    out: Annotated[
        Path | None, typer.Option(help="The adapter folder. [default: build/adapters/NAME]")
    ] = None,
    backbones: BackbonesFolder = Path("build/backbones"),
    seed: Annotated[int | None, typer.Option(help="Instead of the seed in the recipe.")] = None,
    settings: Settings = None,
    again: Again = False,
    json: Json = False,
) -> None:
    """Train a LoRA adapter on the records of a dataset folder.

    Example: dlm-release adapter train tiny --set trainer.max_steps=20
    """
    from dialoguellm_release.steps import train_adapter

    overrides = [*(settings or ()), *([f"seed={seed}"] if seed is not None else ())]
    made = train_adapter(recipe, dataset, out, backbones=backbones, overrides=overrides, again=again)
    say(f"{made.folder} is current; nothing was done." if made.was_current else f"{made.folder} is trained.")
    if json:
        show_json(summary(made.manifest))
    else:
        show(as_text(made.manifest))


def summary(manifest: AdapterManifest) -> dict[str, Any]:
    """The figures of a training run as data."""
    return {"content_sha256": manifest.content_sha256, **manifest.figures.model_dump(mode="json")}


def as_text(manifest: AdapterManifest) -> str:
    """The figures of a training run in two lines."""
    figures = manifest.figures
    return (
        f"{figures.records:,} records, {figures.steps:,} steps, "
        f"{figures.trainable_parameters:,} trainable parameters, "
        f"loss {figures.first_loss:.3f} -> {figures.last_loss:.3f}\ncontent {manifest.content_sha256}"
    )
