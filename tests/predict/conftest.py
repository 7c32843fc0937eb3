from __future__ import annotations

from pathlib import Path

import pytest

from dialoguellm_release import EmotionPredictor


@pytest.fixture(scope="session")
def predictor(tiny_adapter: Path, tiny_backbone: Path) -> EmotionPredictor:
    """The tiny adapter on its backbone."""
    return EmotionPredictor.from_pretrained(tiny_adapter, backbone=tiny_backbone)
