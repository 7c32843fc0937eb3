"""`dlm-release recipe`: list, show and validate recipes, and export their JSON Schema."""

from __future__ import annotations

from typing import Annotated

import typer

from dialoguellm_release.cli.options import Json, Settings
from dialoguellm_release.cli.output import say, show, show_json, table

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="List, show and validate recipes.")


@app.command(name="list")
def list_recipes(json: Json = False) -> None:
    """List the bundled recipes.

    Example: dlm-release recipe list
    """
    from dialoguellm_release.recipes.catalogue import load_any
    from dialoguellm_release.recipes.names import bundled

    found = {name: load_any(name).recipe for name in bundled()}
    if json:
        show_json(
            [{"name": name, "kind": one.kind, "description": one.description} for name, one in found.items()]
        )
        return
    show(table([("recipe", "description"), *((name, one.description) for name, one in found.items())]))


@app.command(name="show")
def show_recipe(
    name: Annotated[str, typer.Argument(help="A bundled recipe, as in datasets/paper, or a path.")],
    origin: Annotated[bool, typer.Option("--origin", help="Say where each value was written.")] = False,
    settings: Settings = None,
    json: Json = False,
) -> None:
    """Show a recipe as it is resolved: extended, with defaults, validated.

    Example: dlm-release recipe show adapters/tiny --origin
    """
    from dialoguellm_release.recipes.catalogue import as_yaml, leaves, load_any

    loaded = load_any(name, settings or ())
    if json:
        show_json({"name": loaded.name, "sha256": loaded.sha256, "recipe": loaded.stamp.resolved})
    elif origin:
        show(table([("key", "value", "written in"), *leaves(loaded)]))
    else:
        show(as_yaml(loaded))


@app.command()
def validate(
    names: Annotated[
        list[str] | None, typer.Argument(help="Recipes by name or path; none validates every bundled one.")
    ] = None,
    json: Json = False,
) -> None:
    """Validate recipes: keys, types, ranges, and that the recipes they name exist.

    Needs no network and no model.

    Example: dlm-release recipe validate my/recipe.yaml
    """
    from dialoguellm_release.recipes.catalogue import validate_recipes
    from dialoguellm_release.recipes.names import bundled

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
    from dialoguellm_release.recipes.catalogue import json_schema
    from dialoguellm_release.recipes.names import as_kind

    show(json_schema(as_kind(kind)).rstrip())
