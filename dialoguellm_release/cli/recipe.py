"""`dlm-release recipe`: list, show and validate recipes, and export their JSON Schema."""

from __future__ import annotations

import shlex
from pathlib import Path
from textwrap import shorten
from typing import Annotated

import typer

from dialoguellm_release.cli import options
from dialoguellm_release.cli.options import BUILD, Json
from dialoguellm_release.cli.output import say, show, show_json, show_result
from dialoguellm_release.render.tables import GAP, Table, terminal_width

app = options.group("List, show, validate and write recipes.")


@app.command(name="list")
def list_recipes(
    kind: Annotated[str | None, typer.Argument(help="Only recipes of this kind, as in adapter.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Show the descriptions in full.")] = False,
    json: Json = False,
) -> None:
    """List the bundled recipes.

    Example: dlm-release recipe list
    """
    from dialoguellm_release.steps.recipe import as_kind, bundled, load_any

    wanted = as_kind(kind) if kind else None
    recipes = {name: load_any(name).recipe for name in bundled()}
    found = {name: one for name, one in recipes.items() if wanted in (None, one.kind)}
    rows = [{"name": name, "kind": one.kind, "description": one.description} for name, one in found.items()]
    texts = {name: " ".join(one.description.split()) for name, one in found.items()}
    if not everything:
        room = max(20, terminal_width() - max(map(len, texts)) - GAP)
        texts = {name: shorten(text, room, placeholder=" ...") for name, text in texts.items()}
    show_result({"recipes": rows}, Table(("recipe", "description"), texts.items()), json=json)


@app.command(name="show")
def show_recipe(
    name: Annotated[str, typer.Argument(help="A bundled recipe, as in datasets/paper, or a path.")],
    origin: Annotated[bool, typer.Option("--origin", help="Say where each value was written.")] = False,
    settings: Annotated[list[str] | None, options.setting("description=Mine")] = None,
    json: Json = False,
) -> None:
    """Show a recipe as resolved, with every default.

    Example: dlm-release recipe show adapters/tiny --origin
    """
    from dialoguellm_release.steps.recipe import as_yaml, leaves, load_any

    loaded = load_any(name, settings or ())
    data = {"name": loaded.name, "sha256": loaded.sha256, "recipe": loaded.stamp.resolved}
    text = Table(("key", "value", "written in"), leaves(loaded)) if origin else as_yaml(loaded)
    show_result(data, text, json=json)


@app.command()
def validate(
    names: Annotated[
        list[str] | None, typer.Argument(help="Recipes by name or path; none validates every bundled one.")
    ] = None,
    json: Json = False,
) -> None:
    """Validate recipes, and the recipes that they name.

    Keys, types and ranges; needs no network and no model.

    Example: dlm-release recipe validate my/recipe.yaml
    """
    from dialoguellm_release.steps.recipe import bundled, validate_recipes

    checked = validate_recipes(names or list(bundled()))
    if json:
        show_json({"valid": checked})
    else:
        say(f"{len(checked)} recipe{'s are' if len(checked) != 1 else ' is'} valid.")


@app.command()
def schema(
    kind: Annotated[
        str, typer.Argument(help="dataset, backbone, adapter, score, release, prompt, claims or video.")
    ],
) -> None:
    """Print the JSON Schema of a kind of recipe, for editors.

    Example: dlm-release recipe schema adapter
    """
    from dialoguellm_release.steps.recipe import as_kind, json_schema

    show(json_schema(as_kind(kind)).rstrip())


@app.command()
def new(
    parent: Annotated[str, typer.Option("--extends", help="The adapter recipe to take the settings from.")],
    data: Annotated[Path, typer.Option(help="A table: CSV, TSV, JSON Lines or Parquet.")],
    out: Annotated[Path, typer.Option(help="Gets the corpus file and the recipes.")] = BUILD / "own",
    text: Annotated[str | None, typer.Option(help="Column of the text.")] = None,
    label: Annotated[str | None, typer.Option(help="Column of the label.")] = None,
    speaker: Annotated[str | None, typer.Option(help="Column of the speaker.")] = None,
    dialogue: Annotated[str | None, typer.Option(help="Column of the dialogue.")] = None,
    split: Annotated[str | None, typer.Option(help="Column of the split.")] = None,
    context: Annotated[int, typer.Option(min=0, help="Past utterances that a prompt shows.")] = 1,
    init_adapter: Annotated[
        str | None, typer.Option(help="Start from this adapter: a folder, or a repository id.")
    ] = None,
    release: Annotated[
        str | None, typer.Option(metavar="OWNER", help="Write a release recipe too, under this owner.")
    ] = None,
    json: Json = False,
) -> None:
    """Write recipes to build, train, score and publish your table.

    Example: dlm-release recipe new --extends llama-2-7b --data my.csv
    """
    from dialoguellm_release.steps.recipe import new_recipe

    named = {"text": text, "label": label, "speaker": speaker, "dialogue": dialogue, "split": split}
    columns = {role: column for role, column in named.items() if column is not None}
    made = new_recipe(
        parent, data, out, context_k=context, init_adapter=init_adapter, columns=columns, release=release
    )
    commands = [shlex.join(words) for words in made.commands]
    say("Look at the corpus file, then run:\n" + "\n".join(commands))
    counts = ", ".join(f"{split} {count:,}" for split, count in made.records.items() if count)
    files = [path for path in (made.corpus, made.dataset, made.recipe, made.score, made.release) if path]
    data_of_all = {
        "corpus": str(made.corpus),
        "dataset_recipe": str(made.dataset),
        "recipe": str(made.recipe),
        "score_recipe": str(made.score) if made.score else None,
        "release_recipe": str(made.release) if made.release else None,
        "records": made.records,
        "labels": made.labels,
        "commands": commands,
    }
    written = [*map(str, files), f"records: {counts}", f"labels: {', '.join(made.labels)}"]
    show_result(data_of_all, "\n".join(written), json=json)
