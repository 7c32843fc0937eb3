"""The tables and pictures of a dataset card: counts beside the paper's, lengths, leakage, agreement."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from dialoguellm_release.cards.card import table
from dialoguellm_release.layout import AGREEMENT_FIGURE, COUNT_FIGURES
from dialoguellm_release.render import numbers
from dialoguellm_release.schemas.audit import Agreement, AuditFigures, RepeatCounts
from dialoguellm_release.schemas.claims import ClaimsRecipe
from dialoguellm_release.schemas.corpus import CorpusEntry
from dialoguellm_release.schemas.counts import Reconciliation, Sizes, Spread
from dialoguellm_release.schemas.dataset_manifest import DatasetFigures
from dialoguellm_release.schemas.labels import CorpusName

Registry = Mapping[CorpusName, CorpusEntry]


def label_share_table(figures: DatasetFigures, claims: ClaimsRecipe | None) -> str:
    """Training records per label over all corpora, with the paper's percentages beside them."""
    labels = figures.training_labels
    printed = claims.label_percentages if claims else {}
    rows = [
        (
            label,
            numbers.count(count),
            numbers.percent_of(count, sum(labels.values())),
            *([f"{printed[label]:.1f} %" if label in printed else "none printed"] if printed else []),
        )
        for label, count in labels.items()
    ]
    return table(("Label", "Training records", "Share", *(["Paper"] if printed else [])), rows)


def length_table(figures: DatasetFigures, corpora: Registry) -> str:
    """Lengths and gaps per corpus and split."""
    rows = [
        (
            corpora[name].title,
            split,
            _in_short(one.dialogue_lengths),
            _in_short(one.utterance_lengths),
            f"{numbers.count(one.records_after_gap)} ({numbers.count(one.missing_turns)})",
        )
        for name, splits in figures.statistics.items()
        for split, one in splits.items()
    ]
    header = ("Corpus", "Split", "Utterances a dialogue", "Words an utterance", "Records after a gap")
    return table(header, rows) if rows else ""


def pictures(
    figures: DatasetFigures, claims: ClaimsRecipe | None, corpora: Registry, paths: Collection[str]
) -> list[str]:
    """The figures among the files, as Markdown, with their numbers as alternative text."""
    training = {
        corpora[name].title: one["train"] for name, one in figures.statistics.items() if "train" in one
    }
    dialogues = {title: one.dialogue_lengths for title, one in training.items()}
    utterances = {title: one.utterance_lengths for title, one in training.items()}
    texts = (
        _corpora_in_words(figures, claims, corpora),
        _labels_in_words(figures, claims),
        _lengths_in_words("Utterances per training dialogue", dialogues),
        _lengths_in_words("Words per training utterance", utterances),
        _spaces_in_words(figures, corpora),
    )
    return [f"![{text}]({path})" for path, text in zip(COUNT_FIGURES, texts, strict=True) if path in paths]


def _corpora_in_words(figures: DatasetFigures, claims: ClaimsRecipe | None, corpora: Registry) -> str:
    built = {corpora[name].title: count for name, count in figures.training_dialogues.items()}
    printed = [
        f"{corpora[name].title} {numbers.count(splits['train'].dialogues)}"
        for name, splits in (claims.corpora if claims else {}).items()
        if "train" in splits
    ]
    total = sum(built.values())
    shares = [f"{name} {numbers.count(n)} ({numbers.percent_of(n, total)})" for name, n in built.items()]
    return _beside_the_paper("Training dialogues per corpus", shares, printed)


def _labels_in_words(figures: DatasetFigures, claims: ClaimsRecipe | None) -> str:
    printed = claims.label_percentages if claims else {}
    return _beside_the_paper(
        "Share of each label in the training records",
        _shares(figures.training_labels),
        [f"{label} {share:.1f} %" for label, share in printed.items()],
    )


def _beside_the_paper(title: str, built: list[str], printed: list[str]) -> str:
    words = f"{title}. This build: {', '.join(built)}."
    return f"{words} The paper: {', '.join(printed)}." if printed else words


def _lengths_in_words(title: str, lengths: Mapping[str, Spread]) -> str:
    parts = [f"{corpus} {_in_short(one)}" for corpus, one in lengths.items()]
    return f"{title}: median (5th to 95th percentile; longest). {', '.join(parts)}."


