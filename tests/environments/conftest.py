from __future__ import annotations

import os
import subprocess
import sys
import venv
from dataclasses import dataclass
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]
OUTSIDE = dict(os.environ)
"""The environment from before any test changed it: pip finds its settings there."""


@dataclass(frozen=True)
class Environment:
    """A virtual environment of its own, away from the checkout."""

    folder: Path

    def install(self, *requirements: str | Path) -> None:
        pip = [self.program("python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, *map(str, requirements)], check=True, env=OUTSIDE, cwd=self.folder)

    def run(self, program: str, *arguments: str | Path) -> str:
        done = subprocess.run(
            [self.program(program), *map(str, arguments)],
            capture_output=True,
            text=True,
            cwd=self.folder,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def program(self, name: str) -> str:
        return str(self.folder / "bin" / name)


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    venv.create(tmp_path / "environment", with_pip=True)
    return Environment(tmp_path / "environment")


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", tmp_path, CHECKOUT],
        check=True,
        capture_output=True,
    )
    (built,) = tmp_path.glob("*.whl")
    return built
