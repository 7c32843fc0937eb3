"""The bootstrap over dialogues, whose utterances depend on each other, and tests of two runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import comb
from typing import TYPE_CHECKING

from dialoguellm_release.schemas.scores import Interval, MetricName, Resampling

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

CHUNK_CELLS = 4_000_000
"""At most so many numbers are held at once (32 MB)."""


def drawn_dialogues(dialogues: int, width: int, resampling: Resampling) -> Iterator[Floats]:
    """How often each resample (row) draws each dialogue (column), in chunks for rows of a width."""
    import numpy as np

    draw = np.random.default_rng(resampling.seed)
    chunk = max(1, CHUNK_CELLS // max(dialogues, width))
    for start in range(0, resampling.resamples, chunk):
        size = min(chunk, resampling.resamples - start)
        yield draw.multinomial(dialogues, np.full(dialogues, 1 / dialogues), size=size).astype(np.float64)


def resampled_sums(cells: Floats, resampling: Resampling) -> Iterator[Floats]:
    """The cells of each dialogue (row) summed over dialogues drawn with replacement, in chunks."""
    flat = cells.reshape(len(cells), -1)
    for times in drawn_dialogues(len(cells), flat.shape[1], resampling):
        yield (times @ flat).reshape(len(times), *cells.shape[1:])


def interval(values: Floats, level: float) -> Interval:
    """The range that the middle share `level` of some values spans."""
    import numpy as np

    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


@dataclass(frozen=True)
class Run:
    """What each dialogue (row) adds to the counts of a run, and the figures of any number of sums of them."""

    cells: Floats
    figures: Callable[[Floats], Mapping[MetricName, Floats]]


@dataclass(frozen=True)
class Difference:
    """The second run's figure minus the first's, by the paired bootstrap.

    Attributes:
        p_value: Two-sided: twice the share of the resamples on the far side of zero, at most 1.
    """

    value: float
    interval: Interval
    p_value: float


def paired_bootstrap(first: Run, second: Run, resampling: Resampling) -> dict[MetricName, Difference]:
    """The difference of each figure of two runs on the same dialogues in the same order."""
    import numpy as np

    chunks: dict[MetricName, list[Floats]] = {}
    for sums in resampled_sums(np.stack([first.cells, second.cells], axis=1), resampling):
        for name, values in _differences(first, second, sums[:, 0], sums[:, 1]).items():
            chunks.setdefault(name, []).append(values)
    observed = _differences(first, second, first.cells.sum(0), second.cells.sum(0))
    return {
        name: _difference(float(observed[name]), np.concatenate(values), resampling.level)
        for name, values in chunks.items()
    }


def _differences(first: Run, second: Run, ours: Floats, theirs: Floats) -> dict[MetricName, Floats]:
    before, after = first.figures(ours), second.figures(theirs)
    return {name: after[name] - before[name] for name in before if name in after}


def _difference(observed: float, resampled: Floats, level: float) -> Difference:
    tail = min(int((resampled <= 0).sum()), int((resampled >= 0).sum()))
    p_value = min(1.0, 2 * (1 + tail) / (1 + len(resampled)))
    return Difference(observed, interval(resampled, level), p_value)


def mcnemar(only_first: int, only_second: int) -> float:
    """The exact two-sided p-value of McNemar's test: is one run right more often where only one is?

    Utterances count as independent, which those of one dialogue are not. Source: McNemar, "Note on the
    sampling error of the difference between correlated proportions or percentages", Psychometrika 12 (1947);
    exact form: the binomial test of the discordant pairs with probability 1/2.

    >>> mcnemar(1, 9)
    0.021484375
    """
    discordant = only_first + only_second
    tail = sum(comb(discordant, hits) for hits in range(min(only_first, only_second) + 1))
    return min(1.0, float(2 * tail / 2**discordant))
