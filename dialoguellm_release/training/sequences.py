"""Many sequences of ids in little memory."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from typing import overload


class Sequences(Sequence[list[int]]):
    """Sequences of ids, each made a list only while it is looked at.

    Why: an id takes 4 bytes here and 36 in a list, and the paper's mix has 13 million of them.

    >>> held = Sequences()
    >>> held.append([1, 2, 3])
    >>> held.append([4])
    >>> held[0], list(held), held.tokens
    ([1, 2, 3], [[1, 2, 3], [4]], 4)
    """

    def __init__(self) -> None:
        self._ids = array("i")
        self._ends = array("q", [0])

    def append(self, ids: Sequence[int]) -> None:
        """Puts one more at the end."""
        self._ids.extend(ids)
        self._ends.append(len(self._ids))

    @property
    def tokens(self) -> int:
        """The ids of all of them."""
        return len(self._ids)

    def __len__(self) -> int:
        return len(self._ends) - 1

    @overload
    def __getitem__(self, index: int) -> list[int]: ...

    @overload
    def __getitem__(self, index: slice) -> list[list[int]]: ...

    def __getitem__(self, index: int | slice) -> list[int] | list[list[int]]:
        if isinstance(index, slice):
            return [self[one] for one in range(*index.indices(len(self)))]
        if not 0 <= index < len(self):
            raise IndexError(index)
        return self._ids[self._ends[index] : self._ends[index + 1]].tolist()

    def __iter__(self) -> Iterator[list[int]]:
        return (self[index] for index in range(len(self)))
