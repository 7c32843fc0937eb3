"""The declared ranges of the dependencies are true: a training runs with the lowest and the newest of them.

Part of `make test-slow`; needs a package index, and downloads up to a gigabyte.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TORCH = "torch==2.13.0"
"""Pinned in both: any other request brings gigabytes of CUDA."""
UV = (sys.executable, "-m", "uv")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


def run(*command: str | Path, cwd: Path = ROOT) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="module")
def pinned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A requirement on torch alone, which was resolved: the package index can be reached."""
    torch = tmp_path_factory.mktemp("index") / "torch.txt"
    torch.write_text(TORCH, encoding="ascii")
    asked = subprocess.run(
        [*UV, "pip", "compile", "-q", "--no-deps", torch], capture_output=True, text=True, check=False
    )
    if asked.returncode:
        pytest.skip(f"the package index cannot be reached: {asked.stderr[-500:]}")
    return torch


@pytest.mark.parametrize("resolution", ["lowest-direct", "highest"])
def test_the_demo_runs_with_the_declared_versions(resolution: str, pinned: Path, tmp_path: Path) -> None:
    pins, python = tmp_path / "pins.txt", tmp_path / "venv" / "bin" / "python"
    compiled = ["pip", "compile", "-q", "pyproject.toml", "--extra", "all", "--resolution", resolution]
    run(*UV, *compiled, "--override", pinned, "-o", pins)
    run(*UV, "venv", "-q", "--python", sys.executable, tmp_path / "venv")
    run(*UV, "pip", "install", "-q", "--python", python, "-r", pins)
    run(*UV, "pip", "install", "-q", "--python", python, "--no-deps", "-e", ROOT)
    run(python, "-m", "dialoguellm_release.cli.main", "demo", "--out", tmp_path / "demo", cwd=tmp_path)
    assert (tmp_path / "demo" / "release").is_dir()
