"""The leakage ledger: what the text of a dataset tells of its own splits."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from dialoguellm_release.dataset.agreement import find_agreement
from dialoguellm_release.dataset.overlaps import find_overlaps
from dialoguellm_release.dataset.repeats import find_conflicts, find_duplicates
from dialoguellm_release.dataset.turns import Turns
from dialoguellm_release.schemas.audit import Audit

Row = TypeVar("Row")
COMPARISONS = 4
"""How many comparisons an audit makes."""


def audit_turns(turns: Turns, advance: Callable[[int], None]) -> Audit:
    """The audit of the turns of a dataset.

    Args:
        advance: Told of each comparison that is made.
    """

    def done(rows: list[Row]) -> tuple[Row, ...]:
        advance(1)
        return tuple(rows)

    return Audit(
        overlaps=done(find_overlaps(turns)),
        duplicates=done(find_duplicates(turns)),
        conflicts=done(find_conflicts(turns)),
        agreement=done(find_agreement(turns)),
    )
