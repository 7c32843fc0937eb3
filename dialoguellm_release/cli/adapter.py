"""`dlm-release adapter`: look ahead at a training, and train."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dialoguellm_release.cli.options import Again, BackbonesFolder, DatasetFolder, Json, Replace, Settings
from dialoguellm_release.cli.output import say, say_made, show, show_json, table

if TYPE_CHECKING:
    from dialoguellm_release.schemas.manifests import AdapterManifest
    from dialoguellm_release.training.checkpoints import Unfinished
    from dialoguellm_release.training.seeds import MeanAndDeviation, SeedsSummary

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Check and train adapters.")


@app.command()
def check(
    recipe: Annotated[str, typer.Argument(help="A bundled adapter recipe (llama-2-7b) or a path.")],
    dataset: Annotated[
        Path | None, typer.Option(help="Folder that `dataset build` made. [default: build/dataset if there]")
    ] = None,
    tokenizer: Annotated[
        Path | None,
        typer.Option(help="Folder of the backbone's tokenizer. [default: what lies here already]"),
    ] = None,
    tokens_per_second: Annotated[
        float | None, typer.Option(help="A throughput to reckon the time with, in tokens of the records.")
    ] = None,
    backbones: BackbonesFolder = Path("build/backbones"),
    settings: Settings = None,
    json: Json = False,
) -> None:
    """Show what a training would be: parameters, token lengths, steps, memory and time. Needs no weights.

    Ends with exit code 1 where the training would be refused, because a record loses its label or input.

    Example: dlm-release adapter check llama-2-7b --tokenizer Llama-2-7b-hf --tokens-per-second 10000
    """
    from dialoguellm_release.cli.adapter_check import as_text as check_as_text
    from dialoguellm_release.steps.adapter import check_adapter

    found = check_adapter(
        recipe,
        dataset,
        tokenizer=tokenizer,
        tokens_per_second=tokens_per_second,
        backbones=backbones,
        overrides=settings or (),
    )
    if json:
        show_json(found.as_data())
    else:
        show(check_as_text(found))
    if found.refused:
        say(f"{found.refused:,} records do not fit trainer.max_length: this training would be refused.")
        raise typer.Exit(1)


@app.command()
def train(
    recipe: Annotated[str, typer.Argument(help="A bundled adapter recipe (tiny) or a path.")],
    dataset: DatasetFolder = Path("build/dataset"),
    out: Annotated[
        Path | None, typer.Option(help="The adapter folder. [default: build/adapters/NAME]")
    ] = None,
    backbones: BackbonesFolder = Path("build/backbones"),
    seed: Annotated[
        int | None, typer.Option(help="Train this one seed instead of what the recipe says.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the last checkpoint of a run that did not end.")
    ] = False,
    settings: Settings = None,
    again: Again = False,
    replace: Replace = False,
    json: Json = False,
) -> None:
    """Train a LoRA adapter on the records of a dataset folder, or one for each of the recipe's seeds.

    Example: dlm-release adapter train tiny --set trainer.max_steps=20
    """
    from dialoguellm_release.recipes.catalogue import load_recipe
    from dialoguellm_release.schemas.recipes.adapter import AdapterRecipe
    from dialoguellm_release.steps import adapter as steps
    from dialoguellm_release.training.processes import rank

    unfinished: Unfinished = "resume" if resume else "discard" if again else "refuse"
    overrides = [*(settings or ()), *([f"seed={seed}", "seeds=[]"] if seed is not None else ())]
    if load_recipe(recipe, "adapter", AdapterRecipe, overrides).recipe.seeds:
        trained = steps.train_seeds(
            recipe,
            dataset,
            out,
            backbones=backbones,
            overrides=overrides,
            unfinished=unfinished,
            again=again,
            replace=replace,
        )
        if rank():
            return
        say(f"{trained.folder} holds {len(trained.made)} adapters.")
        if json:
            show_json(trained.summary.model_dump(mode="json"))
        else:
            show(seeds_as_text(trained.summary))
        return
    made = steps.train_adapter(
        recipe,
        dataset,
        out,
        backbones=backbones,
        overrides=overrides,
        unfinished=unfinished,
        again=again,
        replace=replace,
    )
    if rank():
        return
    say_made(made, "trained")
    if json:
        show_json(summary(made.manifest))
    else:
        show(as_text(made.manifest))


def summary(manifest: AdapterManifest) -> dict[str, Any]:
    """The figures of a training run as data."""
    run = {"run": manifest.run.model_dump(mode="json")} if manifest.run else {}
    return {"content_sha256": manifest.content_sha256, **manifest.figures.model_dump(mode="json"), **run}


def as_text(manifest: AdapterManifest) -> str:
    """The figures of a training run in two lines."""
    figures = manifest.figures
    return (
        f"{figures.records:,} records, {figures.steps:,} steps, "
        f"{figures.trainable_parameters:,} trainable parameters, "
        f"loss {figures.first_loss:.3f} -> {figures.last_loss:.3f}\ncontent {manifest.content_sha256}"
    )


def seeds_as_text(summary: SeedsSummary) -> str:
    """One line a seed, and the mean of all."""
    rows: list[tuple[str, ...]] = [("seed", "last loss", "validation loss", "content")]
    for one in summary.adapters:
        rows.append((str(one.seed), _number(one.last_loss), _number(one.validation_loss), one.content_sha256))
    rows.append(("mean", _spread(summary.last_loss), _spread(summary.validation_loss), ""))
    return table(rows)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _spread(value: MeanAndDeviation | None) -> str:
    if value is None:
        return "-"
    return f"{value.mean:.4f} ± {_number(value.standard_deviation)}"
