"""The reconciliation table: the paper's counts beside the public files' and the built ones, and why."""

from __future__ import annotations

from collections.abc import Mapping

from dialoguellm_release.cards.markdown import table
from dialoguellm_release.render import numbers
from dialoguellm_release.schemas.claims import ClaimsRecipe
from dialoguellm_release.schemas.corpus import CorpusEntry
from dialoguellm_release.schemas.counts import Reconciliation, Sizes
from dialoguellm_release.schemas.dataset_manifest import DatasetFigures
from dialoguellm_release.schemas.labels import CorpusName

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
