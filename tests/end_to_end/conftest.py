"""One run of `dlm-release demo`, which the tests here look at from all sides."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def demo() -> Callable[..., str]:
    """Runs the demo into a folder; what it shows at its end."""

    def run(out: Path, *options: str | Path) -> str:
        command = [sys.executable, "-m", "dialoguellm_release.cli.main", "demo", "--out", out, *options]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.fixture(scope="session")
def made(demo_run: Path) -> tuple[Path, str]:
    """The folder of one demo, and the screen that it ended with."""
    return demo_run / "made", (demo_run / "screen.txt").read_text(encoding="utf-8")
