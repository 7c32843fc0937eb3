"""The audit of a dataset: all comparisons, their figures, and the audit as a file."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from dialoguellm_release.leakage.agreement import find_agreement
from dialoguellm_release.leakage.leaks import find_leaks, find_overlaps
from dialoguellm_release.leakage.repeats import find_conflicts, find_duplicates, find_repeats, sort_out
from dialoguellm_release.leakage.shared import find_ngrams, find_shared
from dialoguellm_release.leakage.turns import Turns
from dialoguellm_release.schemas.audit import MIN_WORDS, Audit, AuditFigures, Overlap, RepeatCounts
from dialoguellm_release.schemas.labels import CorpusName
from dialoguellm_release.schemas.recipes.dataset import CleanRules

if TYPE_CHECKING:
    from dialoguellm_release.leakage.turns import Bits, Fates

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


def audit_as_json(audit: Audit) -> str:
    """The text of `audit.json`: what `dataset audit --json` prints."""
    return audit.model_dump_json(indent=2) + "\n"


def audit_figures(audit: Audit) -> AuditFigures:
    """The audit in numbers, without the id of a record."""
    found = tuple(row for row in audit.overlaps if _has_something(row))
    return AuditFigures(
        overlaps=found,
        pairs_without_overlap=len(audit.overlaps) - len(found),
        duplicates=_counts([(group.words, group.ids) for group in audit.duplicates]),
        conflicts=_counts(
            [(group.words, tuple(one.id for one in group.records)) for group in audit.conflicts]
        ),
        agreement=audit.agreement,
    )


def publishable_audit(audit: Audit, withheld: Collection[CorpusName]) -> Audit:
    """The audit with the names of splits in the place of the ids of withheld corpora; every count stays.

    Why: that a published text stands in a withheld split as well is a finding; in which record is not ours
    to tell.
    """

    def told(record_id: str) -> str:
        corpus, split, _ = record_id.split("/", 2)
        return f"{corpus}/{split}" if corpus in withheld else record_id

    return audit.model_copy(
        update={
            "duplicates": tuple(
                group.model_copy(update={"ids": tuple(map(told, group.ids))}) for group in audit.duplicates
            ),
            "conflicts": tuple(
                group.model_copy(
                    update={
                        "records": tuple(one.model_copy(update={"id": told(one.id)}) for one in group.records)
                    }
                )
                for group in audit.conflicts
            ),
        }
    )


def _has_something(row: Overlap) -> bool:
    counts = (row.utterances_found, row.dialogues_with_run, row.dialogues_identical)
    return any(counts) or bool(row.ngram_share)


def _counts(groups: Sequence[tuple[int, tuple[str, ...]]]) -> RepeatCounts:
    return RepeatCounts(
        groups=len(groups),
        records=sum(len(ids) for _, ids in groups),
        groups_of_5_words=sum(words >= MIN_WORDS for words, _ in groups),
        groups_across_corpora=sum(len({name.split("/")[0] for name in ids}) > 1 for _, ids in groups),
    )
