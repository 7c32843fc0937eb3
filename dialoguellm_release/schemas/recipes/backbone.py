"""The backbone recipe: a language model on the Hub, or a small one built on the spot."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from dialoguellm_release.schemas.base import Commit, Schema, Text

Positive = Annotated[int, Field(gt=0)]


class HubSource(Schema):
    """A model on the Hub.

    Attributes:
        revision: Commit; None where none could be verified, which every manifest then says.
    """

    type: Literal["hub"]
    repo_id: Annotated[str, Field(pattern=r"^[\w.-]+/[\w.-]+$")]
    revision: Commit | None = None


class BuiltSource(Schema):
    """A LLaMA of random weights and its tokenizer, made from a seed without any download.

    Attributes:
        repo_id: The name under which it is published, and which adapters name as their base.
        vocab_size: At most; the tokenizer learns from the words that this project ships.
        initializer_range: Standard deviation of the weights.
    """

    type: Literal["built"]
    repo_id: Annotated[str, Field(pattern=r"^[\w.-]+/[\w.-]+$")]
    seed: int
    vocab_size: Positive
    hidden_size: Positive
    intermediate_size: Positive
    num_hidden_layers: Positive
    num_attention_heads: Positive
    initializer_range: Annotated[float, Field(gt=0)]
    max_position_embeddings: Positive


class BackboneRecipe(Schema):
    """A backbone."""

    version: Literal[1]
    kind: Literal["backbone"]
    description: Text
    license: Text
    source: Annotated[HubSource | BuiltSource, Field(discriminator="type")]
