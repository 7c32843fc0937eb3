"""The build's records stage against the floor and against the usual way, side by side in one run.

    python bench/records.py --sources DIR [--rounds 5]

ours   read the native files once, make the leakage ledger and the audit, validate every record by the
       schema, hash it, render its prompt, write records and `sft` as Parquet, part by part; four corpora,
       all splits; without card and figures.
floor  read the bytes of the same files, and write the same finished tables with `ParquetWriter`.
usual  the same records by `Dataset.from_generator`, the prompt by `map`, then `to_parquet`; not validated,
       not hashed, without a ledger, one file for all splits.

Each is timed in a process of its own, imports and the loading of its tables excluded; the rounds alternate.
With --cpu the time of the processor is compared, which neighbours on the machine disturb less.
Goals: ours at most 8 times the floor, at least 6 times faster than the usual way, peak memory under 500 MB.
What was measured is in bench/RESULTS.md.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dialoguellm_release.schemas.labels import CorpusName

SKIP: tuple[CorpusName, ...] = ("iemocap",)
FIGURES = "figures.json"
GOALS = {"ours / floor": "at most 8", "usual / ours": "at least 6", "peak memory of ours, MB": "under 500"}
CLOCK = time.process_time if "--cpu" in sys.argv else time.perf_counter


def ours(sources: Path, out: Path, _built: Path) -> float:
    import pandas
    import pyarrow.parquet

    from dialoguellm_release.corpora.registry import CorpusFolders
    from dialoguellm_release.dataset.build import Build, write_dataset
    from dialoguellm_release.recipes.catalogue import load_claims, load_recipe
    from dialoguellm_release.schemas.recipes.dataset import DatasetRecipe

    # pyarrow imports pandas when it makes its first array; like every import, this is not timed.
    assert pandas is not None
    assert pyarrow.parquet is not None
    start = CLOCK()
    loaded = load_recipe("paper", "dataset", DatasetRecipe)
    build = Build(loaded, CorpusFolders(sources), load_claims(loaded.recipe), SKIP)
    figures = write_dataset(build, out, lambda _: None)
    seconds = CLOCK() - start
    (out / FIGURES).write_text(figures.model_dump_json(), encoding="utf-8")
    return seconds


def floor(sources: Path, out: Path, built: Path) -> float:
    import pyarrow.parquet as pq

    from dialoguellm_release.schemas.dataset_manifest import DatasetFigures

    figures = DatasetFigures.model_validate_json((built / FIGURES).read_bytes())
    inputs = [sources / file.path for corpus in figures.corpora.values() for file in corpus.files]
    tables = {path.relative_to(built): pq.read_table(path) for path in sorted(built.rglob("*.parquet"))}
    start = CLOCK()
    for path in inputs:
        path.read_bytes()
    for name, table in tables.items():
        target = out / name
        target.parent.mkdir(parents=True, exist_ok=True)
        with pq.ParquetWriter(target, table.schema, compression="zstd") as writer:
            writer.write_table(table)
    return CLOCK() - start


def usual(sources: Path, out: Path, built: Path) -> float:
    import pyarrow.parquet as pq
    from datasets import Dataset, Features, disable_progress_bars

    from dialoguellm_release.prompts import load_prompt
    from dialoguellm_release.record_columns import record_schema

    disable_progress_bars()
    features = Features.from_arrow_schema(record_schema())
    prompt = load_prompt("dialogue-v1")
    meisd = pq.read_table(built / "data" / "meisd", columns=["dialogue_id", "split"]).to_pylist()
    drawn = {row["dialogue_id"]: row["split"] for row in meisd}

    def with_prompt(row: dict[str, Any]) -> dict[str, str]:
        rendered = prompt.render(
            row["instruction"], row["video_description"], row["context"], row["input"], row["speaker"]
        )
        return {"prompt": rendered, "completion": f" {row['output']}"}

    start = CLOCK()
    records = Dataset.from_generator(
        plain_rows, features=features, gen_kwargs={"sources": sources, "drawn": drawn}, cache_dir=str(out)
    )
    rendered = records.map(with_prompt)
    records.to_parquet(out / "data.parquet")
    rendered.select_columns(["id", "prompt", "completion"]).to_parquet(out / "sft.parquet")
    return CLOCK() - start


def plain_rows(sources: Path, drawn: dict[str, str]) -> Iterator[dict[str, Any]]:
    from dialoguellm_release.corpora.cells import Notes
    from dialoguellm_release.corpora.readers import read_corpus
    from dialoguellm_release.corpora.registry import corpus_entry
    from dialoguellm_release.prompts import load_prompt
    from dialoguellm_release.recipes.catalogue import load_recipe
    from dialoguellm_release.schemas.recipes.dataset import DatasetRecipe

    prompt = load_prompt("dialogue-v1")
    recipe = load_recipe("paper", "dataset", DatasetRecipe).recipe
    for name, corpus in recipe.corpora.items():
        if name in SKIP:
            continue
        entry = corpus_entry(name)
        for dialogue in read_corpus(entry, sources / name, corpus, Notes()):
            split = dialogue.split or drawn.get(dialogue.id)
            if split is None:
                continue
            context: list[str] = []
            for utterance in dialogue.utterances:
                yield {
                    "id": f"{name}/{split}/{dialogue.id}/{utterance.index}",
                    "instruction": prompt.instruction(
                        entry.label_space, has_video=False, has_context=bool(context)
                    ),
                    "video_description": None,
                    "context": context,
                    "input": utterance.text,
                    "output": utterance.label,
                    "label": utterance.label,
                    "source_label": utterance.source_label,
                    "other_labels": list(utterance.other_labels),
                    "corpus": name,
                    "split": split,
                    "dialogue_id": dialogue.id,
                    "utterance_index": utterance.index,
                    "speaker": utterance.speaker,
                    "start_s": utterance.start_s,
                    "end_s": utterance.end_s,
                    "license": entry.text_license.id,
                    "leaks": None,
                }
                text = utterance.text
                context = [f"{utterance.speaker}: {text}" if utterance.speaker else text]


WAYS = {"ours": ours, "floor": floor, "usual": usual}


def run_one(way: str, sources: Path, built: Path) -> None:
    """Runs one way in this process and prints seconds and peak memory as JSON."""
    with tempfile.TemporaryDirectory() as folder:
        out = built if way == "ours" and not any(built.iterdir()) else Path(folder)
        seconds = WAYS[way](sources, out, built)
        peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps({"seconds": seconds, "peak_mb": peak_mb}))


def measure(way: str, sources: Path, built: Path) -> dict[str, float]:
    clock = ["--cpu"] if CLOCK is time.process_time else []
    with tempfile.TemporaryDirectory() as home:
        done = subprocess.run(
            [
                sys.executable,
                __file__,
                "--sources",
                str(sources),
                "--one",
                way,
                "--built",
                str(built),
                *clock,
            ],
            capture_output=True,
            text=True,
            check=False,
            env=os.environ | {"HF_HOME": home, "HF_HUB_OFFLINE": "1"},
        )
    if done.returncode:
        sys.exit(done.stderr)
    measured: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return measured


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sources", type=Path, default=os.environ.get("DLM_CORPORA"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cpu", action="store_true", help="compare the time of the processor")
    parser.add_argument("--one", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--built", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.sources is None:
        parser.error("name the folder of the real corpora with --sources or DLM_CORPORA")
    if arguments.one:
        run_one(arguments.one, arguments.sources, arguments.built)
        return

    measured: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory() as built:
        for _ in range(arguments.rounds):
            for way in WAYS:
                measured[way].append(measure(way, arguments.sources, Path(built)))
    seconds = {way: [one["seconds"] for one in runs] for way, runs in measured.items()}
    peaks = {way: [one["peak_mb"] for one in runs] for way, runs in measured.items()}
    for way in WAYS:
        spread = f"({min(seconds[way]):.2f} to {max(seconds[way]):.2f})   peak {max(peaks[way]):5.0f} MB"
        print(f"{way:6} median {statistics.median(seconds[way]):6.2f} s {spread}")
    figures = (
        [one / other for one, other in zip(seconds["ours"], seconds["floor"], strict=True)],
        [one / other for one, other in zip(seconds["usual"], seconds["ours"], strict=True)],
        peaks["ours"],
    )
    for (name, goal), values in zip(GOALS.items(), figures, strict=True):
        spread = f"({min(values):.1f} to {max(values):.1f})"
        print(f"{name}: median {statistics.median(values):.1f} {spread} (goal: {goal})")


if __name__ == "__main__":
    main()
