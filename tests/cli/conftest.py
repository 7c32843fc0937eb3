from __future__ import annotations

import shutil
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def wide_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """One row of a table is one line, but where a test sets another width."""
    monkeypatch.setenv("COLUMNS", "400")


@pytest.fixture
def sources(tmp_path: Path, synthetic_dir: Path) -> Path:
    """A copy of the synthetic corpora that a test may damage."""
    folder = tmp_path / "sources"
    shutil.copytree(synthetic_dir, folder)
    return folder
