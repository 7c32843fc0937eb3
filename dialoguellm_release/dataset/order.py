"""The order of a dataset, which no file decides: corpora, splits, dialogues by their ids, utterances."""

from __future__ import annotations

import re

_NUMBER = re.compile("([0-9]+)")


def natural_order(dialogue_id: str) -> list[str | int]:
    """A key that sorts the numbers in ids as numbers: 2 before 10, `s01_e02` before `s01_e10`.

    >>> sorted(["10", "2", "s01_e10", "s01_e2"], key=natural_order)
    ['2', '10', 's01_e2', 's01_e10']
    """
    parts = _NUMBER.split(dialogue_id)
    return [int(part) if place % 2 else part for place, part in enumerate(parts)]
