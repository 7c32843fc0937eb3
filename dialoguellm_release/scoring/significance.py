"""How sure a figure is: the bootstrap over dialogues, and tests of two runs on the same records.

Why dialogues: utterances of one dialogue depend on each other, and an interval that draws utterances
is too narrow.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import comb
from typing import TYPE_CHECKING

from dialoguellm_release.schemas.scores import Interval, MetricName, Resampling

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Cells = NDArray[np.float64]

CHUNK_CELLS = 4_000_000
"""At most so many sums of cells are held at once (32 MB)."""


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
    """How far a second run is from a first.

    Attributes:
        value: The second's figure less the first's.
        interval: By the paired bootstrap.
        p_value: Two-sided: twice the share of the resamples on the far side of zero, at most 1.
    """

    value: float
    interval: Interval
    p_value: float


def resampled_sums(cells: Cells, resampling: Resampling) -> Iterator[Cells]:
    """The cells summed over dialogues that are drawn with replacement, a chunk of resamples at a time.

    Args:
        cells: Shape (dialogues, ...): what each dialogue adds to the sum.
    """
    import numpy as np

    dialogues = len(cells)
    flat = cells.reshape(dialogues, -1)
    draw = np.random.default_rng(resampling.seed)
    chunk = max(1, CHUNK_CELLS // max(dialogues, flat.shape[1]))
    for start in range(0, resampling.resamples, chunk):
        size = min(chunk, resampling.resamples - start)
        times = draw.multinomial(dialogues, np.full(dialogues, 1 / dialogues), size=size)
        yield (times.astype(np.float64) @ flat).reshape(size, *cells.shape[1:])


def interval(values: Cells, level: float) -> Interval:
    """The range that the middle share `level` of some values spans."""
    import numpy as np

    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def paired_bootstrap(first: Run, second: Run, resampling: Resampling) -> dict[MetricName, Difference]:
    """How far each figure of a second run is from that of a first, drawing the same dialogues of both.

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
    """The exact two-sided p-value of McNemar's test: is one run right more often where just one is?

    It takes utterances for independent, which those of one dialogue are not.

    Args:
        only_first: Records that the first run alone has right.
        only_second: Records that the second run alone has right.

    >>> mcnemar(1, 9)
    0.021484375
    """
    discordant = only_first + only_second
    tail = sum(comb(discordant, hits) for hits in range(min(only_first, only_second) + 1))
    return min(1.0, float(2 * tail / 2**discordant))
