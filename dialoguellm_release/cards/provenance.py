"""The recipe that a folder was made by, back from its manifest."""

from __future__ import annotations

import json
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from dialoguellm_release.errors import CardError, Problem
from dialoguellm_release.schemas.manifests import Manifest

Model = TypeVar("Model", bound=BaseModel)


def recipe_of(manifest: Manifest, model: type[Model]) -> Model:
    """The recipe in a manifest.

    Raises:
        CardError: It is not a recipe of this version.
    """
    try:
        return model.model_validate_json(json.dumps(manifest.recipe.resolved))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise CardError(
            Problem(
                f"manifest.json of the {manifest.kind} {manifest.recipe.name}",
                f"recipe.resolved.{place}: {first['msg']}",
                fix=f"make the {manifest.kind} again with this version",
            )
        ) from error
