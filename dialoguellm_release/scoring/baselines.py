"""Baselines that cost nothing: what a score has to beat before it says anything."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dialoguellm_release.errors import DataError, MissingExtraError, Problem
from dialoguellm_release.folders import canonical_json, sha256_of_text
from dialoguellm_release.progress import progress
from dialoguellm_release.records import read_records
from dialoguellm_release.schemas.labels import Label
from dialoguellm_release.schemas.recipes.score import ScoreRecipe
from dialoguellm_release.schemas.record import Record
from dialoguellm_release.schemas.scores import BaselineName, System
from dialoguellm_release.scoring.answers import Answer
from dialoguellm_release.scoring.scored import Scored, Task, leak_policy_of, protocol_of, read_task

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

TFIDF = {"ngram_range": (1, 2), "min_df": 2, "sublinear_tf": True}
REGRESSION = {"C": 4.0, "max_iter": 1000, "solver": "newton-cg", "tol": 1e-8}
"""Set once for every corpus, before any was scored; nothing is chosen on a held-out split.

The fit ends at the optimum, of which there is one: the default solver stops so far from it that MELD's
predictions change with the number of threads.
"""


def score_baseline(settings: ScoreRecipe, dataset: Path, name: BaselineName) -> Scored:
    """The answers of a baseline.

    Args:
        name: `majority` gives the commonest label of the training split; `random` draws labels as often as
            they stand there, and is scored by its expected value; `tfidf` is a logistic regression on the
            words of the utterance, `tfidf-context` on those of the context as well.

    Raises:
        DataError: The dataset has no such records, or no training split of the corpus.
        MissingExtraError: scikit-learn is not installed.
    """
    task = read_task(settings, dataset)
    training = list(read_records(dataset, settings.corpus, "train"))
    shares = _shares(training, task.labels)
    policy = leak_policy_of(task, settings.corpus, task.dataset.content_sha256)
    system = System(name=name, kind="baseline")
    if name in ("majority", "random"):
        commonest = max(task.labels, key=lambda label: shares[label])
        drawn = Answer(None, is_drawn=True, scores=tuple(shares.values()))
        return Scored(
            split=task.split,
            answers=[Answer(commonest) if name == "majority" else drawn] * len(task.records),
            protocol=protocol_of(task, settings, leak_policy=policy),
            system=system,
            packages=("numpy",),
            chances=shares if name == "random" else {},
        )
    with_context = name == "tfidf-context"
    context_k = task.dataset.figures.context_k if with_context else 0
    with progress("fit", None):
        answers = _regression(training, task, with_context=with_context)
    return Scored(
        split=task.split,
        answers=answers,
        protocol=protocol_of(task, settings, context_k=context_k, leak_policy=policy),
        system=system.model_copy(
            update={"training_sha256": sha256_of_text(canonical_json({**TFIDF, **REGRESSION}))}
        ),
        packages=("numpy", "scikit-learn", "scipy"),
    )


def _shares(training: Sequence[Record], labels: Sequence[Label]) -> dict[Label, float]:
    counts = Counter(record.output for record in training)
    outside = sorted(set(counts) - set(labels))
    if outside:
        raise DataError(
            Problem(
                training[0].corpus,
                "the training records hold labels that the label space of the corpus lacks",
                expected=", ".join(labels),
                got=", ".join(outside),
                fix="build the dataset again",
            )
        )
    return {label: counts[label] / len(training) for label in labels}


def _regression(training: Sequence[Record], task: Task, *, with_context: bool) -> list[Answer]:
    """A logistic regression on TF-IDF of words and pairs of words; the context has features of its own."""
    try:
        from scipy.sparse import hstack
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import LogisticRegression
    except ModuleNotFoundError as error:
        raise MissingExtraError("score", str(error.name)) from error

    def texts(records: Sequence[Record]) -> list[list[str]]:
        columns = [[record.input for record in records]]
        return [*columns, ["\n".join(record.context) for record in records]] if with_context else columns

    fitted: list[csr_matrix] = []
    held_out: list[csr_matrix] = []
    try:
        for known, new in zip(texts(training), texts(task.records), strict=True):
            vectorizer = TfidfVectorizer(**TFIDF)
            fitted.append(vectorizer.fit_transform(known))
            held_out.append(vectorizer.transform(new))
        references = [record.output for record in training]
        model = LogisticRegression(**REGRESSION).fit(hstack(fitted), references)
    except ValueError as error:
        problem = Problem(training[0].corpus, f"the training split does not do for this baseline: {error}")
        raise DataError(problem) from error
    place = {label: index for index, label in enumerate(model.classes_)}
    answers = []
    for row in model.predict_proba(hstack(held_out)).tolist():
        scores = tuple(row[place[label]] if label in place else 0.0 for label in task.labels)
        answers.append(Answer(task.labels[scores.index(max(scores))], scores=scores))
    return answers
