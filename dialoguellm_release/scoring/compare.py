"""The difference of two runs on the same records: paired bootstrap and McNemar's test."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import comb
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from dialoguellm_release.errors import DataError, Problem
from dialoguellm_release.folders import file_problems, read_manifest
from dialoguellm_release.render import numbers
from dialoguellm_release.render.tables import Table
from dialoguellm_release.schemas.labels import Label
from dialoguellm_release.schemas.manifests import ScoreManifest
from dialoguellm_release.schemas.scores import Interval, MetricName, Resampling, ScoreFigures
from dialoguellm_release.scoring.answers import Answer
from dialoguellm_release.scoring.bootstrap import interval, resampled_sums
from dialoguellm_release.scoring.folder import PREDICTIONS, own_answers
from dialoguellm_release.scoring.metrics import cells_of, metrics_of

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    Cells = NDArray[np.float64]


@dataclass(frozen=True)
class Run:
    """A run, as the paired bootstrap takes it.

    Attributes:
        cells: Shape (dialogues, ...): what each dialogue adds to the counts.
        figures: Of sums of cells, any number of them at once.
    """

    cells: Cells
    figures: Callable[[Cells], Mapping[MetricName, Cells]]


@dataclass(frozen=True)
class Difference:
    """The difference between two runs.

    Attributes:
        value: The second run's figure minus the first's.
        interval: By the paired bootstrap.
        p_value: Two-sided: twice the share of the resamples on the far side of zero, at most 1.
    """

    value: float
    interval: Interval
    p_value: float


def paired_bootstrap(first: Run, second: Run, resampling: Resampling) -> dict[MetricName, Difference]:
    """The difference of each figure of two runs, resampling the same dialogues of both.

    Args:
        first: Of the same dialogues, in the same order, as `second`.
    """
    import numpy as np

    chunks: dict[MetricName, list[Cells]] = {}
    for sums in resampled_sums(np.stack([first.cells, second.cells], axis=1), resampling):
        for name, values in _differences(first, second, sums[:, 0], sums[:, 1]).items():
            chunks.setdefault(name, []).append(values)
    observed = _differences(first, second, first.cells.sum(0), second.cells.sum(0))
    return {
        name: _difference(float(observed[name]), np.concatenate(values), resampling.level)
        for name, values in chunks.items()
    }


def _differences(first: Run, second: Run, ours: Cells, theirs: Cells) -> dict[MetricName, Cells]:
    before, after = first.figures(ours), second.figures(theirs)
    return {name: after[name] - before[name] for name in before if name in after}


def _difference(observed: float, resampled: Cells, level: float) -> Difference:
    tail = min(int((resampled <= 0).sum()), int((resampled >= 0).sum()))
    p_value = min(1.0, 2 * (1 + tail) / (1 + len(resampled)))
    return Difference(observed, interval(resampled, level), p_value)


def mcnemar(only_first: int, only_second: int) -> float:
    """The exact two-sided p-value of McNemar's test: is one run right more often where only one is?

    Utterances count as independent, which those of one dialogue are not. Source: McNemar, "Note on the
    sampling error of the difference between correlated proportions or percentages", Psychometrika 12 (1947);
    exact form: the binomial test of the discordant pairs with probability 1/2.

    Args:
        only_first: Records that the first run alone has right.
        only_second: Records that the second run alone has right.

    >>> mcnemar(1, 9)
    0.021484375
    """
    discordant = only_first + only_second
    tail = sum(comb(discordant, hits) for hits in range(min(only_first, only_second) + 1))
    return min(1.0, float(2 * tail / 2**discordant))


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
    problems = [one for folder, manifest in manifests.items() for one in file_problems(folder, manifest)]
    if problems:
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
