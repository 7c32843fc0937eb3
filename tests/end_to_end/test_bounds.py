"""The declared ranges of the dependencies are true: a training runs with the lowest and the newest of them.

Needs uv and a package index, and downloads up to a gigabyte; run by `make test-slow` where DLM_BOUNDS is set.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TORCH = "torch==2.13.0"
"""Pinned in both: any other request brings gigabytes of CUDA."""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.skipif("DLM_BOUNDS" not in os.environ, reason="DLM_BOUNDS is not set: needs a package index"),
]


def run(*command: str | Path, cwd: Path = ROOT) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.mark.parametrize("resolution", ["lowest-direct", "highest"])
def test_the_demo_runs_with_the_declared_versions(resolution: str, tmp_path: Path) -> None:
    uv = [sys.executable, "-m", "uv"]
    pins, python = tmp_path / "pins.txt", tmp_path / "venv" / "bin" / "python"
    (tmp_path / "torch.txt").write_text(TORCH, encoding="ascii")
    compiled = ["pip", "compile", "-q", "pyproject.toml", "--extra", "all", "--resolution", resolution]
    run(*uv, *compiled, "--override", tmp_path / "torch.txt", "-o", pins)
    run(*uv, "venv", "-q", "--python", sys.executable, tmp_path / "venv")
    run(*uv, "pip", "install", "-q", "--python", python, "-r", pins)
    run(*uv, "pip", "install", "-q", "--python", python, "--no-deps", "-e", ROOT)
    run(python, "-m", "dialoguellm_release.cli.main", "demo", "--out", tmp_path / "demo", cwd=tmp_path)
    assert (tmp_path / "demo" / "release").is_dir()
