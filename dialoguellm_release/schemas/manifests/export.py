"""The manifest of a folder with training text for another tool."""

from __future__ import annotations

from typing import Literal

from dialoguellm_release.schemas.base import Count, Schema, Sha256, Text
from dialoguellm_release.schemas.labels import Split
from dialoguellm_release.schemas.manifests.base import Manifest


class ExportFigures(Schema):
    """The figures of training text for another tool."""

    tool: Text
    dataset_content_sha256: Sha256
    prompt_sha256: Sha256
    records: dict[Split, Count]


class ExportManifest(Manifest):
    """The manifest of a folder with training text for another tool."""

    kind: Literal["export"] = "export"
    figures: ExportFigures
