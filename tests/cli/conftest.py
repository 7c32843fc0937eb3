from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from dialoguellm_release.cli.main import main


@dataclass(frozen=True)
class Ended:
    """How a run of the command line ended."""

    code: int
    out: str
    err: str


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Ended]:
    """Runs `dlm-release` with arguments in this process, through its one boundary."""

    def call(*arguments: str | Path) -> Ended:
        monkeypatch.setattr(sys, "argv", ["dlm-release", *map(str, arguments)])
        monkeypatch.delenv("DLM_DEBUG", raising=False)
        code = 0
        try:
            main()
        except SystemExit as exit_:
            code = int(exit_.code or 0)
        out, err = capsys.readouterr()
        return Ended(code, out, err)

    return call


@pytest.fixture
def sources(tmp_path: Path, synthetic_dir: Path) -> Path:
    """A copy of the synthetic corpora that a test may damage."""
    folder = tmp_path / "sources"
    shutil.copytree(synthetic_dir, folder)
    return folder
