"""`dlm-release adapter`: check, train, merge and export."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dialoguellm_release import steps
from dialoguellm_release.cli import command
from dialoguellm_release.cli.command import (
    BUILD,
    Again,
    BackbonesFolder,
    DatasetFolder,
    Json,
    Replace,
    say,
    say_made,
    show_result,
)
from dialoguellm_release.render import numbers
from dialoguellm_release.render.tables import Table

if TYPE_CHECKING:
    from dialoguellm_release.schemas.manifests import AdapterManifest

app = command.group("Check, train, merge and export adapters.")

Recipe = Annotated[str, typer.Argument(help="A bundled adapter recipe (tiny, llama-2-7b) or a path.")]
Settings = Annotated[list[str] | None, command.setting("trainer.max_steps=10")]
TokenizerFolder = Annotated[
    Path | None,
    typer.Option("--tokenizer", help="Folder of the backbone's tokenizer. [default: what lies here already]"),
]


@app.command()
def check(
    recipe: Recipe,
    dataset: Annotated[
        Path | None, typer.Option(help="Folder that `dataset build` made. [default: build/dataset if there]")
    ] = None,
    tokenizer: TokenizerFolder = None,
    tokens_per_second: Annotated[
        float | None, typer.Option(help="A throughput to estimate the time with, in tokens of the records.")
    ] = None,
    backbones: BackbonesFolder = BUILD / "backbones",
    settings: Settings = None,
    json: Json = False,
) -> None:
    """Show the size, steps, memory and time of a training.

    Needs no weights.

    Ends with exit code 1 where the training would be refused: a record loses its label or input, or is longer
    than what the backbone reads.

    Example: dlm-release adapter check llama-2-7b --tokenizer Llama-2-7b-hf --tokens-per-second 10000
    """
    found = steps.adapter.check_adapter(
        recipe,
        dataset,
        tokenizer=tokenizer,
        tokens_per_second=tokens_per_second,
        backbones=backbones,
        overrides=settings or (),
    )
    show_result(found.as_data(), check_as_text(found), json=json)
    if found.refused:
        say(f"{found.refused:,} records do not fit trainer.max_length: this training would be refused.")
    if found.too_long:
        say(str(found.too_long))
    if found.refused or found.too_long:
        raise typer.Exit(1)


@app.command()
def train(
    recipe: Recipe,
    dataset: DatasetFolder = BUILD / "dataset",
    out: Annotated[Path | None, command.output("build/adapters/NAME")] = None,
    backbones: BackbonesFolder = BUILD / "backbones",
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
    """Train a LoRA adapter on a dataset folder.

    Or one for each of the recipe's seeds.

    Example: dlm-release adapter train tiny --set trainer.max_steps=20
    """
    unfinished: steps.adapter.Unfinished = "resume" if resume else "discard" if again else "refuse"
    overrides = [*(settings or ()), *([f"seed={seed}", "seeds=[]"] if seed is not None else ())]
    shared: dict[str, Any] = {"backbones": backbones, "overrides": overrides, "unfinished": unfinished}
    shared |= {"again": again, "replace": replace}
    if steps.adapter.seeds_of(recipe, overrides):
        trained = steps.adapter.train_seeds(recipe, dataset, out, **shared)
        if not steps.adapter.rank():
            say(f"{trained.folder} holds {len(trained.made)} adapters.")
            show_result(trained.summary.model_dump(mode="json"), seeds_as_text(trained.summary), json=json)
        return
    made = steps.adapter.train_adapter(recipe, dataset, out, **shared)
    if not steps.adapter.rank():
        say_made(made, "trained")
        show_result(summary(made.manifest), as_text(made.manifest), json=json)


@app.command()
def merge(
    adapter: Annotated[Path, typer.Argument(help="Folder that `adapter train` made.")],
    out: Annotated[Path | None, command.output("build/merged/NAME")] = None,
    backbones: BackbonesFolder = BUILD / "backbones",
    again: Again = False,
    replace: Replace = False,
    json: Json = False,
) -> None:
    """Merge an adapter into the weights of its base.

    The logits of both are compared.

    Example: dlm-release adapter merge build/adapters/tiny
    """
    made = steps.model.merge_adapter(adapter, out, backbones=backbones, again=again, replace=replace)
    say_made(made, "merged")
    figures, content = made.manifest.figures, made.manifest.content_sha256
    text = (
        f"logits differ by at most {figures.largest_difference:.2e} in {figures.dtype}, "
        f"the largest is {figures.largest_logit:.2f}\ncontent {content}"
    )
    show_result({"content_sha256": content, **figures.model_dump(mode="json")}, text, json=json)


@app.command()
def export(
    recipe: Recipe,
    tool: Annotated[str, typer.Argument(help="trl, messages (for chat models), axolotl or llama-factory.")],
    dataset: DatasetFolder = BUILD / "dataset",
    out: Annotated[Path | None, command.output("build/exports/TOOL-NAME")] = None,
    tokenizer: TokenizerFolder = None,
    backbones: BackbonesFolder = BUILD / "backbones",
    settings: Settings = None,
    replace: Replace = False,
    json: Json = False,
) -> None:
    """Write training data and configuration for another tool.

    Example: dlm-release adapter export tiny trl --out build/exports/trl-tiny
    """
    made = steps.model.export_training(
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
    files = "\n".join(sorted(file.path for file in made.manifest.outputs))
    show_result(made.manifest.figures.model_dump(mode="json"), files, json=json)


def summary(manifest: AdapterManifest) -> dict[str, Any]:
    """The figures of a training run as data."""
    run = {"run": manifest.run.model_dump(mode="json")} if manifest.run else {}
    return {"content_sha256": manifest.content_sha256, **manifest.figures.model_dump(mode="json"), **run}


def as_text(manifest: AdapterManifest) -> str:
    """The figures of a training run in two lines, and its speed where that is known."""
    figures, run = manifest.figures, manifest.run
    lines = [
        f"{figures.records:,} records, {figures.steps:,} steps, "
        f"{figures.trainable_parameters:,} trainable parameters, "
        f"loss {figures.first_loss:.3f} -> {figures.last_loss:.3f}"
    ]
    if run is not None and run.matmul_share is not None:
        lines.append(
            f"{run.tokens_per_second:,.0f} tokens/s in {run.precision}, "
            f"{numbers.percent(run.matmul_share)} of the matmul rate of this hardware ({run.hardware})"
        )
    return "\n".join([*lines, f"content {manifest.content_sha256}"])


def seeds_as_text(summary: steps.adapter.SeedsSummary) -> Table:
    """One line a seed, and the mean of all."""
    rows = [
        (
            str(one.seed),
            *(numbers.decimal(loss, 4) for loss in (one.last_loss, one.validation_loss)),
            one.content_sha256,
        )
        for one in summary.adapters
    ]
    mean = ("mean", _spread(summary.last_loss), _spread(summary.validation_loss), "")
    return Table(("seed", "last loss", "validation loss", "content"), [*rows, mean])


def _spread(value: steps.adapter.MeanAndDeviation | None) -> str:
    if value is None:
        return numbers.MISSING
    return f"{numbers.decimal(value.mean, 4)} ± {numbers.decimal(value.standard_deviation, 4)}"


def check_as_text(check: steps.adapter.Check) -> str:
    """The check in paragraphs: sizes and steps, lengths, memory, and what is not known."""
    sizes = {
        "parameters": check.parameters,
        "trainable parameters": check.trainable_parameters,
        "records": check.records,
        "records a step": check.batch_size,
        "steps an epoch": check.steps_per_epoch,
        "steps": check.steps,
    }
    training = {
        "recipe": f"{check.recipe} on {check.backbone}",
        **{name: "not known" if value is None else f"{value:,}" for name, value in sizes.items()},
        "time": "not known" if check.seconds is None else f"{check.seconds / 3600:.2f} hours",
    }
    parts = [Table(("training", ""), training.items()).text()]
    if check.tokens:
        parts.append(_lengths(check.tokens))
    if check.memory:
        memory = {**asdict(check.memory), "total": check.memory.total}
        rows = [(name, numbers.size(size)) for name, size in memory.items()]
        parts.append(Table(("memory (bf16)", ""), rows).text())
    for title, lines in (("advice", check.advice), ("not known, or taken on trust", check.unknown)):
        if lines:
            parts.append("\n".join([title, *(f"  {line}" for line in lines)]))
    return "\n\n".join(parts)


def _lengths(tokens: steps.adapter.Tokens) -> str:

    share = 1 - tokens.computed_per_epoch / tokens.per_epoch
    saved = f"{numbers.percent(abs(share))} {'fewer' if share > 0 else 'more, for padding'}"
    spread = tokens.lengths
    return (
        f"tokens of a record, label included: mean {spread.mean:.1f}, median {spread.median}, "
        f"95 % {spread.p95}, longest {spread.maximum}\n"
        f"tokens an epoch: {tokens.per_epoch:,}\n"
        f"  of which through the model: {tokens.computed_per_epoch:,} ({saved})\n"
        f"records shortened to fit: {tokens.shortened:,}\n\n"
        f"{steps.adapter.survival_table(tokens.survival)}"
    )
