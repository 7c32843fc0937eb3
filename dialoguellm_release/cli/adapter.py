"""`dlm-release adapter`: check, train, merge and export."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dialoguellm_release.cli.options import (
    AdapterSettings,
    Again,
    BackbonesFolder,
    DatasetFolder,
    Json,
    Replace,
)
from dialoguellm_release.cli.output import say, say_made, show, show_json, table
from dialoguellm_release.render import numbers

if TYPE_CHECKING:
    from dialoguellm_release.schemas.counts import Spread
    from dialoguellm_release.schemas.manifests import AdapterManifest, TrainingRun
    from dialoguellm_release.steps.adapter import (
        Check,
        Footprint,
        MeanAndDeviation,
        SeedsSummary,
        Tokens,
        Unfinished,
    )

app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Check, train, merge and export adapters."
)


@app.command()
def check(
    recipe: Annotated[str, typer.Argument(help="A bundled adapter recipe (llama-2-7b) or a path.")],
    dataset: Annotated[
        Path | None, typer.Option(help="Folder that `dataset build` made. [default: build/dataset if there]")
    ] = None,
    tokenizer: Annotated[
        Path | None,
        typer.Option(help="Folder of the backbone's tokenizer. [default: one that is on this machine]"),
    ] = None,
    tokens_per_second: Annotated[
        float | None, typer.Option(help="A throughput to estimate the time with, in tokens of the records.")
    ] = None,
    backbones: BackbonesFolder = Path("build/backbones"),
    settings: AdapterSettings = None,
    json: Json = False,
) -> None:
    """Show the size, steps, memory and time of a training.

    Needs no weights.

    Ends with exit code 1 where the training would be refused, because a record loses its label or input.

    Example: dlm-release adapter check llama-2-7b --tokenizer Llama-2-7b-hf --tokens-per-second 10000
    """
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
    settings: AdapterSettings = None,
    again: Again = False,
    replace: Replace = False,
    json: Json = False,
) -> None:
    """Train a LoRA adapter on a dataset folder.

    Or one for each of the recipe's seeds.

    Example: dlm-release adapter train tiny --set trainer.max_steps=20
    """
    from dialoguellm_release.steps import adapter as steps

    unfinished: Unfinished = "resume" if resume else "discard" if again else "refuse"
    overrides = [*(settings or ()), *([f"seed={seed}", "seeds=[]"] if seed is not None else ())]
    if steps.seeds_of(recipe, overrides):
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
        if steps.rank():
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
    if steps.rank():
        return
    say_made(made, "trained")
    if json:
        show_json(summary(made.manifest))
    else:
        show(as_text(made.manifest))


@app.command()
def merge(
    adapter: Annotated[Path, typer.Argument(help="Folder that `adapter train` made.")],
    out: Annotated[
        Path | None, typer.Option(help="The folder of the merged model. [default: build/merged/NAME]")
    ] = None,
    backbones: BackbonesFolder = Path("build/backbones"),
    again: Again = False,
    replace: Replace = False,
    json: Json = False,
) -> None:
    """Merge an adapter into the weights of its base.

    The logits of both are compared.

    Example: dlm-release adapter merge build/adapters/tiny
    """
    from dialoguellm_release.steps.model import merge_adapter

    made = merge_adapter(adapter, out, backbones=backbones, again=again, replace=replace)
    say_made(made, "merged")
    figures = made.manifest.figures
    if json:
        show_json({"content_sha256": made.manifest.content_sha256, **figures.model_dump(mode="json")})
    else:
        show(
            f"logits differ by at most {figures.largest_difference:.2e} in {figures.dtype}, "
            f"the largest is {figures.largest_logit:.2f}\ncontent {made.manifest.content_sha256}"
        )


@app.command()
def export(
    recipe: Annotated[str, typer.Argument(help="A bundled adapter recipe (tiny) or a path.")],
    tool: Annotated[str, typer.Argument(help="trl, messages (for chat models), axolotl or llama-factory.")],
    dataset: DatasetFolder = Path("build/dataset"),
    out: Annotated[Path | None, typer.Option(help="[default: build/exports/TOOL-NAME]")] = None,
    tokenizer: Annotated[
        Path | None,
        typer.Option(help="Folder of the backbone's tokenizer. [default: one that is on this machine]"),
    ] = None,
    backbones: BackbonesFolder = Path("build/backbones"),
    settings: AdapterSettings = None,
    replace: Replace = False,
    json: Json = False,
) -> None:
    """Write training data and configuration for another tool.

    Example: dlm-release adapter export tiny trl --out build/exports/trl-tiny
    """
    from dialoguellm_release.steps.model import export_training

    made = export_training(
        recipe,
        tool,
        dataset,
        out,
        tokenizer=tokenizer,
        backbones=backbones,
        overrides=settings or (),
        replace=replace,
    )
    say_made(made, "written")
    for one in made.manifest.figures.left_out:
        say(f"{tool} has no key for {one}; it is left out.")
    if json:
        show_json(made.manifest.figures.model_dump(mode="json"))
    else:
        show("\n".join(sorted(file.path for file in made.manifest.outputs)))


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
        f"loss {figures.first_loss:.3f} -> {figures.last_loss:.3f}\n"
        f"{_speed(manifest.run)}content {manifest.content_sha256}"
    )


def _speed(run: TrainingRun | None) -> str:
    """How fast the training was, as a line; empty where that is not known."""
    if run is None or run.matmul_share is None:
        return ""
    share = numbers.percent(run.matmul_share)
    rate = f"{run.tokens_per_second:,.0f} tokens/s in {run.precision}"
    return f"{rate}, {share} of the matmul rate of this hardware ({run.hardware})\n"


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


def check_as_text(check: Check) -> str:
    """The check in paragraphs: sizes and steps, lengths, memory, and what is not known."""
    return "\n\n".join(
        [
            table([("training", ""), *_sizes(check)]),
            *([_lengths(check.tokens)] if check.tokens else []),
            *([_memory(check.memory)] if check.memory else []),
            "not known, or taken on trust\n" + "\n".join(f"  {line}" for line in check.unknown),
        ]
    )


def _sizes(check: Check) -> list[tuple[str, str]]:
    rows = [("recipe", f"{check.recipe} on {check.backbone}")]
    numbers = {
        "parameters": check.parameters,
        "trainable parameters": check.trainable_parameters,
        "records": check.records,
        "records a step": check.batch_size,
        "steps an epoch": check.steps_per_epoch,
        "steps": check.steps,
    }
    rows += [(name, f"{value:,}" if value is not None else "not known") for name, value in numbers.items()]
    hours = "not known" if check.seconds is None else f"{check.seconds / 3600:.2f} hours"
    return [*rows, ("time", hours)]


def _lengths(tokens: Tokens) -> str:
    from dialoguellm_release.steps.adapter import survival_table

    share = 1 - tokens.computed_per_epoch / tokens.per_epoch
    saved = f"{share:.1%} fewer" if share > 0 else f"{-share:.1%} more, for padding"
    return "\n".join(
        [
            f"tokens of a record, label included: {_length_spread(tokens.lengths)}",
            f"tokens an epoch: {tokens.per_epoch:,}",
            f"  of which through the model: {tokens.computed_per_epoch:,} ({saved})",
            f"records shortened to fit: {tokens.shortened:,}",
            "",
            survival_table(tokens.survival),
        ]
    )


def _length_spread(spread: Spread) -> str:
    return f"mean {spread.mean:.1f}, median {spread.median}, 95 % {spread.p95}, longest {spread.maximum}"


def _memory(memory: Footprint) -> str:
    from dialoguellm_release.steps.adapter import gigabytes

    parts = {**asdict(memory), "total": memory.total}
    return table([("memory (bf16)", ""), *((name, gigabytes(size)) for name, size in parts.items())])
