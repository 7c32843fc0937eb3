"""Scores side by side: two compared by paired tests, or many in a table that marks other protocols."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from os import PathLike
from pathlib import Path
from string import ascii_lowercase
from typing import TYPE_CHECKING, Any

from dialoguellm_release.errors import DataError, Problem, one_of
from dialoguellm_release.folders import file_problems, read_manifest
from dialoguellm_release.render import numbers
from dialoguellm_release.render.tables import Table
from dialoguellm_release.schemas.labels import Label
from dialoguellm_release.schemas.manifests import ScoreManifest
from dialoguellm_release.schemas.scores import METRICS, Interval, MetricName, Protocol, ScoreFigures
from dialoguellm_release.scoring.answers import Answer
from dialoguellm_release.scoring.folder import PREDICTIONS, own_answers
from dialoguellm_release.scoring.metrics import cells_of, metrics_of
from dialoguellm_release.scoring.significance import Difference, Run, mcnemar, paired_bootstrap

if TYPE_CHECKING:
    import pandas as pd

MAX_NAMED = 12


@dataclass(frozen=True)
class Column:
    """A corpus, a split and the metric that is shown of it."""

    corpus: str
    split: str
    metric: MetricName


@dataclass(frozen=True)
class Row:
    """A system, whatever the seed of its training; no other of the table has its name."""

    name: str
    kind: str
    base: str | None
    training_sha256: str | None
    scorer: str | None
    context_k: int | None
    shots: int | None


@dataclass(frozen=True)
class Cell:
    """The figure of a system on a corpus: of one run with its interval, or the mean and deviation of seeds.

    Attributes:
        mark: Letters of what differs from the protocol of the column; empty for nothing.
    """

    value: float
    interval: Interval | None
    deviation: float | None
    seeds: int
    mark: str

    def __str__(self) -> str:
        mark = f" {self.mark}" if self.mark else ""
        value = numbers.points(self.value)
        if self.deviation is not None:
            return f"{value} ± {numbers.points(self.deviation)} ({self.seeds} seeds){mark}"
        return f"{value} ({numbers.points_range(self.interval)}){mark}" if self.interval else f"{value}{mark}"


@dataclass(frozen=True, repr=False)
class ScoreTable:
    """Scores side by side.

    Attributes:
        cells: By row and column; a pair without a score has none.
        marks: For each letter, what differs from the protocol of the column.

    Example:
        >>> table = score_table(["build/scores/tfidf", "build/scores/tiny"])  # doctest: +SKIP
        >>> table.to_pandas().pivot(index="system", columns="corpus", values="value")  # doctest: +SKIP
    """

    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    cells: dict[tuple[Row, Column], Cell]
    marks: dict[str, str]

    def __repr__(self) -> str:
        return f"ScoreTable({len(self.rows)} systems, {len(self.columns)} corpora, {len(self.marks)} marks)"

    def _repr_html_(self) -> str:
        notes = "".join(f"<p>{letter}: {text}</p>" for letter, text in self.marks.items())
        return self.as_table().html() + notes

    def as_table(self) -> Table:
        """The table in percent, to be written in any format."""
        header = ("system", "scorer", "context", "shots")
        corpora = (f"{one.corpus}/{one.split} {one.metric}" for one in self.columns)
        rows = []
        for row in self.rows:
            facts = (
                numbers.MISSING if one is None else str(one) for one in (row.scorer, row.context_k, row.shots)
            )
            cells = (self.cells.get((row, column)) for column in self.columns)
            rows.append((row.name, *facts, *(str(cell) if cell else numbers.MISSING for cell in cells)))
        return Table((*header, *corpora), rows)

    def to_pandas(self) -> pd.DataFrame:
        """A data frame with a row for each cell; figures are fractions."""
        import pandas as pd

        cells = [
            {**asdict(row), **asdict(column), **asdict(cell), "low": low, "high": high}
            for (row, column), cell in self.cells.items()
            for low, high in [cell.interval or (None, None)]
        ]
        frame = pd.DataFrame.from_records(cells, exclude=["interval"])
        return frame.rename(columns={"name": "system"})


def score_table(folders: Sequence[str | PathLike[str]], metric: MetricName | None = None) -> ScoreTable:
    """Score folders side by side: a row for each system (its seeds averaged), a column for each corpus.

    The protocol of a column is that of its first complete score; a field that this one does not have is as
    the next score has it. Whatever differs from it is marked, and so is a score of some of the records.

    Args:
        folders: Score folders.
        metric: To show; None for the headline of each corpus.

    Returns:
        The table; `to_pandas()` gives it as a data frame.

    Raises:
        DataError: A folder holds no score, two hold the same, or one was not scored by the metric.

    Example:
        >>> table = score_table(["build/scores/majority", "build/scores/tiny"])  # doctest: +SKIP
    """
    metric = None if metric is None else one_of("metric", metric, METRICS)
    runs = {folder: read_manifest(folder, ScoreManifest) for folder in map(Path, folders)}
    figures = {folder: manifest.figures for folder, manifest in runs.items()}
    columns = _columns(figures.values(), metric)
    protocols = _column_protocols(figures.values())
    notes = {folder: _differences(protocols[_corpus_of(one)], one) for folder, one in figures.items()}
    texts = dict.fromkeys(text for note in notes.values() for text in note)
    names = (
        "".join(one) for size in itertools.count(1) for one in itertools.product(ascii_lowercase, repeat=size)
    )
    letters = dict(zip(texts, names, strict=False))
    grouped = _grouped(runs)
    cells = {}
    for row, by_corpus in grouped.items():
        for corpus, same in by_corpus.items():
            mark = "".join(sorted({letters[text] for folder in same for text in notes[folder]}))
            column = columns[corpus]
            cells[row, column] = _cell([figures[folder] for folder in same], column.metric, mark)
    marks = {letter: text for text, letter in letters.items()}
    return ScoreTable(tuple(columns.values()), tuple(grouped), cells, marks)


def shown_differences(differences: Mapping[str, tuple[object, object]]) -> Iterator[str]:
    """The fields in which protocols differ, with both values."""
    for name, (ours, theirs) in differences.items():
        shown = (numbers.abbreviated(value, MAX_NAMED) for value in (theirs, ours))
        yield f"{name} {', not '.join(shown)}"


def _differences(expected: Protocol, figures: ScoreFigures) -> list[str]:
    """What is marked at a score: that it is partial, and what of its protocol is not that of its column."""
    protocol, found = figures.protocol, []
    if figures.is_partial:
        found.append(
            f"{numbers.count(figures.records)} of {numbers.count(figures.split_records)} records scored"
        )
        protocol = protocol.model_copy(update={"records_sha256": expected.records_sha256})
    text = "; ".join(shown_differences(expected.differences(protocol)))
    return [*found, text] if text else found


def _corpus_of(figures: ScoreFigures) -> tuple[str, str]:
    return figures.protocol.corpus, figures.protocol.split


def _columns(figures: Iterable[ScoreFigures], metric: MetricName | None) -> dict[tuple[str, str], Column]:
    """The column of each corpus and split; its metric is the headline of its first score."""
    columns: dict[tuple[str, str], Column] = {}
    for one in figures:
        columns.setdefault(_corpus_of(one), Column(*_corpus_of(one), metric or one.headline))
    return columns


def _column_protocols(figures: Iterable[ScoreFigures]) -> dict[tuple[str, str], Protocol]:
    """The protocol of each column: every field of the first score that has it, complete scores first."""
    protocols: dict[tuple[str, str], Protocol] = {}
    for one in sorted(figures, key=lambda one: one.is_partial):
        known = protocols.setdefault(_corpus_of(one), one.protocol)
        missing = {name: value for name, value in one.protocol if getattr(known, name) is None}
        protocols[_corpus_of(one)] = known.model_copy(update=missing)
    return protocols


def _grouped(runs: Mapping[Path, ScoreManifest]) -> dict[Row, dict[tuple[str, str], list[Path]]]:
    """The folders by system and corpus: the seeds of one training together, everything else apart."""
    groups: dict[tuple[Row, int], dict[tuple[str, str], list[Path]]] = {}
    problems = []
    for folder, manifest in runs.items():
        system, protocol = manifest.figures.system, manifest.figures.protocol
        shown = protocol.scorer, protocol.context_k, protocol.shots
        row = Row(system.name, system.kind, system.base, system.training_sha256, *shown)
        corpus, seed = _corpus_of(manifest.figures), system.seed
        version = 0
        while alike := [
            one
            for one in groups.get((row, version), {}).get(corpus, [])
            if runs[one].figures.system.seed == seed
        ]:
            if runs[alike[0]].content_sha256 == manifest.content_sha256:
                what, fix = f"holds the same score as {alike[0]}", "leave one of them out"
                problems.append(Problem(str(folder), what, fix=fix, code="score_table.repeated"))
            version += 1
        groups.setdefault((row, version), {}).setdefault(corpus, []).append(folder)
    if problems:
        raise DataError(problems, outcome="no table was made")
    return dict(zip(_named(groups), groups.values(), strict=True))


def _named(groups: Mapping[tuple[Row, int], Mapping[Any, Sequence[Path]]]) -> list[Row]:
    """The rows; where two systems have one name, the folder of each is added to it."""
    systems: dict[str, set[object]] = {}
    for row, version in groups:
        systems.setdefault(row.name, set()).add((row.kind, row.base, row.training_sha256, version))
    first = [next(iter(folders.values()))[0] for folders in groups.values()]
    is_clear = len({folder.name for folder in first}) == len(first)
    return [
        replace(row, name=f"{row.name} ({folder.name if is_clear else folder})")
        if len(systems[row.name]) > 1
        else row
        for (row, _), folder in zip(groups, first, strict=True)
    ]


def _cell(figures: Sequence[ScoreFigures], metric: MetricName, mark: str) -> Cell:
    missing = [one.system.name for one in figures if metric not in one.metrics]
    if missing:
        what, expected = f"was not scored by {metric}", f"one of {', '.join(figures[0].metrics)}"
        fix, code = "name another metric", "score_table.metric"
        raise DataError(Problem(missing[0], what, expected, fix=fix, code=code), outcome="no table was made")
    values = [one.metrics[metric] for one in figures]
    if len(values) == 1:
        return Cell(values[0], figures[0].intervals[metric], None, 1, mark)
    return Cell(statistics.mean(values), None, statistics.stdev(values), len(values), mark)


@dataclass(frozen=True, repr=False)
class Comparison:
    """Two runs on the same records.

    Attributes:
        differences: The second run's metrics minus the first's, by the paired bootstrap over dialogues.
        only_first: Records that only the first run has right; None where a run draws answers at random.
        only_second: Records that only the second run has right; None likewise.
        mcnemar_p: Of McNemar's exact test on these; None likewise.
    """

    first: ScoreFigures
    second: ScoreFigures
    differences: dict[MetricName, Difference]
    only_first: int | None
    only_second: int | None
    mcnemar_p: float | None

    def __repr__(self) -> str:
        return (
            f"Comparison({self.first.system.name}, {self.second.system.name}: {self.first.records:,} records)"
        )

    def _repr_html_(self) -> str:
        return self.as_table().html()

    def as_table(self) -> Table:
        """Both runs and their differences in percent, to be written in any format."""
        header = ("", "first", "second", "difference", "interval", "p (bootstrap)")
        rows = [
            (
                name,
                numbers.points(self.first.metrics[name]),
                numbers.points(self.second.metrics[name]),
                f"{100 * one.value:+.2f}",
                numbers.points_range(one.interval),
                f"{one.p_value:.4f}",
            )
            for name, one in self.differences.items()
        ]
        return Table(header, rows)

    def to_pandas(self) -> pd.DataFrame:
        """A data frame with a row for each metric; figures are fractions."""
        import pandas as pd

        rows = [
            {
                "metric": name,
                "first": self.first.metrics[name],
                "second": self.second.metrics[name],
                "difference": one.value,
                "p_value": one.p_value,
                **dict(zip(("low", "high"), one.interval, strict=True)),
            }
            for name, one in self.differences.items()
        ]
        return pd.DataFrame.from_records(rows)


def compare_scores(first: str | PathLike[str], second: str | PathLike[str]) -> Comparison:
    """How a second score folder differs from a first, with paired tests.

    Args:
        first: A score folder.
        second: Another one, of the same records.

    Returns:
        The difference of each metric with its interval and p-value, and McNemar's test.

    Raises:
        DataError: A folder holds no score, its files changed, or the two scored other records.

    Example:
        >>> found = compare_scores("build/scores/tfidf", "build/scores/tiny")  # doctest: +SKIP
        >>> found.differences["weighted_f1"].p_value  # doctest: +SKIP
        0.0123
    """
    first, second = Path(first), Path(second)
    manifests = {folder: read_manifest(folder, ScoreManifest) for folder in (first, second)}
    if problems := [one for folder, manifest in manifests.items() for one in file_problems(folder, manifest)]:
        raise DataError(problems, outcome="nothing was compared")
    one, other = (manifests[folder].figures for folder in (first, second))
    if one.protocol.records_sha256 != other.protocol.records_sha256:
        raise DataError(
            Problem(
                str(second),
                f"scored other records than {first}",
                expected=_scored_records(one),
                got=_scored_records(other),
                fix="score both on the same dataset, split and number of records",
                code="compare.other_records",
            ),
            outcome="nothing was compared",
        )
    (ids, references, before), (_, _, after) = (
        own_answers(folder / PREDICTIONS) for folder in (first, second)
    )
    dialogues = [name.rpartition("/")[0] for name in ids]
    differences = paired_bootstrap(
        _run(one, dialogues, references, before), _run(other, dialogues, references, after), one.resampling
    )
    if one.left_to_chance or other.left_to_chance:
        return Comparison(one, other, differences, None, None, None)
    hits = [
        (ours.label == reference, theirs.label == reference)
        for reference, ours, theirs in zip(references, before, after, strict=True)
    ]
    only_first, only_second = hits.count((True, False)), hits.count((False, True))
    return Comparison(one, other, differences, only_first, only_second, mcnemar(only_first, only_second))


def _run(
    figures: ScoreFigures, dialogues: Sequence[str], references: Sequence[Label], answers: Sequence[Answer]
) -> Run:
    import numpy as np

    labels = figures.protocol.label_space
    cells = cells_of(dialogues, references, answers, labels, [[True] * len(answers)])[:, 0]
    without = None if figures.without is None else labels.index(figures.without)
    chances = np.array([figures.chances.get(label, 0.0) for label in labels])
    return Run(cells, partial(metrics_of, chances=chances, without=without))


def _scored_records(figures: ScoreFigures) -> str:
    protocol = figures.protocol
    return (
        f"{figures.records} records of {protocol.corpus}/{protocol.split}, "
        f"dataset {protocol.dataset_content_sha256}, records {protocol.records_sha256}"
    )
