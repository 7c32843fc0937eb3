"""Seconds and peak memory of `dataset audit`, on the real corpora and on synthetic ones that grow.

    python bench/audit.py [--sources DIR] [--scales 1 10 100]

Each dataset is built first; the audit alone is measured, in a process of its own. MEISD is left out of the
synthetic ones: their few sentences come back so often that hardly a dialogue may be drawn for its test split.
Goals on the real corpora: under 60 s and 1500 MB; on the synthetic ones time that grows with the records.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from dialoguellm_release.steps import audit_dataset, build_dataset

MAKE = Path(__file__).parents[1] / "tests" / "corpora" / "make.py"


def run_one(dataset: Path) -> None:
    """Audits a dataset in this process and prints what it took."""
    start = time.perf_counter()
    audit_dataset(dataset)
    seconds = time.perf_counter() - start
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{seconds:7.2f} s   peak {peak_mb:6.0f} MB")


def measure(name: str, recipe: str, sources: Path, out: Path, skip: str) -> None:
    records = build_dataset(recipe, sources, out, skip=[skip]).manifest.figures.records
    command = [sys.executable, __file__, "--one", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    print(f"{name:14} {sum(records.values()):9,} records {done.stdout.rstrip()}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sources", type=Path, default=os.environ.get("DLM_CORPORA"))
    parser.add_argument("--scales", type=int, nargs="*", default=[1, 10, 100])
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        run_one(arguments.one)
        return

    with tempfile.TemporaryDirectory() as folder:
        if arguments.sources:
            measure("real", "paper", Path(arguments.sources), Path(folder, "real"), "iemocap")
        for scale in arguments.scales:
            sources = Path(folder, f"sources-{scale}")
            subprocess.run([sys.executable, str(MAKE), str(sources), "--scale", str(scale)], check=True)
            measure(f"synthetic x{scale}", "demo", sources, Path(folder, f"dataset-{scale}"), "meisd")


if __name__ == "__main__":
    main()
