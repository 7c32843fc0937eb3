"""Baselines that need no language model."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dialoguellm_release.errors import DataError, Problem, needing
from dialoguellm_release.folders import canonical_json, sha256_of_text
from dialoguellm_release.progress import progress
from dialoguellm_release.records import read_columns, read_records
from dialoguellm_release.schemas.record import Record
from dialoguellm_release.schemas.scores import BaselineName, ScoreRecipe, System
from dialoguellm_release.scoring.answers import Answer
from dialoguellm_release.scoring.task import (
    Scored,
    Task,
    check_references,
    leak_policy_of,
    protocol_of,
    read_task,
)
from dialoguellm_release.text import has_unspaced, normalise

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

WORDS = {"ngram_range": (1, 2), "min_df": 2, "sublinear_tf": True}
CHARACTERS = {"analyzer": "char_wb", "ngram_range": (2, 4), "min_df": 2, "sublinear_tf": True}
CONTEXT_WEIGHT = 0.3
REGRESSION = {"C": 3.0, "max_iter": 1000, "solver": "newton-cg", "tol": 1e-9}
"""One setting for every corpus, chosen on validation splits; `docs/scores.md` has the figures.

The characters bring the punctuation, which words of two letters and more leave out. The fit ends at the
optimum, of which there is one: the default solver stops so far from it that predictions change with the
number of threads.
"""

_two_letters_or_more = re.compile(r"\b\w\w+\b").findall


def score_baseline(settings: ScoreRecipe, dataset: Path, name: BaselineName) -> Scored:
    """The answers of a baseline: a constant, the expected value of draws, or a logistic regression."""
    task = read_task(settings, dataset)
    read = read_columns(dataset, settings.corpus, "train")
    counts = Counter(label for columns in read for label in columns["output"].to_pylist())
    check_references(counts.elements(), task.labels, settings.corpus, "train")
    shares = {label: counts[label] / counts.total() for label in task.labels}
    policy = leak_policy_of(task, settings.corpus, task.dataset.content_sha256)
    system = System(name=name, kind="baseline")
    if name in ("majority", "random"):
        commonest = max(task.labels, key=lambda label: shares[label])
        drawn = Answer(None, is_drawn=True, scores=tuple(shares.values()))
        return Scored(
            split=task.split,
            answers=[Answer(commonest) if name == "majority" else drawn] * len(task.records),
            protocol=protocol_of(task, leak_policy=policy),
            system=system,
            chances=shares if name == "random" else {},
        )
    with_context = name == "tfidf-context"
    context_k = task.dataset.figures.context_of(task.settings.corpus) if with_context else 0
    weights = {"context_weight": CONTEXT_WEIGHT, "regression": REGRESSION}
    settings_of_fit: dict[str, object] = {"words": WORDS, "characters": CHARACTERS, **weights}
    with progress("fit", None):
        training = list(read_records(dataset, settings.corpus, "train"))
        answers = _regression(training, task, with_context=with_context)
    return Scored(
        split=task.split,
        answers=answers,
        protocol=protocol_of(task, context_k=context_k, leak_policy=policy),
        system=system.model_copy(update={"training_sha256": sha256_of_text(canonical_json(settings_of_fit))}),
    )


def _regression(training: Sequence[Record], task: Task, *, with_context: bool) -> list[Answer]:
    """A logistic regression on TF-IDF; the context has separate features of lower weight."""
    with needing("score"):
        from scipy.sparse import hstack
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import LogisticRegression

    def utterances(records: Sequence[Record]) -> list[str]:
        return [record.input for record in records]

    def contexts(records: Sequence[Record]) -> list[str]:
        return ["\n".join(record.context) for record in records]

    blocks = [(utterances, WORDS, 1.0), (utterances, CHARACTERS, 1.0)]
    if with_context:
        blocks.append((contexts, WORDS, CONTEXT_WEIGHT))
    fitted: list[csr_matrix] = []
    held_out: list[csr_matrix] = []
    try:
        for texts, settings, weight in blocks:
            splits_words = {} if "analyzer" in settings else {"tokenizer": _words, "token_pattern": None}
            vectorizer = TfidfVectorizer(**settings, **splits_words)
            fitted.append(weight * vectorizer.fit_transform(texts(training)))
            held_out.append(weight * vectorizer.transform(texts(task.records)))
        references = [record.output for record in training]
        model = LogisticRegression(**REGRESSION).fit(hstack(fitted), references)
    except ValueError as error:
        what = f"the training split does not suffice for this baseline: {error}"
        problem = Problem(training[0].corpus, what, code="score.baseline_not_fitted")
        raise DataError(problem) from error
    place = {label: index for index, label in enumerate(model.classes_)}
    answers = []
    for row in model.predict_proba(hstack(held_out)).tolist():
        scores = tuple(row[place[label]] if label in place else 0.0 for label in task.labels)
        answers.append(Answer(task.labels[scores.index(max(scores))], scores=scores))
    return answers


def _words(text: str) -> list[str]:
    """Words of two letters or more; in a script without spaces between words, each character."""
    if not has_unspaced(text):
        return _two_letters_or_more(text)
    return [word for word in normalise(text).split() if len(word) > 1 or has_unspaced(word)]
