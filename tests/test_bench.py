"""The benchmark that needs a GPU starts without one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

GPU = Path(__file__).parents[1] / "bench" / "gpu.py"


@pytest.mark.slow
def test_the_gpu_benchmark_runs_with_a_tiny_shape_on_a_cpu(tmp_path: Path) -> None:
    parts = ["device", "ours", "ours-large", "trl", "authors"]
    command = [sys.executable, str(GPU), "--tiny", "--steps", "2", "--parts", ",".join(parts)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    subprocess.run([*command, "--out", str(tmp_path)], env=environment, check=True)
    lines = (tmp_path / "results.jsonl").read_text(encoding="utf-8").splitlines()
    results = [json.loads(line) for line in lines]
    assert [one["part"] for one in results] == parts
    assert not [one for one in results if "error" in one]
    assert all(one["records_per_s"] > 0 for one in results[1:])
    ours, _, trl, authors = results[1:]
    assert ours["computed_tokens_per_s"] < ours["record_tokens_per_s"]
    assert (trl["micro_batch"], authors["micro_batch"]) == (8, 4)
