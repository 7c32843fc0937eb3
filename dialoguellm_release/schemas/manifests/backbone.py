"""The manifest of a backbone of our own making."""

from __future__ import annotations

from typing import Literal

from dialoguellm_release.schemas.base import Count
from dialoguellm_release.schemas.manifests.base import Manifest


class BackboneManifest(Manifest):
    """The manifest of a backbone of our own making."""

    kind: Literal["backbone"] = "backbone"
    parameters: Count
