"""The bootstrap over dialogues: utterances of one dialogue depend on each other and are drawn together."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from dialoguellm_release.schemas.scores import Interval, Resampling

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

CHUNK_CELLS = 4_000_000
"""At most so many numbers are held at once (32 MB)."""


def drawn_dialogues(dialogues: int, width: int, resampling: Resampling) -> Iterator[Floats]:
    """How often each resample (row) draws each dialogue (column), a chunk of resamples at a time.

    Args:
        width: How many numbers the caller holds for each resample.
    """
    import numpy as np

    draw = np.random.default_rng(resampling.seed)
    chunk = max(1, CHUNK_CELLS // max(dialogues, width))
    for start in range(0, resampling.resamples, chunk):
        size = min(chunk, resampling.resamples - start)
        yield draw.multinomial(dialogues, np.full(dialogues, 1 / dialogues), size=size).astype(np.float64)


def resampled_sums(cells: Floats, resampling: Resampling) -> Iterator[Floats]:
    """The cells summed over dialogues that are drawn with replacement, a chunk of resamples at a time.

    Args:
        cells: Shape (dialogues, ...): what each dialogue adds to the sum.
    """
    flat = cells.reshape(len(cells), -1)
    for times in drawn_dialogues(len(cells), flat.shape[1], resampling):
        yield (times @ flat).reshape(len(times), *cells.shape[1:])


def interval(values: Floats, level: float) -> Interval:
    """The range that the middle share `level` of some values spans."""
    import numpy as np

    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
