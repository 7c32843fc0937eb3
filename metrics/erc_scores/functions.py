"""The scores of emotion recognition in conversations, as plain functions over labels.

Why: a metric is published alone, as a Space, and is used by this project's scorer too; this file
needs numpy and nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Labels = Sequence[str] | Sequence[int] | NDArray[Any]
Counts = NDArray[np.int64]


def erc_scores(references: Labels, predictions: Labels) -> dict[str, float]:
    """Accuracy and support-weighted F1 as fractions, with the keys `accuracy` and `weighted_f1`.

    Args:
        references: The true label of each utterance: names, or integer ids.
        predictions: The predicted ones, of the same kind and in the same order.

    Raises:
        ValueError: There is nothing to score, the lengths differ, or names meet ids.

    >>> erc_scores(["anger", "neutral", "neutral"], ["anger", "neutral", "anger"])["weighted_f1"]
    0.6666666666666666
    """
    _, confusion = confusion_matrix(references, predictions)
    return {"accuracy": accuracy(confusion), "weighted_f1": weighted_f1(confusion)}


def confusion_matrix(references: Labels, predictions: Labels) -> tuple[NDArray[Any], Counts]:
    """The classes that occur, sorted, and how often each (row, reference) was taken for each (column).

    Raises:
        ValueError: There is nothing to score, the lengths differ, or names meet ids.
    """
    true, predicted = _column("references", references), _column("predictions", predictions)
    if len(true) != len(predicted):
        raise ValueError(f"{len(true)} references, but {len(predicted)} predictions")
    if len(true) == 0:
        raise ValueError("nothing to score: references and predictions are empty")
    if true.dtype.kind != predicted.dtype.kind:
        raise ValueError("references and predictions must both be label names or both be integer ids")
    classes, ids = np.unique(np.concatenate([true, predicted]), return_inverse=True)
    cells = ids[: len(true)] * len(classes) + ids[len(true) :]
    counts = np.bincount(cells, minlength=len(classes) ** 2)
    return classes, counts.reshape(len(classes), len(classes)).astype(np.int64)


def accuracy(confusion: Counts) -> float:
    """The fraction of utterances whose label is right."""
    return float(np.trace(confusion) / confusion.sum())


def weighted_f1(confusion: Counts) -> float:
    """The mean of the F1 of each class, weighted by how often the class is a reference.

    A class that is predicted but never a reference has weight 0. A class that is a reference but never
    predicted has F1 0.
    """
    support = confusion.sum(axis=1)
    return float(np.average(f1_per_class(confusion), weights=support))


def f1_per_class(confusion: Counts) -> NDArray[np.float64]:
    """F1 = 2·hits / (references + predictions) of each class.

    Every class of a confusion matrix occurs at least once, so the divisor is never 0.
    """
    hits = np.diagonal(confusion)
    return np.asarray(2 * hits / (confusion.sum(axis=0) + confusion.sum(axis=1)), dtype=np.float64)


def _column(name: str, labels: Labels) -> NDArray[Any]:
    if isinstance(labels, str):
        raise ValueError(f"{name} must be a list of labels, not one string")
    column = np.asarray(labels)
    if column.ndim != 1:
        raise ValueError(f"{name} must be a flat list of labels")
    if column.size == 0:
        return column
    kinds = {type(label) for label in labels}
    if column.dtype.kind == "U" and all(issubclass(kind, str) for kind in kinds):
        return column
    if column.dtype.kind in "iu" and bool not in kinds:
        return column.astype(np.int64)
    shown = ", ".join(sorted(kind.__name__ for kind in kinds))
    raise ValueError(f"{name} must be label names or integer ids, not {shown}")
