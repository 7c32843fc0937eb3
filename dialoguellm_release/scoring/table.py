"""Scores side by side: a row a system, a column a corpus, and no two protocols in one column unmarked."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import ascii_lowercase

from dialoguellm_release.errors import DataError, Problem
from dialoguellm_release.folders import read_manifest
from dialoguellm_release.schemas.manifests import ScoreManifest
from dialoguellm_release.schemas.scores import Interval, MetricName, Protocol, ScoreFigures


@dataclass(frozen=True)
class Column:
    """What a column shows."""

    corpus: str
    split: str
    metric: MetricName


@dataclass(frozen=True)
class Row:
    """A system, seed aside.

    Attributes:
        shots: Examples in its prompt; None where it has none to show, as `context_k` and `scorer`.
    """

    name: str
    kind: str
    base: str | None
    training_sha256: str | None
    scorer: str | None
    context_k: int | None
    shots: int | None


@dataclass(frozen=True)
class Cell:
    """The figure of a system on a corpus.

    Attributes:
        value: Of one run, or the mean over seeds.
        interval: Of one run, by the bootstrap over dialogues; None for several seeds.
        deviation: The standard deviation over seeds; None for one run.
        mark: The letter of a protocol that is not the column's; empty for that.
    """

    value: float
    interval: Interval | None
    deviation: float | None
    seeds: int
    mark: str


@dataclass(frozen=True)
class ScoreTable:
    """Scores side by side.

    Attributes:
        cells: By row and column; a pair that nobody scored has none.
        marks: For each letter, how its protocol differs from that of its column.
    """

    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    cells: dict[tuple[Row, Column], Cell]
    marks: dict[str, str]


def table_of(folders: Sequence[Path], metric: MetricName | None = None, *, mixed: bool = False) -> ScoreTable:
    """The scores of some folders as a table.

    Args:
        metric: To show; None shows the headline of each corpus.
        mixed: Set scores of unlike protocols in one column all the same, and mark them. The protocol of a
            column is that of its first folder, and what that has no use for is as the next folder has it.

    Raises:
        DataError: A folder holds no score, two hold the same, or two of one column are not alike.
    """
    runs = {folder: read_manifest(folder, ScoreManifest).figures for folder in folders}
    columns = _columns(runs.values(), metric)
    protocols = _column_protocols(runs.values())
    unlike = {
        folder: differences
        for folder, figures in runs.items()
        if (differences := unlike_fields(protocols[_place(figures)], figures.protocol))
    }
    if unlike and not mixed:
        problems = [_unlike_problem(folder, differences) for folder, differences in unlike.items()]
        raise DataError(problems, outcome="no table was made")
    letters = {text: _letter(place) for place, text in enumerate(dict.fromkeys(unlike.values()))}
    grouped: dict[tuple[Row, Column], list[Path]] = {}
    for folder, figures in runs.items():
        grouped.setdefault((_row(figures), columns[_place(figures)]), []).append(folder)
    _check_distinct(grouped, runs)
    cells = {
        key: _cell([runs[folder] for folder in same], key[1].metric, _marks(same, unlike, letters))
        for key, same in grouped.items()
    }
    return ScoreTable(
        columns=tuple(columns.values()),
        rows=tuple(dict.fromkeys(row for row, _ in cells)),
        cells=cells,
        marks={letter: text for text, letter in letters.items()},
    )


def unlike_fields(expected: Protocol, got: Protocol) -> str:
    """How a protocol differs from another, as text; empty where the two are alike.

    What a system has no use for (None) is like anything.
    """
    parts = []
    for name in Protocol.model_fields:
        ours, theirs = getattr(expected, name), getattr(got, name)
        if ours != theirs and ours is not None and theirs is not None:
            parts.append(f"{name} {_shown(theirs)}, not {_shown(ours)}")
    return "; ".join(parts)


def _shown(value: object) -> str:
    return (", ".join(map(str, value)) or "empty") if isinstance(value, tuple) else str(value)


def _place(figures: ScoreFigures) -> tuple[str, str]:
    return figures.protocol.corpus, figures.protocol.split


def _columns(figures: Iterable[ScoreFigures], metric: MetricName | None) -> dict[tuple[str, str], Column]:
    """The column of each corpus and split; its metric is the headline of its first score."""
    columns: dict[tuple[str, str], Column] = {}
    for one in figures:
        columns.setdefault(_place(one), Column(*_place(one), metric or one.headline))
    return columns


def _column_protocols(figures: Iterable[ScoreFigures]) -> dict[tuple[str, str], Protocol]:
    """The protocol of each column: every field as the first score states it that has a use for it."""
    protocols: dict[tuple[str, str], Protocol] = {}
    for one in figures:
        known = protocols.setdefault(_place(one), one.protocol)
        missing = {name: value for name, value in one.protocol if getattr(known, name) is None}
        protocols[_place(one)] = known.model_copy(update=missing)
    return protocols


def _row(figures: ScoreFigures) -> Row:
    system, protocol = figures.system, figures.protocol
    return Row(
        name=system.name,
        kind=system.kind,
        base=system.base,
        training_sha256=system.training_sha256,
        scorer=protocol.scorer,
        context_k=protocol.context_k,
        shots=protocol.shots,
    )


def _cell(figures: Sequence[ScoreFigures], metric: MetricName, mark: str) -> Cell:
    missing = [one.system.name for one in figures if metric not in one.metrics]
    if missing:
        raise DataError(
            Problem(
                missing[0],
                f"was not scored by {metric}",
                expected=f"one of {', '.join(figures[0].metrics)}",
                fix="name another metric",
            ),
            outcome="no table was made",
        )
    values = [one.metrics[metric] for one in figures]
    if len(values) == 1:
        return Cell(values[0], figures[0].intervals[metric], None, 1, mark)
    return Cell(statistics.mean(values), None, statistics.stdev(values), len(values), mark)


def _marks(folders: Sequence[Path], unlike: Mapping[Path, str], letters: Mapping[str, str]) -> str:
    return "".join(sorted({letters[unlike[folder]] for folder in folders if folder in unlike}))


def _check_distinct(
    grouped: Mapping[tuple[Row, Column], Sequence[Path]], runs: Mapping[Path, ScoreFigures]
) -> None:
    """Refuses what would count one run twice: runs of one system are told apart by their seeds."""
    problems = []
    for folders in grouped.values():
        seen: dict[int | None, Path] = {}
        for folder in folders:
            seed = runs[folder].system.seed
            if seed in seen:
                what = f"scores the same system with the same seed as {seen[seed]}"
                problems.append(Problem(str(folder), what, fix="leave one of them out"))
            seen[seed] = folder
    if problems:
        raise DataError(problems, outcome="no table was made")


def _unlike_problem(folder: Path, differences: str) -> Problem:
    return Problem(
        str(folder),
        "is not of the same protocol as the folders before it, and would stand in a column with them",
        got=differences,
        fix="score it by the same protocol, or ask for a mixed table (--mixed), which marks it",
    )


def _letter(place: int) -> str:
    """a, b, ..., z, aa, ab, ...

    >>> _letter(0), _letter(26)
    ('a', 'aa')
    """
    rounds, rest = divmod(place, len(ascii_lowercase))
    return (_letter(rounds - 1) if rounds else "") + ascii_lowercase[rest]
