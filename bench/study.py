"""The study: a small pretrained LLaMA on four corpora, tuned and untuned, by the commands that users have.

    dlm-release dataset build paper --sources DIR --skip iemocap
    python bench/study.py --backbone BACKBONE [--dataset build/dataset] [--work build/study] [--jobs 1]
    python bench/study.py --table                       # the results so far, as Markdown
    python bench/study.py --compare meld-no-context,meld-k5   # on the test split, each the mean of its seeds

BACKBONE is a backbone recipe: `smollm2-135m`, or a file that names a folder of weights. Every run is a
sequence of `dlm-release` commands, listed in `bench/study.yaml`, in a process of its own. A step whose output
is current does nothing, so the same command continues where it stopped; `--minutes` starts no run later than
that. Each finished command appends a line to `results.jsonl` in the work folder.

Runs with more context read datasets of their own, beside the main one (`--set context_k=5`, as `k5`):

    dlm-release dataset build paper --sources DIR --skip iemocap --skip dailydialog --skip meisd \\
        --set context_k=5 --out build/k5

Everything is chosen on the validation splits; the test splits are scored once for each run. Figures of the
last complete study, with machine and commit: docs/results.md.
"""

from __future__ import annotations

import argparse
import io
import json
import statistics
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

PLAN = Path(__file__).with_name("study.yaml")
SPLITS = ("validation", "test")


@dataclass(frozen=True)
class Run:
    """One system: how it is made, and the corpora that it is scored on.

    Attributes:
        name: Of the system, without its seed.
        kind: `adapter`, `backbone` or `baseline`.
        settings: `KEY=VALUE` for the training; for a backbone or baseline, for the score.
        corpora: Score recipes.
        seed: Of an adapter; None for what has none.
        dataset: Folder below the one of the datasets; None is the main one.
        init: Folder of the run whose adapter the training starts from; None starts with a new one.
    """

    name: str
    kind: str
    settings: tuple[str, ...]
    corpora: tuple[str, ...]
    seed: int | None = None
    dataset: str | None = None
    init: str | None = None

    @property
    def folder(self) -> str:
        return self.name if self.seed is None else f"{self.name}-seed{self.seed}"


def runs_of(plan: Path) -> Iterator[Run]:
    """The runs of a plan in order, one for each seed."""
    for one in yaml.safe_load(plan.read_text(encoding="utf-8")):
        for seed in one.get("seeds", [None]):
            settings, corpora = tuple(one.get("settings", ())), tuple(one["corpora"])
            dataset, init = one.get("dataset"), one.get("init")
            yield Run(one["name"], one["kind"], settings, corpora, seed, dataset, init)


