"""`dlm-release recipe`: list, show and validate recipes, and export their JSON Schema."""

from __future__ import annotations

import shlex
from pathlib import Path
from textwrap import shorten
from typing import Annotated, Any

import typer

from dialoguellm_release import steps
from dialoguellm_release.cli import command
from dialoguellm_release.cli.command import BUILD, Json, say, show, show_json, show_result
from dialoguellm_release.render.tables import GAP, Table, terminal_width

_FORMAT_KEYS = "type file encoding separator dialogues utterances speakers ignores_case"

app = command.group("List, show, validate and write recipes.")


@app.command(name="list")
def list_recipes(
    kind: Annotated[str | None, typer.Argument(help="Only recipes of this kind, as in adapter.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Show the descriptions in full.")] = False,
    json: Json = False,
) -> None:
    """List the bundled recipes.

    Example: dlm-release recipe list
    """
    wanted = steps.recipe.as_kind(kind) if kind else None
    recipes = {name: steps.recipe.load_any(name).recipe for name in steps.recipe.bundled()}
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
    settings: Annotated[list[str] | None, command.setting("description=Mine")] = None,
    json: Json = False,
) -> None:
    """Show a recipe as resolved, with every default.

    Example: dlm-release recipe show adapters/tiny --origin
    """
    loaded = steps.recipe.load_any(name, settings or ())
    data = {"name": loaded.name, "sha256": loaded.sha256, "recipe": loaded.stamp.resolved}
    rows = steps.recipe.leaves(loaded)
    text = Table(("key", "value", "written in"), rows) if origin else steps.recipe.as_yaml(loaded)
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
    checked = steps.recipe.validate_recipes(names or list(steps.recipe.bundled()))
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
    show(steps.recipe.json_schema(steps.recipe.as_kind(kind)).rstrip())


@app.command()
def new(
    parent: Annotated[str, typer.Option("--extends", help="The adapter recipe to take the settings from.")],
    data: Annotated[
        list[str],
        typer.Option(
            metavar="FILE",
            help="CSV, TSV, JSON, JSON Lines, Parquet; a folder; a dataset id; or SPLIT=FILE, repeated.",
        ),
    ],
    out: Annotated[Path, typer.Option(help="Gets the corpus file and the recipes.")] = BUILD / "own",
    text: Annotated[str | None, typer.Option(help="Column of the text.")] = None,
    label: Annotated[str | None, typer.Option(help="Column of the label.")] = None,
    speaker: Annotated[str | None, typer.Option(help="Column of the speaker.")] = None,
    dialogue: Annotated[str | None, typer.Option(help="Column of the dialogue.")] = None,
    split: Annotated[str | None, typer.Option(help="Column of the split.")] = None,
    mapped: Annotated[
        list[str] | None,
        typer.Option(
            "--map", metavar="LABEL=LABEL", help="Read a label as another, joy=happiness; joy= as none."
        ),
    ] = None,
    label_names: Annotated[
        str | None, typer.Option(metavar="NAME,...", help="Names of labels that are numbers, from 0.")
    ] = None,
    held_out: Annotated[
        float, typer.Option(min=0, max=0.4, help="Share of dialogues drawn for each split that is lacking.")
    ] = 0.1,
    encoding: Annotated[
        str | None, typer.Option(help="Of texts, as in cp1252. [default: UTF-8 or UTF-16]")
    ] = None,
    config: Annotated[str | None, typer.Option(help="Of a dataset with several.")] = None,
    context: Annotated[int, typer.Option(min=0, help="Past utterances that a prompt shows.")] = 1,
    init_adapter: Annotated[
        str | None, typer.Option(help="Start from this adapter: a folder, or a repository id.")
    ] = None,
    release: Annotated[
        str | None, typer.Option(metavar="OWNER", help="Write a release recipe too, under this owner.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what is found, and write nothing.")
    ] = False,
    json: Json = False,
) -> None:
    """Write recipes to build, train, score and publish your data.

    Example: dlm-release recipe new --extends llama-2-7b --data my.csv
    """
    named = {"text": text, "label": label, "speaker": speaker, "dialogue": dialogue, "split": split}
    pairs = [one.partition("=") for one in mapped or ()]
    if wrong := [one for one, separator, _ in pairs if not separator]:
        raise typer.BadParameter(f"--map: {wrong[0]} is not LABEL=LABEL")
    label_map = {one: to for one, _, to in pairs}
    if twice := [one for one, _, to in pairs if label_map[one] != to]:
        raise typer.BadParameter(f"--map: {twice[0]} is mapped to two labels")
    known = steps.recipe.DataOptions(
        columns={role: column for role, column in named.items() if column is not None},
        encoding=encoding,
        label_map=label_map,
        label_names=label_names.split(",") if label_names else (),
        held_out=held_out,
        config=config,
    )

    def confirm(made: steps.recipe.NewRecipe) -> bool:
        show_result(_as_data(made), _findings(made), json=json)
        return not dry_run

    made = steps.recipe.new_recipe(
        parent,
        data,
        out,
        context_k=context,
        init_adapter=init_adapter,
        options=known,
        release=release,
        confirm=confirm,
    )
    if dry_run:
        say("Nothing was written.")
    else:
        say("Look at the corpus file, then run:\n" + "\n".join(map(shlex.join, made.commands)))


