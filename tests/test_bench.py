"""The benchmark that waits for a GPU starts without one."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

TRAINING = Path(__file__).parents[1] / "bench" / "training.py"


def run(*options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(TRAINING), "--gpu", *options]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_the_gpu_benchmark_runs_with_a_tiny_shape_on_a_cpu() -> None:
    done = run("--backbone", "tiny", "--steps", "2")
    assert done.returncode == 0, done.stderr
    assert "32 records, CPU" in done.stdout
    assert re.search(r"5 epochs of 125,000 records: \d+\.\d\d hours", done.stdout)
    rate = re.search(r"([\d,]+) tokens/s, ([\d,]+) of them computed", done.stdout)
    assert rate
    told, computed = (int(figure.replace(",", "")) for figure in rate.groups())
    assert told > computed > 0


@pytest.mark.slow
def test_it_says_what_it_needs_where_there_is_no_gpu() -> None:
    done = run()
    assert done.returncode == 1
    assert "there is no GPU here" in done.stderr
    assert done.stdout == ""
