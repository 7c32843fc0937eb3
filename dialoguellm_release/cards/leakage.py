"""Tables of the leakage ledger: parts, overlaps, repeats, and how far corpora agree."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from dialoguellm_release.cards.card import table
from dialoguellm_release.layout import AGREEMENT_FIGURE
from dialoguellm_release.render import numbers
from dialoguellm_release.schemas.audit import Agreement, AuditFigures, Overlap, RepeatCounts
from dialoguellm_release.schemas.corpus import CorpusEntry
from dialoguellm_release.schemas.dataset_manifest import DatasetFigures
from dialoguellm_release.schemas.labels import CorpusName

Registry = Mapping[CorpusName, CorpusEntry]


def training_part_table(figures: DatasetFigures, corpora: Registry) -> str:
    """What became of the training records of each corpus."""
    rows = []
    for name, corpus in figures.corpora.items():
        if parts := corpus.parts.get("train"):
            counts = (parts.leaked, parts.conflicts, parts.duplicates, parts.clean)
            rows.append((corpora[name].title, numbers.count(sum(counts)), *map(numbers.count, counts)))
    header = ("Corpus", "Training records", "Leak", "Lose a conflict", "Duplicates", "Clean")
    return table(header, rows)


def held_out_part_table(figures: DatasetFigures, corpora: Registry) -> str:
    """How many held-out records of each corpus leak."""
    rows = []
    for name, corpus in figures.corpora.items():
        for split, parts in corpus.parts.items():
            if split != "train":
                records = parts.leaked + parts.clean
                leaked = f"{numbers.count(parts.leaked)} ({numbers.percent_of(parts.leaked, records)})"
                rows.append(
                    (corpora[name].title, split, numbers.count(records), leaked, numbers.count(parts.clean))
                )
    return table(("Corpus", "Split", "Records", "Leak", "Clean"), rows)


def overlap_table(audit: AuditFigures) -> str:
    """The pairs of splits that have something in common."""
    header = (
        "Held out",
        "Training",
        "Utterances of 5 words or more",
        "found there",
        "Utterances in runs",
        "Dialogues",
        "with a run",
        "covered",
        "identical",
        "8-grams found",
    )
    return table(header, map(_overlap_cells, audit.overlaps)) if audit.overlaps else ""


def repeats_in_words(counts: RepeatCounts) -> str:
    """How many records say the same in the same context."""
    return (
        f"{numbers.count(counts.records)} records in {numbers.count(counts.groups)} groups; "
        f"{numbers.count(counts.groups_of_5_words)} groups have a text of 5 words or more, "
        f"{numbers.count(counts.groups_across_corpora)} have records of several corpora"
    )


def agreement_table(audit: AuditFigures, corpora: Registry) -> str:
    """How far each two corpora agree that have utterances in common."""
    rows = [
        (
            f"{corpora[one.first].title} and {corpora[one.second].title}",
            numbers.count(one.utterances),
            numbers.percent(one.observed),
            "not defined" if one.kappa is None else f"{one.kappa:.3f}",
            numbers.count(one.ambiguous),
        )
        for one in _agreements(audit)
    ]
    header = ("Corpora", "Utterances in common", "Same label", "Cohen's kappa", "Ambiguous, left out")
    return table(header, rows) if rows else ""


def agreement_matrices(audit: AuditFigures, corpora: Registry) -> list[tuple[str, str, str]]:
    """Of each two corpora their titles, and what the second one calls what the first one calls so."""
    return [(corpora[one.first].title, corpora[one.second].title, _matrix(one)) for one in _agreements(audit)]


def agreement_picture(audit: AuditFigures, corpora: Registry, paths: Collection[str]) -> str:
    """The heat map as Markdown; empty where it is not among the files."""
    if AGREEMENT_FIGURE not in paths:
        return ""
    told = [
        f"{corpora[one.first].title} and {corpora[one.second].title}: {numbers.count(one.utterances)} "
        f"utterances, {numbers.percent(one.observed)} with the same label."
        for one in _agreements(audit)
    ]
    words = f"How two corpora label the same utterances; the tables give every cell. {' '.join(told)}"
    return f"![{words}]({AGREEMENT_FIGURE})"


def _agreements(audit: AuditFigures) -> list[Agreement]:
    return [one for one in audit.agreement if one.utterances]


def _matrix(one: Agreement) -> str:
    columns = list(dict.fromkeys(column for cells in one.counts.values() for column in cells))
    rows = [
        (
            label,
            *(
                f"{100 * one.shares[label][column]:.0f} % ({numbers.count(cells[column])})"
                if cells[column]
                else "-"
                for column in columns
            ),
        )
        for label, cells in one.counts.items()
    ]
    return table(("", *columns), rows)


def _overlap_cells(row: Overlap) -> tuple[str, ...]:
    return (
        row.held_out,
        row.training,
        numbers.count(row.utterances),
        _found(row),
        numbers.count(row.utterances_in_runs),
        numbers.count(row.dialogues),
        numbers.count(row.dialogues_with_run),
        numbers.count(row.dialogues_covered),
        numbers.count(row.dialogues_identical),
        numbers.percent(row.ngram_share, 2),
    )


def _found(row: Overlap) -> str:
    if row.utterances_found is None:
        return numbers.MISSING
    share = numbers.percent_of(row.utterances_found, row.utterances)
    return f"{numbers.count(row.utterances_found)} ({share})"
