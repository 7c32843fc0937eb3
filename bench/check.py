"""`dataset check` and `verify` of the paper's dataset, now and at an earlier commit, in turn.

    python bench/check.py --sources DIR [--rounds 5] [--before 7798353]

Both sides build the dataset of the four corpora and publish it to a folder, each with its own code, and then
check and verify what they made. Each run is a process of its own, and the imports that a step makes count.
Seconds are those of the clock, for which two cores have to be quiet, and of the processor: all threads and
processes together.
Goal: a third of the time before, by the clock.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
GOAL = "at most 0.33"
BUILD = """
from dialoguellm_release.steps.dataset import build_dataset
from dialoguellm_release.steps.release import publish
build_dataset("paper", sys.argv[1], sys.argv[2] + "/build/dataset", skip=["iemocap"])
publish("v1", sys.argv[2] + "/build", sys.argv[2] + "/release", only=["dataset"])
"""
RUNS = {
    "dataset check": """
from dialoguellm_release.steps.dataset import check_dataset
assert check_dataset(sys.argv[2] + "/build/dataset") == []
""",
    "verify": """
from dialoguellm_release.steps.release import verify_release
found = verify_release("dialoguellm/instructions@v1.0.0", sys.argv[2] + "/release")
assert [problem for one in found for problem in one.problems] == []
""",
}


MEASURED = """
import json, os, sys, time
start, before = time.perf_counter(), sum(os.times()[:4])
{script}
print(json.dumps((time.perf_counter() - start, sum(os.times()[:4]) - before)))
"""


class Seconds(NamedTuple):
    """How long a run took."""

    clock: float
    processor: float


def run(code: Path, script: str, sources: Path, folder: Path) -> Seconds:
    """How long a script takes with the package of a folder, once Python has started."""
    with tempfile.TemporaryDirectory() as home:
        done = subprocess.run(
            [sys.executable, "-c", MEASURED.format(script=script), str(sources), str(folder)],
            cwd=code,
            env=os.environ | {"PYTHONPATH": str(code), "HF_HOME": home, "HF_HUB_OFFLINE": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        sys.exit(done.stderr)
    return Seconds(*json.loads(done.stdout.splitlines()[-1]))


def shown(runs: Sequence[float], digits: str) -> str:
    """Median and range."""
    return f"{statistics.median(runs):{digits}} ({min(runs):{digits}} to {max(runs):{digits}})"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sources", type=Path, default=os.environ.get("DLM_CORPORA"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--before", default="7798353", help="the commit to compare with")
    arguments = parser.parse_args()
    if arguments.sources is None:
        parser.error("name the folder of the real corpora with --sources or DLM_CORPORA")

    sources = Path(arguments.sources).resolve()
    with tempfile.TemporaryDirectory() as folder:
        code = {"before": Path(folder, "code"), "now": ROOT}
        code["before"].mkdir()
        archive = subprocess.run(
            ["git", "archive", arguments.before], cwd=ROOT, capture_output=True, check=True
        )
        subprocess.run(["tar", "x"], cwd=code["before"], input=archive.stdout, check=True)
        for side, package in code.items():
            run(package, BUILD, sources, Path(folder, side))
        for name, script in RUNS.items():
            runs: dict[str, list[Seconds]] = {side: [] for side in code}
            for _ in range(arguments.rounds):
                for side, package in code.items():
                    runs[side].append(run(package, script, sources, Path(folder, side)))
            sides = (zip(*runs[side], strict=True) for side in ("before", "now"))
            for unit, before, now in zip(Seconds._fields, *sides, strict=True):
                ratios = [one / other for one, other in zip(now, before, strict=True)]
                print(f"{name}, {unit}: before {shown(before, '.2f')} s, now {shown(now, '.2f')} s")
                goal = f"; goal: {GOAL}" if unit == "clock" else ""
                print(f"{name}, {unit}: now / before {shown(ratios, '.2f')}{goal}", flush=True)


if __name__ == "__main__":
    main()
