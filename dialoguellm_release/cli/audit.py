"""The audit of a dataset as text: the overlaps as a table, the other parts as a few lines of numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dialoguellm_release.cli.output import table
from dialoguellm_release.leakage.audit import audit_figures
from dialoguellm_release.schemas.audit import MIN_RUN, MIN_WORDS

if TYPE_CHECKING:
    from dialoguellm_release.schemas.audit import Agreement, Audit, Overlap, RepeatCounts

HEADER = (
    "held out",
    "training",
    "dialogues",
    "with run",
    "covered",
    "identical",
    "utterances",
    "found",
    "in runs",
    "8-grams",
)
LEGEND = f"""\
with run: dialogues that share {MIN_RUN} or more consecutive utterances; covered: all of their utterances
are in such runs; utterances: of {MIN_WORDS} words or more; found: those that stand there word for word"""


def as_text(audit: Audit) -> str:
    """Every pair of splits as a row, then duplicates, conflicts and agreement in numbers."""
    figures = audit_figures(audit)
    parts = [
        f"{table([HEADER, *map(_cells, audit.overlaps)])}\n{LEGEND}",
        f"duplicates (same text, context and label, in training): {_totals(figures.duplicates)}",
        f"conflicts (same text and context, other labels): {_totals(figures.conflicts)}",
    ]
    if audit.agreement:
        heading = "agreement on the utterances that two corpora share"
        parts.append("\n".join([heading, *map(_line, audit.agreement)]))
    return "\n\n".join(parts)


def _cells(row: Overlap) -> tuple[str, ...]:
    counts = (
        row.dialogues,
        row.dialogues_with_run,
        row.dialogues_covered,
        row.dialogues_identical,
        row.utterances,
        row.utterances_found,
        row.utterances_in_runs,
    )
    share = "-" if row.ngram_share is None else f"{100 * row.ngram_share:.2f} %"
    return (row.held_out, row.training, *(f"{count:,}" for count in counts), share)


def _totals(counts: RepeatCounts) -> str:
    return (
        f"{counts.records:,} records in {counts.groups:,} groups; {counts.groups_of_5_words:,} groups of "
        f"{MIN_WORDS} words or more, {counts.groups_across_corpora:,} across corpora"
    )


def _line(row: Agreement) -> str:
    pair = f"  {row.first} and {row.second}: "
    if row.observed is None:
        return f"{pair}none"
    kappa = "not defined" if row.kappa is None else f"{row.kappa:.3f}"
    return (
        f"{pair}{row.utterances:,}, of which {100 * row.observed:.1f} % have the same label, kappa {kappa}; "
        f"{row.ambiguous:,} ambiguous ones left out"
    )
