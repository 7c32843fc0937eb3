"""The audit of a dataset: all comparisons, their figures, and the audit as a file."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from dialoguellm_release.leakage.agreement import find_agreement
from dialoguellm_release.leakage.leaks import find_leaks, find_overlaps
from dialoguellm_release.leakage.repeats import decide, find_conflicts, find_duplicates, find_repeats
from dialoguellm_release.leakage.shared import find_ngrams, find_shared
from dialoguellm_release.leakage.turns import Turns
from dialoguellm_release.schemas.audit import Audit, LabelledId
from dialoguellm_release.schemas.labels import CorpusName
from dialoguellm_release.schemas.recipes.dataset import CleanRules

if TYPE_CHECKING:
    from dialoguellm_release.leakage.turns import Bits, Decisions

Found = TypeVar("Found")
COMPARISONS = 9
"""How many comparisons a ledger makes."""


@dataclass(frozen=True)
class Ledger:
    """What an audit found.

    Attributes:
        leaks: For the record of each turn, the splits that it shares something with, as bits.
        decisions: For the record of each turn, whether it is clean, and if not why.
    """

    audit: Audit
    leaks: Bits
    decisions: Decisions


def make_ledger(turns: Turns, rules: CleanRules, advance: Callable[[int], None]) -> Ledger:
    """The ledger of the turns of a dataset.

    Args:
        advance: Called after each comparison.
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
    return Ledger(audit, leaks, done(decide(turns, leaks, repeats, rules)))


def audit_as_json(audit: Audit) -> str:
    """The text of `audit.json`: what `dataset audit --json` prints."""
    return audit.model_dump_json(indent=2) + "\n"


def publishable_audit(audit: Audit, withheld: Collection[CorpusName]) -> Audit:
    """The audit with the names of splits in the place of the ids of withheld corpora; every count stays.

    Why: that a withheld split has a published text too is a finding; which of its records has it may not be
    published.
    """

    def shown(record_id: str) -> str:
        corpus, split, _ = record_id.split("/", 2)
        return f"{corpus}/{split}" if corpus in withheld else record_id

    def labelled(one: LabelledId) -> LabelledId:
        return one.model_copy(update={"id": shown(one.id)})

    duplicates = (one.model_copy(update={"ids": tuple(map(shown, one.ids))}) for one in audit.duplicates)
    conflicts = (
        one.model_copy(update={"records": tuple(map(labelled, one.records))}) for one in audit.conflicts
    )
    return audit.model_copy(update={"duplicates": tuple(duplicates), "conflicts": tuple(conflicts)})


def audit_between(audit: Audit, second: Collection[CorpusName]) -> Audit:
    """The part of an audit of two datasets that concerns both of them.

    Args:
        audit: Of all their records together.
        second: The corpora of one of the two.
    """

    def crosses(*names: str) -> bool:
        return len({name.split("/")[0] in second for name in names}) > 1

    return Audit(
        overlaps=tuple(one for one in audit.overlaps if crosses(one.held_out, one.training)),
        duplicates=tuple(one for one in audit.duplicates if crosses(*one.ids)),
        conflicts=tuple(one for one in audit.conflicts if crosses(*(two.id for two in one.records))),
        agreement=tuple(one for one in audit.agreement if crosses(one.first, one.second)),
    )
