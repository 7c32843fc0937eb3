"""Seconds and peak memory of `dataset audit` on the real corpora.

    python bench/audit.py [--sources DIR]

The dataset is built first; the audit alone is measured, in a process of its own. Goals: under 60 s and
1500 MB. How it grows with the records, `bench/scale.py` measures.
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

from dialoguellm_release.steps.dataset import audit_dataset, build_dataset


def run_one(dataset: Path) -> None:
    """Audits a dataset in this process and prints what it took."""
    start = time.perf_counter()
    audit_dataset(dataset)
    seconds = time.perf_counter() - start
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{seconds:7.2f} s   peak {peak_mb:6.0f} MB")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sources", type=Path, default=os.environ.get("DLM_CORPORA"))
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        run_one(arguments.one)
        return
    if arguments.sources is None:
        parser.error("name the folder of the real corpora with --sources or DLM_CORPORA")

    with tempfile.TemporaryDirectory() as folder:
        dataset = Path(folder, "dataset")
        made = build_dataset("paper", Path(arguments.sources), dataset, skip=["iemocap"])
        command = [sys.executable, __file__, "--one", str(dataset)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        print(f"{sum(made.manifest.figures.records.values()):,} records {done.stdout.rstrip()}")


if __name__ == "__main__":
    main()
