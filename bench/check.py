"""`dataset check` and `verify` of the paper's dataset, now and at an earlier commit, in turn.

    python bench/check.py --sources DIR [--rounds 5] [--before 7798353]

Both sides build the dataset of the four corpora and publish it to a folder, each with its own code, and then
check and verify what they made. Each run is a process of its own, and the imports that a step makes count.
The time is that of the processor, so that neighbours on the machine count less.
Goal: a third of the time before.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

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
start = time.process_time()
assert check_dataset(sys.argv[2] + "/build/dataset") == []
""",
    "verify": """
from dialoguellm_release.steps.release import verify_release
start = time.process_time()
found = verify_release("dialoguellm/instructions@v1.0.0", sys.argv[2] + "/release")
assert [problem for one in found for problem in one.problems] == []
""",
}


def run(code: Path, script: str, sources: Path, folder: Path) -> float:
    """Processor seconds of a script with the package of a folder."""
    whole = f"import json, sys, time\nstart = time.process_time()\n{script}"
    whole += "\nprint(json.dumps(time.process_time() - start))\n"
    with tempfile.TemporaryDirectory() as home:
        done = subprocess.run(
            [sys.executable, "-c", whole, str(sources), str(folder)],
            cwd=code,
            env=os.environ | {"PYTHONPATH": str(code), "HF_HOME": home, "HF_HUB_OFFLINE": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        sys.exit(done.stderr)
    return float(json.loads(done.stdout.splitlines()[-1]))


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
            seconds: dict[str, list[float]] = {side: [] for side in code}
            for _ in range(arguments.rounds):
                for side, package in code.items():
                    seconds[side].append(run(package, script, sources, Path(folder, side)))
            for side, runs in seconds.items():
                median = statistics.median(runs)
                print(f"{name:13} {side:6} {median:6.2f} s  ({min(runs):.2f} to {max(runs):.2f})", flush=True)
            share = statistics.median(seconds["now"]) / statistics.median(seconds["before"])
            print(f"{name:13} now / before: {share:.2f} (goal: {GOAL})", flush=True)


if __name__ == "__main__":
    main()
