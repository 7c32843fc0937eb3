"""The prompt recipe: the published interface between data, training and scoring."""

from __future__ import annotations

from typing import Literal

from dialoguellm_release.schemas.base import Schema, Text


class PromptRecipe(Schema):
    """How a record becomes a prompt.

    Attributes:
        instruction: Jinja template of the instruction; sees `labels` (list) and `knowledge` (list of the
            knowledge that the record really has: `video description`, `context`).
        template: Jinja template of the prompt; sees the columns of the record. Its result may not end
            in white space.
    """

    version: Literal[1]
    kind: Literal["prompt"]
    description: Text
    instruction: Text
    template: Text
