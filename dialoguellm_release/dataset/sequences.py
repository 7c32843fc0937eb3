"""Stretches of tokens as numbers: two are equal if and only if their numbers are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Numbers = NDArray[np.integer[Any]]
    Flags = NDArray[np.bool_]
    Bits = NDArray[np.int32]
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
    starts = np.flatnonzero(
        (first[:-half] != NONE) & (second[half:] != NONE) & (groups[:-half] == groups[half:])
    )
    pairs = first[starts].astype(np.int64)
    pairs *= int(second.max(initial=0)) + 1
    pairs += second[starts + half]
    del first, second
    order = np.argsort(pairs)
    pairs = pairs[order]
    is_new = np.ones(len(pairs), dtype=np.int32)
    is_new[1:] = pairs[1:] != pairs[:-1]
    del pairs
    numbers = np.full(len(tokens), NONE, dtype=np.int32)
    numbers[starts[order]] = np.cumsum(is_new, out=is_new) - 1
    return numbers
