"""Stretches of tokens as numbers: two are equal if and only if their numbers are."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Numbers = NDArray[np.int64]
    Flags = NDArray[np.bool_]
    Bits = NDArray[np.int16]
    Fates = NDArray[np.int8]

NONE = -1
"""Stands where no stretch begins."""


def number_stretches(tokens: Numbers, groups: Numbers, size: int) -> Numbers:
    """A number for the stretch of `size` tokens that begins at each one; NONE where its group ends before.

    Why: two halves that have numbers are a pair of integers, so a stretch of 8 is numbered in three steps,
    exactly, and without a table of tuples.

    Args:
        tokens: Numbers from 0 on.
        groups: The group of each token; the tokens of one stand together.

    >>> import numpy as np
    >>> number_stretches(np.array([4, 5, 6, 4, 5]), np.array([0, 0, 0, 1, 1]), 2).tolist()
    [0, 1, -1, 0, -1]
    """
    import numpy as np

    if size == 1:
        return tokens
    half = size // 2
    first = number_stretches(tokens, groups, half)
    second = first if size == 2 * half else number_stretches(tokens, groups, size - half)
    is_whole = (first[:-half] != NONE) & (second[half:] != NONE) & (groups[:-half] == groups[half:])
    starts = np.flatnonzero(is_whole)
    pairs = first[starts] * (second.max(initial=0) + 1) + second[starts + half]
    numbers = np.full(len(tokens), NONE, dtype=np.int64)
    numbers[starts] = np.unique(pairs, return_inverse=True)[1]
    return numbers
