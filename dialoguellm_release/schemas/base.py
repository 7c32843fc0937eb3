"""The base of every schema: closed, strict and frozen."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field


class Schema(BaseModel):
    """A closed, strict and frozen model: an unknown key or a value of another type is an error."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


Text = Annotated[str, Field(min_length=1)]
"""A string that is not empty."""

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
"""64 lower-case hexadecimal digits."""

Commit = Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")]
"""A git commit: 40 lower-case hexadecimal digits."""

Count = Annotated[int, Field(ge=0)]
"""A number of things."""

Positive = Annotated[int, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]

RepoId = Annotated[str, Field(pattern=r"^[\w.-]+/[\w.-]+$")]
"""A repository on the Hub: `owner/name`."""

Kind = Literal["dataset", "backbone", "adapter", "score", "merged", "export"]
"""The kinds of folder that a manifest describes."""

RecipeKind = Literal[
    "corpus", "dataset", "backbone", "adapter", "score", "release", "prompt", "claims", "video"
]
"""The kinds of recipe."""


class Recipe(Schema):
    """What every recipe begins with."""

    version: Literal[1]
    kind: RecipeKind
    description: Text