def _spaces_in_words(figures: DatasetFigures, corpora: Registry) -> str:
    parts = []
    for name, corpus in figures.corpora.items():
        counts = corpus.labels.get("train", {})
        shares = _shares(dict.fromkeys(corpus.label_space, 0) | counts)
        parts.append(f"{corpora[name].title}: {', '.join(shares)}.")
    return f"The labels of each corpus, and their share of its training records. {' '.join(parts)}"


def _shares(counts: Mapping[str, int]) -> list[str]:
    total = sum(counts.values())
    return [f"{label} {numbers.percent_of(count, total)}" for label, count in counts.items()]


def _in_short(one: Spread) -> str:
    return f"{one.median} ({one.p5} to {one.p95}; {one.maximum})"


def reconciliation_table(figures: DatasetFigures, claims: ClaimsRecipe | None, corpora: Registry) -> str:
    """One row a corpus and split, then the training total; cells are dialogues / utterances.

    Args:
        claims: The paper's figures; what they state of a corpus that was not built gets a row as well.
        corpora: The registry's entries of every corpus that gets a row.
    """
    rows: list[tuple[str, ...]] = [
        (corpora[row.corpus].title, row.split, *map(_sizes, (row.paper, row.public, row.built)), _reason(row))
        for row in figures.reconciliation
    ]
    if claims:
        known = {(row.corpus, row.split) for row in figures.reconciliation}
        for corpus, splits in claims.corpora.items():
            rows += [
                (corpora[corpus].title, split, _sizes(sizes), "-", "not built", "not part of this build")
                for split, sizes in splits.items()
                if (corpus, split) not in known
            ]
    header = ("Corpus", "Split", "Paper", "Public files", "Built", "Why they differ")
    return table(header, [*rows, _total(figures, claims, corpora)])


def _reason(row: Reconciliation) -> str:
    if row.reason:
        return row.reason
    differs = any(side not in (None, row.built) for side in (row.paper, row.public))
    return "not explained" if differs else ""


def _total(figures: DatasetFigures, claims: ClaimsRecipe | None, corpora: Registry) -> tuple[str, ...]:
    """The training dialogues of all corpora; of one whose public files tell no count, the paper's."""
    built = _sizes(Sizes(dialogues=figures.dialogues["train"], utterances=figures.records["train"]))
    if claims is None:
        return ("**all**", "train", "-", "-", built, "")
    training = {row.corpus: row for row in figures.reconciliation if row.split == "train"}
    paper = {name: splits["train"].dialogues for name, splits in claims.corpora.items() if "train" in splits}
    public = {name: row.public.dialogues for name, row in training.items() if row.public}
    of_paper = [corpora[name].title for name in paper if name not in public]
    differences = [
        f"{corpora[name].title} {difference:+,}"
        for name, count in paper.items()
        if (difference := (training[name].built.dialogues if name in training else 0) - count)
    ]
    total = f"{numbers.count(sum((paper | public).values()))} dialogues"
    return (
        "**all**",
        "train",
        f"{numbers.count(claims.training_dialogues)} dialogues",
        f"{total}, with the paper's own count of {', '.join(of_paper)}" if of_paper else total,
        built,
        ", ".join(differences),
    )


def _sizes(sizes: Sizes | None) -> str:
    return f"{numbers.count(sizes.dialogues)} / {numbers.count(sizes.utterances)}" if sizes else "-"


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
    rows = []
    for row in audit.overlaps:
        found = numbers.count(row.utterances_found)
        if row.utterances_found is not None:
            found += f" ({numbers.percent_of(row.utterances_found, row.utterances)})"
        dialogues = (row.dialogues, row.dialogues_with_run, row.dialogues_covered, row.dialogues_identical)
        counts = map(numbers.count, (row.utterances_in_runs, *dialogues))
        share = numbers.percent(row.ngram_share, 2)
        rows.append((row.held_out, row.training, numbers.count(row.utterances), found, *counts, share))
    return table(header, rows) if rows else ""


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
    parts = [
        f"{corpora[one.first].title} and {corpora[one.second].title}: {numbers.count(one.utterances)} "
        f"utterances, {numbers.percent(one.observed)} with the same label."
        for one in _agreements(audit)
    ]
    words = f"How two corpora label the same utterances; the tables give every cell. {' '.join(parts)}"
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
