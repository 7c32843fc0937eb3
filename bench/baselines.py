"""The baselines on every corpus, on all records and on those that share no text with a training split.

    python bench/baselines.py [--dataset DIR | --sources DIR] [--resamples 10000]

A figure is in percent with its 95 % interval, by the bootstrap over dialogues. Without `--dataset`, one is
built from the corpora below `--sources` (or `DLM_CORPORA`); IEMOCAP is left out where it is not there.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path
from typing import get_args

from dialoguellm_release.folders import read_manifest
from dialoguellm_release.schemas.dataset_manifest import DatasetManifest
from dialoguellm_release.schemas.scores import BaselineName, MetricName, Part
from dialoguellm_release.steps.dataset import build_dataset
from dialoguellm_release.steps.score import score_baseline


def cell(part: Part, metric: MetricName) -> str:
    low, high = part.intervals[metric]
    return f"{100 * part.metrics[metric]:.2f} ({100 * low:.2f} to {100 * high:.2f})"


def dataset_of(arguments: argparse.Namespace, folder: Path) -> Path:
    if arguments.dataset:
        return Path(arguments.dataset)
    if arguments.sources is None:
        raise SystemExit("name --dataset or --sources")
    sources = Path(arguments.sources)
    skip = [] if (sources / "iemocap").is_dir() else ["iemocap"]
    return build_dataset("paper", sources, folder / "dataset", skip=skip).folder


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dataset", type=Path)
    parser.add_argument("--sources", type=Path, default=os.environ.get("DLM_CORPORA"))
    parser.add_argument("--resamples", type=int, default=10_000)
    arguments = parser.parse_args()

    with tempfile.TemporaryDirectory() as name:
        dataset = dataset_of(arguments, Path(name))
        print("| corpus | baseline | part | records | accuracy | headline | |\n|---|---|---|---|---|---|---|")
        for corpus in read_manifest(dataset, DatasetManifest).figures.corpora:
            for baseline in get_args(BaselineName):
                out = Path(name, "scores", f"{corpus}-{baseline}")
                few = [f"intervals.resamples={arguments.resamples}"]
                figures = score_baseline(corpus, baseline, dataset, out, overrides=few).manifest.figures
                parts = {"all": figures, **({"clean": figures.clean} if figures.clean else {})}
                for part, of in parts.items():
                    shown = f"{of.records:,} | {cell(of, 'accuracy')} | {cell(of, figures.headline)}"
                    print(f"| {corpus} | {baseline} | {part} | {shown} | {figures.headline} |", flush=True)


if __name__ == "__main__":
    main()
