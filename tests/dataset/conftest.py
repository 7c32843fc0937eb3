from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from dialoguellm_release.schemas.manifest import DatasetManifest
from dialoguellm_release.steps import Made, build_dataset


@pytest.fixture
def sources(tmp_path: Path, synthetic_dir: Path) -> Path:
    """A copy of the synthetic corpora that a test may damage."""
    folder = tmp_path / "sources"
    shutil.copytree(synthetic_dir, folder)
    return folder


@pytest.fixture(scope="session")
def demo_dataset(tmp_path_factory: pytest.TempPathFactory) -> Made[DatasetManifest]:
    """The dataset of the synthetic corpora; nobody changes it."""
    return build_dataset("demo", out=tmp_path_factory.mktemp("built") / "dataset")


@pytest.fixture(scope="session")
def paper_dataset(corpora_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Made[DatasetManifest]:
    """The dataset of the four real corpora; nobody changes it."""
    return build_dataset(
        "paper", corpora_dir, tmp_path_factory.mktemp("built") / "paper_dataset", skip=["iemocap"]
    )
