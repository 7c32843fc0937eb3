"""The manifest of a score folder."""

from __future__ import annotations

from typing import Literal

from dialoguellm_release.schemas.manifests.base import Manifest
from dialoguellm_release.schemas.scores import ScoreFigures


class ScoreManifest(Manifest):
    """The manifest of a score folder."""

    kind: Literal["score"] = "score"
    figures: ScoreFigures
