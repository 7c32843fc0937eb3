"""A prompt recipe, and what a prompt shows of a record beside its input."""

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


class Knowledge(Schema):
    """The knowledge that an adapter is trained and scored with (paper section 4.5, the ablations).

    Attributes:
        context: Whether the utterances before it are shown.
        video_descriptions: As the dataset has them; left out; or each given to another record of its
            corpus, which tells whether their content matters.
    """

    context: bool = True
    video_descriptions: Literal["as_built", "left_out", "shuffled"] = "as_built"
