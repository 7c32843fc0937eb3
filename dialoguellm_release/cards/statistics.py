"""Tables of lengths, gaps and label shares, and the figures with words for those who do not see them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from dialoguellm_release.cards.markdown import table
from dialoguellm_release.layout import COUNT_FIGURES
from dialoguellm_release.render import numbers
from dialoguellm_release.schemas.claims import ClaimsRecipe
from dialoguellm_release.schemas.corpus import CorpusEntry
from dialoguellm_release.schemas.counts import SplitStatistics, Spread
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