def _as_data(made: steps.recipe.NewRecipe) -> dict[str, Any]:
    guessed = made.guessed
    return {
        "corpus": str(made.corpus),
        "dataset_recipe": str(made.dataset),
        "recipe": str(made.recipe),
        "score_recipe": str(made.score) if made.score else None,
        "release_recipe": str(made.release) if made.release else None,
        "files": list(map(str, made.files)),
        "format": guessed.entry.format.model_dump(mode="json", exclude_defaults=True),
        "columns": guessed.columns,
        "records": {split or "to draw": count for split, count in guessed.records.items()},
        "drawn": guessed.draw.model_dump(mode="json", exclude_none=True) if guessed.draw else None,
        "labels": guessed.labels.counts,
        "label_map": guessed.labels.label_map,
        "dropped_labels": guessed.labels.dropped,
        "suggested": guessed.labels.suggested,
        "repairs": guessed.repairs,
        "commands": list(map(shlex.join, made.commands)),
    }


def _findings(made: steps.recipe.NewRecipe) -> Table:
    """What was found in the data, and the files that are written."""
    guessed, labels = made.guessed, made.guessed.labels
    form = guessed.entry.format.model_dump(mode="json", exclude_defaults=True)
    rows = [("format", ", ".join(f"{key} {form[key]!r}" for key in _FORMAT_KEYS.split() if key in form))]
    rows += [(f"{split} file", name) for split, name in form.get("files", {}).items()]
    rows += [(f"{role} column", column) for role, column in guessed.columns.items()]
    if "dialogue" not in guessed.columns and form["type"] == "table":
        rows.append(("dialogue column", "none: each row is a dialogue of its own"))
    for label, count in labels.counts.items():
        told = f"{count:,}"
        natives = [one for one, to in labels.label_map.items() if to == label]
        if natives not in ([], [label]):
            told += f", written {', '.join(natives)}"
        if near := labels.suggested.get(label):
            told += f"; the nearest label of the other corpora: --map {label}={near}"
        rows.append((f"label {label}", told))
    rows += [(f"label {native}", reason) for native, reason in labels.dropped.items()]
    for split, count in guessed.records.items():
        rows.append((split or "to draw", f"{count:,} records in {guessed.dialogues[split]:,} dialogues"))
    if guessed.draw:
        drawn = ", ".join(f"{split} {count:,}" for split, count in guessed.draw.dialogues.items() if count)
        rows.append(("drawn dialogues", f"{drawn}; by label, from seed {guessed.draw.seed}"))
    repairs = ((name.partition(".")[2].replace("_", " "), count) for name, count in guessed.repairs.items())
    rows += [(name, f"{count:,} times") for name, count in repairs]
    rows += [("file", str(path)) for path in made.files]
    return Table(("what", "found"), rows)
