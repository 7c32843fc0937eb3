"""The expected value of every metric where some answers are drawn at random: computed, not drawn.

Why: the authors' scripts answer with dice where they find no label, and a random baseline does so
throughout; one throw says little, and the mean over all throws needs none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dialoguellm_release.resources import metric_functions
from dialoguellm_release.schemas.scores import MetricName

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Cells = NDArray[np.float64]

NODES = 32
"""Of the quadrature."""


def metrics_of(cells: Cells, chances: Cells, without: int | None) -> dict[MetricName, Cells]:
    """Every metric of some sums of cells, any number of them at once.

    Args:
        cells: Shape (..., labels, labels + 2): row the reference, column the prediction, then the invalid
            predictions, then those left to chance.
        chances: The probability of each label in a draw; what is missing to 1 draws no label at all.
        without: The place of the label that `micro_f1_without` leaves out; None leaves the metric out.
    """
    scores = metric_functions("erc_scores")
    counts, drawn = cells[..., :-1], cells[..., -1]
    if not drawn.any():
        found: dict[MetricName, Cells] = {
            "accuracy": scores.accuracy(counts),
            "weighted_f1": scores.weighted_f1(counts),
            "macro_f1": scores.macro_f1(counts),
            "micro_f1": scores.micro_f1(counts),
            "invalid": scores.invalid(counts),
        }
        return found if without is None else found | {"micro_f1_without": scores.micro_f1(counts, without)}
    labels = range(len(chances))
    total = cells.sum((-2, -1))
    support = cells.sum(-1)
    f1 = f1_per_label(cells, chances)
    hits = (counts.diagonal(axis1=-2, axis2=-1) + drawn * chances).sum(-1)
    found = {
        "accuracy": _divided(hits, total),
        "weighted_f1": _divided((f1 * support).sum(-1), total),
        "macro_f1": f1.mean(-1),
        "micro_f1": _f1_over(cells, chances, list(labels)),
        "invalid": _divided(counts[..., -1].sum(-1) + drawn.sum(-1) * (1 - chances.sum()), total),
    }
    if without is not None:
        kept = [label for label in labels if label != without]
        found["micro_f1_without"] = _f1_over(cells, chances, kept)
    return found


def f1_per_label(cells: Cells, chances: Cells) -> Cells:
    """The expected F1 of each label, in the last dimension."""
    import numpy as np

    return np.stack([_f1_over(cells, chances, [label]) for label in range(len(chances))], axis=-1)


def expected_counts(cells: Cells, chances: Cells) -> Cells:
    """The expected confusion matrix: what is left to chance is shared out among the labels."""
    import numpy as np

    counts, drawn = cells[..., :-1], cells[..., -1:]
    shared_out: Cells = counts + drawn * np.append(chances, max(0.0, 1 - chances.sum()))
    return shared_out


def _f1_over(cells: Cells, chances: Cells, labels: list[int]) -> Cells:
    """The expected value of 2·hits / (references + predictions), both over some labels together.

    A draw that hits is itself a prediction, so beside it stand the other draws: with m draws that give
    one of the labels with probability s, and B(m) of them doing so, the expected value is
    2·(hits·E[1/(n + B(m))] + expected drawn hits·E[1/(n + 1 + B(m - 1))]), n the references and the
    predictions that are not drawn.
    """
    counts, drawn = cells[..., :-1], cells[..., -1]
    hits = counts.diagonal(axis1=-2, axis2=-1)[..., labels].sum(-1)
    drawn_hits = (drawn * chances)[..., labels].sum(-1)
    fixed = cells.sum(-1)[..., labels].sum(-1) + counts[..., labels].sum((-2, -1))
    draws = drawn.sum(-1)
    chance = min(1.0, float(chances[labels].sum()))
    others = _mean_reciprocal(fixed + 1, (draws - 1).clip(0), chance)
    f1: Cells = 2 * (hits * _mean_reciprocal(fixed, draws, chance) + drawn_hits * others)
    return f1


def _mean_reciprocal(offset: Cells, draws: Cells, chance: float) -> Cells:
    """E[1 / (offset + B)], B the hits among so many draws, each with the same chance; 0 where offset is 0.

    As 1/n is the integral of exp(-n·u) over u from 0, this is that of exp(-offset·u)·(1 - chance +
    chance·exp(-u))^draws, which Gauss-Laguerre quadrature gives to twelve digits (tested against the sum).
    """
    import numpy as np

    nodes, weights = np.polynomial.laguerre.laggauss(NODES)
    mean = np.maximum(offset + draws * chance, 1.0)
    total = np.zeros(np.shape(mean))
    for node, weight in zip(nodes, weights, strict=True):
        at = node / mean
        total += weight * np.exp(node - offset * at + draws * np.log1p(chance * np.expm1(-at)))
    return np.asarray(np.where(offset > 0, total / mean, 0.0), dtype=np.float64)


def _divided(part: Cells, whole: Cells) -> Cells:
    import numpy as np

    return np.divide(part, whole, out=np.zeros(np.shape(part)), where=whole > 0)
