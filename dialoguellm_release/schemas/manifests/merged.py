"""The manifest of a model with an adapter in its weights."""

from __future__ import annotations

from typing import Literal

from dialoguellm_release.schemas.base import Schema, Sha256, Text
from dialoguellm_release.schemas.manifests.base import Manifest


class MergedFigures(Schema):
    """The figures of a merge.

    Attributes:
        adapter_content_sha256: The adapter that went into the weights.
        base: The backbone that it went into.
        dtype: Of the weights.
        largest_difference: Between the logits of the merged model, read back, and of base with adapter.
        largest_logit: In size, to hold the difference against.
    """

    adapter_content_sha256: Sha256
    base: Text
    base_revision: Text | None
    dtype: Text
    largest_difference: float
    largest_logit: float


class MergedManifest(Manifest):
    """The manifest of a model with an adapter in its weights."""

    kind: Literal["merged"] = "merged"
    figures: MergedFigures
