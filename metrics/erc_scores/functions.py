"""The scores of emotion recognition in conversations, as plain functions over labels and over counts.

Why: a metric is published alone, as a Space, and is used by this project's scorer too; this file
needs numpy and nothing else. The functions over counts take any number of confusion matrices at once,
so a bootstrap is one call.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Labels = Sequence[str] | Sequence[int] | NDArray[Any]
Counts = NDArray[Any]
"""Confusion matrices, shape (..., labels, labels + 1): row the reference, column the prediction, and in the
last column the invalid predictions."""
Values = NDArray[np.float64]

INVALID = "invalid"
"""Stands for an answer that names no label, among label names."""
INVALID_ID = -1
"""The same among label ids."""


def erc_scores(
    references: Labels,
    predictions: Labels,
    labels: Labels | None = None,
    without: str | int | None = None,
) -> dict[str, Any]:
    """Every score at once; fractions from 0 to 1, not percent.

    Args:
        references: The true label of each utterance: names, or integer ids from 0.
        predictions: The predicted ones, of the same kind and in the same order; `invalid` (among ids -1)
            for an answer that names no label, which counts as wrong.
        labels: The label space, in the order of `per_label` and `confusion_matrix`; None takes the labels
            that occur, sorted.
        without: The label that `micro_f1_without` leaves out, one of the labels; None gives None there.

    Returns:
        `accuracy`, `weighted_f1`, `macro_f1`, `micro_f1`, `micro_f1_without`, `invalid`: numbers;
        `per_label`: precision, recall, f1, references and predictions of each label;
        `confusion_matrix`: a row a reference, a column a prediction, the last column the invalid ones.

    Raises:
        ValueError: There is nothing to score, the lengths differ, names meet ids, or a label is not in
            the label space.

    >>> scores = erc_scores(["anger", "neutral", "neutral"], ["anger", "neutral", "invalid"])
    >>> scores["confusion_matrix"]
    [[1, 0, 0], [0, 1, 1]]
    >>> scores["accuracy"], scores["micro_f1"], scores["invalid"]
    (0.6666666666666666, 0.8, 0.3333333333333333)
    """
    space, counts = confusion_matrix(references, predictions, labels)
    if without is not None and without not in space:
        raise ValueError(f"without: {without!r} is none of the labels {', '.join(map(repr, space))}")
    return {
        "accuracy": float(accuracy(counts)),
        "weighted_f1": float(weighted_f1(counts)),
        "macro_f1": float(macro_f1(counts)),
        "micro_f1": float(micro_f1(counts)),
        "micro_f1_without": None if without is None else float(micro_f1(counts, space.index(without))),
        "invalid": float(invalid(counts)),
        "per_label": per_label(space, counts),
        "confusion_matrix": counts.tolist(),
    }


def confusion_matrix(
    references: Labels, predictions: Labels, labels: Labels | None = None
) -> tuple[list[Any], Counts]:
    """The label space, and how often each label (row) was taken for each label or for none (column).

    Raises:
        ValueError: There is nothing to score, the lengths differ, names meet ids, or a label is not in
            the label space.

    >>> confusion_matrix([0, 1, 1], [0, 1, -1])
    ([0, 1], array([[1, 0, 0],
           [0, 1, 1]]))
    """
    true, predicted = label_column("references", references), label_column("predictions", predictions)
    if len(true) != len(predicted):
        raise ValueError(f"{len(true)} references, but {len(predicted)} predictions")
    if len(true) == 0:
        raise ValueError("nothing to score: references and predictions are empty")
    if true.dtype.kind != predicted.dtype.kind:
        raise ValueError("references and predictions must both be label names or both be integer ids")
    sentinel = INVALID if true.dtype.kind == "U" else INVALID_ID
    if (true == sentinel).any():
        raise ValueError(f"references: {sentinel!r} stands for an invalid prediction, not for a label")
    is_valid = predicted != sentinel
    space = _space(labels, np.unique(np.concatenate([true, predicted[is_valid]])))
    place = {label: index for index, label in enumerate(space)}
    rows = np.array([place[label] for label in true.tolist()])
    columns = np.array([place.get(label, len(space)) for label in predicted.tolist()])
    cells = np.bincount(rows * (len(space) + 1) + columns, minlength=len(space) * (len(space) + 1))
    return space, cells.reshape(len(space), len(space) + 1).astype(np.int64)


def accuracy(counts: Counts) -> Values:
    """The share of utterances whose label is right."""
    return _divided(_hits(counts).sum(-1), counts.sum((-2, -1)))


def weighted_f1(counts: Counts) -> Values:
    """The mean of the F1 of each label, weighted by how often the label is a reference."""
    references = counts.sum(-1)
    return _divided((f1_per_label(counts) * references).sum(-1), references.sum(-1))


def macro_f1(counts: Counts) -> Values:
    """The mean of the F1 of each label, every label of the label space with the same weight."""
    return np.asarray(f1_per_label(counts).mean(-1), dtype=np.float64)


def micro_f1(counts: Counts, without: int | None = None) -> Values:
    """F1 over the hits, references and predictions of all labels together.

    Args:
        without: The place of a label that is left out: neither its references nor its predictions count,
            but taking another label for it, or it for another, is still wrong. None leaves out none.
    """
    kept = [place for place in range(counts.shape[-2]) if place != without]
    references, predictions = counts.sum(-1), counts[..., :-1].sum(-2)
    return _divided(
        2 * _hits(counts)[..., kept].sum(-1), references[..., kept].sum(-1) + predictions[..., kept].sum(-1)
    )


def invalid(counts: Counts) -> Values:
    """The share of utterances whose prediction is invalid."""
    return _divided(counts[..., -1].sum(-1), counts.sum((-2, -1)))


def f1_per_label(counts: Counts) -> Values:
    """F1 = 2·hits / (references + predictions) of each label; 0 for one that is neither."""
    return _divided(2 * _hits(counts), counts.sum(-1) + counts[..., :-1].sum(-2))


def per_label(labels: Sequence[Any], counts: Counts) -> dict[Any, dict[str, float | int]]:
    """Precision, recall and F1 of each label, and how often it is a reference and a prediction."""
    hits, references, predictions = _hits(counts), counts.sum(-1), counts[..., :-1].sum(-2)
    precision, recall, f1 = _divided(hits, predictions), _divided(hits, references), f1_per_label(counts)
    return {
        label: {
            "precision": float(precision[place]),
            "recall": float(recall[place]),
            "f1": float(f1[place]),
            "references": int(references[place]),
            "predictions": int(predictions[place]),
        }
        for place, label in enumerate(labels)
    }


def _hits(counts: Counts) -> Counts:
    return np.diagonal(counts[..., :-1], axis1=-2, axis2=-1)


def _divided(part: Counts, whole: Counts) -> Values:
    """The quotient; 0 where there is nothing to divide by."""
    part, whole = np.asarray(part, dtype=np.float64), np.asarray(whole, dtype=np.float64)
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)


def _space(labels: Labels | None, occurring: NDArray[Any]) -> list[Any]:
    """The label space as a list, once it is sure that every label that occurs is in it."""
    if labels is None:
        return list(occurring.tolist())
    column = label_column("labels", labels)
    space = list(column.tolist())
    if len(set(space)) != len(space) or INVALID in space or INVALID_ID in space:
        raise ValueError(f"labels must be distinct, and none of them {INVALID!r} or {INVALID_ID}")
    outside = [label for label in occurring.tolist() if label not in space]
    if outside:
        raise ValueError(
            f"not in the label space {', '.join(map(repr, space))}: {', '.join(map(repr, outside))}; "
            f"an answer that names no label is {INVALID!r}, among ids {INVALID_ID}"
        )
    return space


def label_column(name: str, labels: Labels) -> NDArray[Any]:
    """Labels as an array of names or of ids.

    Args:
        name: Of the argument, for the message.

    Raises:
        ValueError: The labels are neither all names nor all integer ids from 0, or -1.

    >>> label_column("predictions", [0, 0.7])
    Traceback (most recent call last):
    ValueError: predictions must be label names or integer ids, not float, int
    """
    if isinstance(labels, str):
        raise ValueError(f"{name} must be a list of labels, not one string")
    values = list(labels)
    column = np.asarray(values)
    if column.ndim != 1:
        raise ValueError(f"{name} must be a flat list of labels")
    if column.size == 0:
        return column
    kinds = {type(label) for label in values}
    if column.dtype.kind == "U" and all(issubclass(kind, str) for kind in kinds):
        return column
    if column.dtype.kind in "iu" and not any(issubclass(kind, bool | np.bool_) for kind in kinds):
        if column.min() < INVALID_ID or column.max() > np.iinfo(np.int64).max:
            raise ValueError(f"{name}: ids are integers from 0, or {INVALID_ID} for an invalid prediction")
        return column.astype(np.int64)
    shown = ", ".join(sorted(kind.__name__ for kind in kinds))
    raise ValueError(f"{name} must be label names or integer ids, not {shown}")
