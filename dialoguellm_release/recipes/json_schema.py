"""The JSON Schema of a kind of recipe, for editors."""

from __future__ import annotations

import json

from dialoguellm_release.schemas.recipes.kinds import RECIPE_MODELS, RecipeKind


def json_schema(kind: RecipeKind) -> str:
    """The JSON Schema of a kind of recipe, as text.

    Why: it allows `extends` and requires nothing, so that an editor does not mark a file that only
    changes what it extends.
    """
    schema = RECIPE_MODELS[kind].model_json_schema()
    schema["properties"] = {
        "extends": {"type": "string", "description": "Relative path of the recipe that this one extends."},
        **schema["properties"],
    }
    schema.pop("required", None)
    for definition in schema.get("$defs", {}).values():
        definition.pop("required", None)
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