@dataclass(frozen=True)
class Study:
    """Where everything is.

    Attributes:
        settings: `KEY=VALUE` for every score.
    """

    backbone: str
    dataset: Path
    work: Path
    settings: tuple[str, ...]

    def carry_out(self, run: Run) -> None:
        """Makes a run and scores it on both held-out splits of its corpora, in this process."""
        dataset = self.dataset if run.dataset is None else self.dataset.parent / run.dataset
        adapter = self.work / "adapters" / run.folder
        if run.kind == "adapter":
            train = ["adapter", "train", str(self.work / "adapter.yaml"), "--dataset", str(dataset)]
            train += ["--out", str(adapter), "--seed", str(run.seed), *_set(run.settings)]
            if run.init:
                train += ["--set", f"init_adapter.path={self.work.absolute() / 'adapters' / run.init}"]
            if not self._done(run, "train", train):
                return
        for corpus in run.corpora:
            for split in SPLITS:
                out = self.work / "scores" / f"{run.folder}-{corpus}-{split}"
                score = ["score", "baseline" if run.kind == "baseline" else "run", corpus]
                score += [run.name] if run.kind == "baseline" else _set(self.settings)
                score += ["--adapter", str(adapter)] if run.kind == "adapter" else []
                if run.kind == "backbone":
                    score += ["--backbone", self.backbone, *_set(run.settings)]
                score += ["--dataset", str(dataset), "--set", f"split={split}", "--out", str(out)]
                self._done(run, f"{corpus}/{split}", score)

    def write_adapter_recipe(self) -> None:
        """Writes the recipe of the study on its backbone."""
        text = PLAN.with_name("study-adapter.yaml").read_text(encoding="utf-8")
        (self.work / "adapter.yaml").write_text(text.replace("BACKBONE", self.backbone), encoding="utf-8")

    def _done(self, run: Run, what: str, command: list[str]) -> bool:
        """Whether a command succeeded; appends what it printed to the results."""
        from dialoguellm_release.cli.main import main

        started, output, errors = time.perf_counter(), io.StringIO(), io.StringIO()
        sys.argv = ["dlm-release", *command, "--json"]
        failure = None
        with redirect_stdout(output), redirect_stderr(errors):
            try:
                main()
            except SystemExit as end:
                failure = errors.getvalue() if end.code else None
            except Exception:
                failure = traceback.format_exc()
        result: dict[str, Any] = {
            "run": run.name,
            "seed": run.seed,
            "what": what,
            "seconds": round(time.perf_counter() - started, 1),
        }
        if failure is None:
            result["figures"] = json.loads(output.getvalue())
        else:
            result["error"] = failure[-3000:]
        # One write of a line at the end of a file: lines of several processes do not mix.
        with (self.work / "results.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(result) + "\n")
        print(f"{run.folder}: {what}: {result['seconds']} s {result.get('error', '')[-300:]}", flush=True)
        return failure is None


def in_processes(runs: Sequence[Run], work: Path, options: list[str], jobs: int, ends_at: float) -> None:
    """Carries out each run in a process of its own, so many at a time.

    A run that starts from the adapter of another waits for that one, which comes before it in the plan.
    """
    started: dict[str, Future[None]] = {}

    def carry_out(run: Run) -> None:
        while run.init in started and not started[run.init].done() and not _trained(work, run.init):
            time.sleep(1)
        if time.monotonic() <= ends_at:
            subprocess.run([sys.executable, __file__, "--run", run.folder, *options], check=False)

    with ThreadPoolExecutor(jobs) as pool:
        for run in runs:
            started[run.folder] = pool.submit(carry_out, run)
        for one in started.values():
            one.result()


def _trained(work: Path, folder: str) -> bool:
    return (work / "adapters" / folder / "manifest.json").exists()


def _set(settings: tuple[str, ...]) -> list[str]:
    return [part for one in settings for part in ("--set", one)]


def table(work: Path) -> str:
    """The headline metric of every system and corpus in percent, as Markdown; seeds as mean ± deviation."""
    found: dict[tuple[str, str, str], dict[int | None, Mapping[str, Any]]] = {}
    for line in (work / "results.jsonl").read_text(encoding="utf-8").splitlines():
        one = json.loads(line)
        if "/" in one["what"] and "figures" in one:
            corpus, split = one["what"].split("/")
            found.setdefault((one["run"], corpus, split), {})[one["seed"]] = one["figures"]
    rows = [
        "| system | corpus | split | seeds | headline | 95 % | clean part |",
        "|---|---|---|---|---|---|---|",
    ]
    for (run, corpus, split), by_seed in sorted(found.items(), key=lambda one: (one[0][1:], one[0][0])):
        headlines = [_headline(figures) for figures in by_seed.values()]
        first = next(iter(by_seed.values()))
        rows.append(
            f"| {run} | {corpus} | {split} | {len(by_seed)} | {_spread([one[0] for one in headlines])} "
            f"| {_interval(first)} | {_spread([one[1] for one in headlines if one[1] is not None])} |"
        )
    return "\n".join(rows)


def compared(work: Path, names: Sequence[str], corpus: str) -> str:
    """Weighted F1 of two systems, each the mean of its seeds, by the paired bootstrap over dialogues."""
    from dialoguellm_release.schemas.scores import Resampling
    from dialoguellm_release.scoring.significance import Run as Compared
    from dialoguellm_release.scoring.significance import paired_bootstrap

    folders = [
        sorted(
            path
            for path in (work / "scores").glob(f"{name}*-{corpus}-test")
            if _is_run(path.name, name, corpus)
        )
        for name in names
    ]
    runs = [
        Compared(_confusions(found), lambda sums: {"weighted_f1": _weighted_f1(sums)}) for found in folders
    ]
    first, second = runs
    found = paired_bootstrap(first, second, Resampling(resamples=10_000, level=0.95, seed=1))["weighted_f1"]
    low, high = (f"{100 * end:.2f}" for end in found.interval)
    seeds = " and ".join(str(len(one)) for one in folders)
    return f"{100 * found.value:+.2f} ({low} to {high}), p {found.p_value:.2g}, of {seeds} runs"


def _is_run(folder: str, name: str, corpus: str) -> bool:
    middle = folder.removeprefix(name).removesuffix(f"-{corpus}-test")
    return not middle or middle.removeprefix("-seed").isdigit()


def _confusions(folders: Sequence[Path]) -> Any:
    """Counts by dialogue, run, reference and prediction."""
    import numpy as np
    import pyarrow.parquet as pq

    tables = [pq.read_table(folder / "predictions.parquet") for folder in folders]
    dialogues = [name.rpartition("/")[0] for name in tables[0]["id"].to_pylist()]
    rows = {name: number for number, name in enumerate(dict.fromkeys(dialogues))}
    labels = [name.removeprefix("score_") for name in tables[0].column_names if name.startswith("score_")]
    counts = np.zeros((len(rows), len(tables), len(labels), len(labels)))
    for run, table in enumerate(tables):
        pairs = zip(table["reference"].to_pylist(), table["prediction"].to_pylist(), strict=True)
        for dialogue, (reference, prediction) in zip(dialogues, pairs, strict=True):
            counts[rows[dialogue], run, labels.index(reference), labels.index(prediction)] += 1
    return counts


def _weighted_f1(counts: Any) -> Any:
    right, given, answered = counts.diagonal(axis1=-2, axis2=-1), counts.sum(-1), counts.sum(-2)
    f1 = 2 * right / (given + answered).clip(1)
    return ((f1 * given).sum(-1) / given.sum(-1)).mean(-1)


def _headline(figures: Mapping[str, Any]) -> tuple[float, float | None]:
    name = figures["headline"]
    clean = (figures.get("clean") or {}).get("metrics")
    return figures[name], clean[name] if clean else None


def _spread(values: list[float]) -> str:
    if not values:
        return "unknown"
    mean = f"{100 * statistics.mean(values):.2f}"
    return f"{mean} ± {100 * statistics.stdev(values):.2f}" if len(values) > 1 else mean


def _interval(figures: Mapping[str, Any]) -> str:
    low, high = figures["intervals"][figures["headline"]]
    return f"{100 * low:.2f} to {100 * high:.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--backbone", default="smollm2-135m", help="a backbone recipe")
    parser.add_argument("--dataset", type=Path, default=Path("build/dataset"))
    parser.add_argument("--work", type=Path, default=Path("build/study"))
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time; more than 1 on a GPU only")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="start no run later than this")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="of every score")
    parser.add_argument("--only", help="names of runs, with commas")
    parser.add_argument("--plan", type=Path, default=PLAN)
    parser.add_argument("--run", help="carry out this run alone, in this process: NAME or NAME-seedN")
    parser.add_argument("--table", action="store_true", help="print the results so far and do nothing else")
    parser.add_argument("--compare", metavar="FIRST,SECOND", help="compare two systems and do nothing else")
    parser.add_argument("--corpus", default="meld", help="of --compare; not one whose headline is micro F1")
    arguments = parser.parse_args()
    if arguments.compare:
        print(compared(arguments.work, arguments.compare.split(","), arguments.corpus))
        return
    if arguments.table:
        print(table(arguments.work))
        return
    arguments.work.mkdir(parents=True, exist_ok=True)
    study = Study(arguments.backbone, arguments.dataset, arguments.work, tuple(arguments.set))
    runs = list(runs_of(arguments.plan))
    if arguments.run:
        study.carry_out(next(run for run in runs if run.folder == arguments.run))
        return
    study.write_adapter_recipe()
    chosen = arguments.only.split(",") if arguments.only else None
    options = ["--backbone", study.backbone, "--dataset", str(study.dataset), "--work", str(study.work)]
    options += ["--plan", str(arguments.plan), *_set(study.settings)]
    in_processes(
        [run for run in runs if chosen is None or run.name in chosen],
        study.work,
        options,
        arguments.jobs,
        time.monotonic() + 60 * arguments.minutes,
    )
    print(table(study.work))


if __name__ == "__main__":
    main()
