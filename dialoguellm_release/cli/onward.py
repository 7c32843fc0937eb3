"""`dlm-release recipe new`, `adapter merge` and `adapter export`: on to data and tools of others."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from dialoguellm_release.cli.options import Again, BackbonesFolder, DatasetFolder, Json, Replace, Settings
from dialoguellm_release.cli.output import say, say_made, show, show_json


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
    """Put an adapter into the weights of its base, and prove that the logits stay the same.

    Example: dlm-release adapter merge build/adapters/tiny
    """
    from dialoguellm_release.steps.onward import merge_adapter

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


def export(
    recipe: Annotated[str, typer.Argument(help="A bundled adapter recipe (tiny) or a path.")],
    tool: Annotated[str, typer.Argument(help="trl, messages (for chat models), axolotl or llama-factory.")],
    dataset: DatasetFolder = Path("build/dataset"),
    out: Annotated[Path | None, typer.Option(help="[default: build/exports/TOOL-NAME]")] = None,
    tokenizer: Annotated[
        Path | None,
        typer.Option(help="Folder of the backbone's tokenizer. [default: what lies here]"),
    ] = None,
    backbones: BackbonesFolder = Path("build/backbones"),
    settings: Settings = None,
    replace: Replace = False,
    json: Json = False,
) -> None:
    """Write an adapter recipe's training text for another tool, with a configuration to start from.

    Example: dlm-release adapter export tiny trl --out build/exports/trl-tiny
    """
    from dialoguellm_release.steps.onward import export_training

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
    if json:
        show_json(made.manifest.figures.model_dump(mode="json"))
    else:
        show("\n".join(sorted(file.path for file in made.manifest.outputs)))


def new(
    parent: Annotated[
        str,
        typer.Option("--from", help="The adapter recipe to take the settings from."),
    ],
    data: Annotated[Path, typer.Option(help="A table: CSV, TSV, JSON Lines or Parquet.")],
    out: Annotated[Path, typer.Option(help="Gets the corpus file and the recipes.")] = Path("build/own"),
    text: Annotated[str | None, typer.Option(help="Column of the text.")] = None,
    label: Annotated[str | None, typer.Option(help="Column of the label.")] = None,
    speaker: Annotated[str | None, typer.Option(help="Column of the speaker.")] = None,
    dialogue: Annotated[str | None, typer.Option(help="Column of the dialogue.")] = None,
    split: Annotated[str | None, typer.Option(help="Column of the split.")] = None,
    context: Annotated[int, typer.Option(min=0, help="Past utterances that a prompt shows.")] = 1,
    init_adapter: Annotated[
        str | None, typer.Option(help="Start from this adapter: a folder, or a repository id.")
    ] = None,
    json: Json = False,
) -> None:
    """Write the recipes to build, train and score on a table of yours.

    Example: dlm-release recipe new --from llama-2-7b --data my.csv
    """
    from dialoguellm_release.steps.onward import new_recipe

    named = {"text": text, "label": label, "speaker": speaker, "dialogue": dialogue, "split": split}
    columns = {role: column for role, column in named.items() if column is not None}
    made = new_recipe(parent, data, out, context_k=context, init_adapter=init_adapter, columns=columns)
    commands = [shlex.join(words) for words in made.commands]
    say("Look at the corpus file, then run:\n" + "\n".join(commands))
    if json:
        show_json(
            {
                "corpus": str(made.corpus),
                "dataset_recipe": str(made.dataset),
                "recipe": str(made.recipe),
                "score_recipe": str(made.score) if made.score else None,
                "records": made.records,
                "labels": made.labels,
                "commands": commands,
            }
        )
        return
    files = [path for path in (made.corpus, made.dataset, made.recipe, made.score) if path]
    counts = ", ".join(f"{split} {count:,}" for split, count in made.records.items() if count)
    show("\n".join([*map(str, files), f"records: {counts}", f"labels: {', '.join(made.labels)}"]))
