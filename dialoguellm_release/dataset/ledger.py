"""The leakage ledger: what the text of a dataset tells of its splits, and what follows for each record."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from dialoguellm_release.dataset.agreement import find_agreement
from dialoguellm_release.dataset.cleaning import sort_out
from dialoguellm_release.dataset.leaks import find_leaks
from dialoguellm_release.dataset.ngrams import find_ngrams
from dialoguellm_release.dataset.overlaps import find_overlaps
from dialoguellm_release.dataset.repeats import find_conflicts, find_duplicates, find_repeats
from dialoguellm_release.dataset.shared import find_shared
from dialoguellm_release.dataset.turns import Turns
from dialoguellm_release.schemas.audit import Audit
from dialoguellm_release.schemas.recipes.dataset import CleanRules

if TYPE_CHECKING:
    from dialoguellm_release.dataset.sequences import Bits, Fates

Found = TypeVar("Found")
COMPARISONS = 9
"""How many comparisons a ledger makes."""


@dataclass(frozen=True)
class Ledger:
    """What was found.

    Attributes:
        leaks: For the record of each turn, the splits that it shares something with, as bits.
        fates: For the record of each turn, what becomes of it.
    """

    audit: Audit
    leaks: Bits
    fates: Fates


def make_ledger(turns: Turns, rules: CleanRules, advance: Callable[[int], None]) -> Ledger:
    """The ledger of the turns of a dataset.

    Args:
        advance: Told of each comparison that is made.
    """

    def done(found: Found) -> Found:
        advance(1)
        return found

    shared = done(find_shared(turns))
    ngrams = done(find_ngrams(shared.speech))
    overlaps = done(find_overlaps(turns, shared, ngrams))
    leaks = done(find_leaks(turns, shared, ngrams))
    del shared, ngrams
    repeats = done(find_repeats(turns))
    audit = Audit(
        overlaps=tuple(overlaps),
        duplicates=tuple(done(find_duplicates(turns, repeats))),
        conflicts=tuple(done(find_conflicts(turns, repeats))),
        agreement=tuple(done(find_agreement(turns))),
    )
    return Ledger(audit, leaks, done(sort_out(turns, leaks, repeats, rules)))
