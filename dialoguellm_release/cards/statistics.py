"""Statistics of a dataset as tables and pictures, and its counts beside those of the paper."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from dialoguellm_release.cards.card import table
from dialoguellm_release.layout import COUNT_FIGURES
from dialoguellm_release.render import numbers
from dialoguellm_release.schemas.claims import ClaimsRecipe
from dialoguellm_release.schemas.corpus import CorpusEntry
from dialoguellm_release.schemas.counts import Reconciliation, Sizes, SplitStatistics, Spread
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
            f"{printed[label]:.1f} %",
        )
        if label in printed
        else (label, numbers.count(count), numbers.percent_of(count, sum(labels.values())), "none printed")
        for label, count in labels.items()
    ]
    header = ("Label", "Training records", "Share", "Paper")
    return table(header, rows) if printed else table(header[:3], [row[:3] for row in rows])


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
    """The figures among the files, as Markdown; the words that stand for each tell its numbers."""
    told = (
        _corpora_in_words(figures, claims, corpora),
        _labels_in_words(figures, claims),
        _lengths_in_words(
            "Utterances per training dialogue", figures, corpora, lambda one: one.dialogue_lengths
        ),
        _lengths_in_words(
            "Words per training utterance", figures, corpora, lambda one: one.utterance_lengths
        ),
        _spaces_in_words(figures, corpora),
    )
    return [f"![{words}]({path})" for path, words in zip(COUNT_FIGURES, told, strict=True) if path in paths]


def _corpora_in_words(figures: DatasetFigures, claims: ClaimsRecipe | None, corpora: Registry) -> str:
    built = figures.training_dialogues
    total = sum(built.values())
    told = [
        f"{corpora[name].title} {numbers.count(count)} ({numbers.percent_of(count, total)})"
        for name, count in built.items()
    ]
    words = f"Training dialogues per corpus. This build: {', '.join(told)}."
    claimed = claims.corpora if claims else {}
    printed = [
        f"{corpora[name].title} {numbers.count(splits['train'].dialogues)}"
        for name, splits in claimed.items()
        if "train" in splits
    ]
    return f"{words} The paper: {', '.join(printed)}." if printed else words


def _labels_in_words(figures: DatasetFigures, claims: ClaimsRecipe | None) -> str:
    labels = figures.training_labels
    total = sum(labels.values())
    told = [f"{label} {numbers.percent_of(count, total)}" for label, count in labels.items()]
    words = f"Share of each label in the training records. This build: {', '.join(told)}."
    printed = (
        [f"{label} {share:.1f} %" for label, share in claims.label_percentages.items()] if claims else []
    )
    return f"{words} The paper: {', '.join(printed)}." if printed else words


def _lengths_in_words(
    title: str, figures: DatasetFigures, corpora: Registry, lengths_of: Callable[[SplitStatistics], Spread]
) -> str:
    told = [
        f"{corpora[name].title} {_in_short(lengths_of(splits['train']))}"
        for name, splits in figures.statistics.items()
        if "train" in splits
    ]
    return f"{title}: median (5th to 95th percentile; longest). {', '.join(told)}."


def _spaces_in_words(figures: DatasetFigures, corpora: Registry) -> str:
    told = []
    for name, corpus in figures.corpora.items():
        counts = corpus.labels.get("train", {})
        shares = [
            f"{label} {numbers.percent_of(counts.get(label, 0), sum(counts.values()))}"
            for label in corpus.label_space
        ]
        told.append(f"{corpora[name].title}: {', '.join(shares)}.")
    return f"The labels of each corpus, and their share of its training records. {' '.join(told)}"


def _in_short(one: Spread) -> str:
    return f"{one.median} ({one.p5} to {one.p95}; {one.maximum})"


_HEADER = ("Corpus", "Split", "Paper", "Public files", "Built", "Why they differ")


def reconciliation_table(
    figures: DatasetFigures, claims: ClaimsRecipe | None, corpora: Mapping[CorpusName, CorpusEntry]
) -> str:
    """One row a corpus and split, then the training total; cells are dialogues / utterances.

    Args:
        claims: The paper's figures; what they state of a corpus that was not built gets a row as well.
        corpora: The registry's entries of every corpus that gets a row.
    """
    rows = [_row(row, corpora[row.corpus].title) for row in figures.reconciliation]
    if claims:
        known = {(row.corpus, row.split) for row in figures.reconciliation}
        for corpus, splits in claims.corpora.items():
            rows += [
                (corpora[corpus].title, split, _sizes(sizes), "-", "not built", "not part of this build")
                for split, sizes in splits.items()
                if (corpus, split) not in known
            ]
    return table(_HEADER, [*rows, _total(figures, claims, corpora)])


def _row(row: Reconciliation, title: str) -> tuple[str, ...]:
    return (title, row.split, _sizes(row.paper), _sizes(row.public), _sizes(row.built), _reason(row))


def _reason(row: Reconciliation) -> str:
    if row.reason:
        return row.reason
    differs = any(side not in (None, row.built) for side in (row.paper, row.public))
    return "not explained" if differs else ""


def _total(
    figures: DatasetFigures, claims: ClaimsRecipe | None, corpora: Mapping[CorpusName, CorpusEntry]
) -> tuple[str, ...]:
    training = {row.corpus: row for row in figures.reconciliation if row.split == "train"}
    built = _sizes(Sizes(dialogues=figures.dialogues["train"], utterances=figures.records["train"]))
    if claims is None:
        return ("**all**", "train", "-", "-", built, "")
    paper = {
        corpus: splits["train"].dialogues for corpus, splits in claims.corpora.items() if "train" in splits
    }
    public = {corpus: row.public.dialogues for corpus, row in training.items() if row.public}
    differences = {
        corpus: (training[corpus].built.dialogues if corpus in training else 0) - claimed
        for corpus, claimed in paper.items()
    }
    return (
        "**all**",
        "train",
        f"{numbers.count(claims.training_dialogues)} dialogues",
        _public_total(paper | public, [corpora[corpus].title for corpus in paper if corpus not in public]),
        built,
        ", ".join(
            f"{corpora[corpus].title} {difference:+,}"
            for corpus, difference in differences.items()
            if difference
        ),
    )


def _public_total(dialogues: Mapping[CorpusName, int], of_paper: list[str]) -> str:
    """What the public files give, with the paper's own count where they do not tell."""
    total = f"{numbers.count(sum(dialogues.values()))} dialogues"
    return f"{total}, with the paper's own count of {', '.join(of_paper)}" if of_paper else total


def _sizes(sizes: Sizes | None) -> str:
    return f"{numbers.count(sizes.dialogues)} / {numbers.count(sizes.utterances)}" if sizes else "-"
