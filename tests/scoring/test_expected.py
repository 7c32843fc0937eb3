"""Expected values against the mean over every outcome, one by one."""

from __future__ import annotations

from itertools import product
from math import comb
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dialoguellm_release.resources import metric_functions
from dialoguellm_release.scoring.metrics import expected_counts, f1_per_label, metrics_of

scores = metric_functions("erc_scores")
LABELS = 3
counts = st.lists(
    st.lists(st.integers(0, 3), min_size=LABELS + 1, max_size=LABELS + 1), min_size=LABELS, max_size=LABELS
)
chances = st.sampled_from([(0.5, 0.3, 0.2), (0.25, 0.25, 0.0), (1 / 3, 1 / 3, 1 / 3), (0.0, 1.0, 0.0)])


def by_outcome(fixed: Any, drawn: list[int], chance: Any) -> dict[str, float]:
    """The mean of each metric over all ways in which the draws may fall."""
    sides = [*chance, 1 - sum(chance)]
    total: dict[str, float] = {}
    for fallen in product(range(LABELS + 1), repeat=len(drawn)):
        matrix = np.array(fixed)
        for reference, side in zip(drawn, fallen, strict=True):
            matrix[reference, side] += 1
        weight = float(np.prod([sides[side] for side in fallen]))
        each = scores.f1_per_label(matrix)
        values = {
            "accuracy": scores.accuracy(matrix),
            "weighted_f1": scores.weighted_f1(matrix),
            "macro_f1": scores.macro_f1(matrix),
            "micro_f1": scores.micro_f1(matrix),
            "invalid": scores.invalid(matrix),
            "micro_f1_without": scores.micro_f1(matrix, 2),
            "f1 of the first": each[0],
        }
        for name, value in values.items():
            total[name] = total.get(name, 0.0) + weight * float(value)
    return total


@settings(max_examples=60)
@given(counts, st.lists(st.integers(0, LABELS - 1), max_size=4), chances)
def test_they_are_the_means_over_all_outcomes(
    fixed: list[list[int]], drawn: list[int], chance: tuple[float, ...]
) -> None:
    column = [[drawn.count(label)] for label in range(LABELS)]
    cells = np.hstack([np.array(fixed), column]).astype(float)
    values = metrics_of(cells, np.array(chance), 2)
    found = {str(name): float(value) for name, value in values.items()}
    found["f1 of the first"] = float(f1_per_label(cells, np.array(chance))[0])
    assert found == pytest.approx(by_outcome(fixed, drawn, chance), abs=1e-10)


@pytest.mark.parametrize(
    ("references", "others", "chance"), [(50, 2560, 0.02), (1256, 1354, 0.47), (1, 9, 0.1)]
)
def test_a_random_label_has_the_f1_of_the_binomial_sum(references: int, others: int, chance: float) -> None:
    """With n references among N records, F1 is 2·H/(n + H + M), H hits and M misses, both binomial."""
    total = references + others
    cells = np.zeros((2, 4))
    cells[:, -1] = references, others
    found = f1_per_label(cells, np.array([chance, 1 - chance]))[0]
    reciprocals = [
        float(
            comb(total - 1, hits)
            * chance**hits
            * (1 - chance) ** (total - 1 - hits)
            / (references + 1 + hits)
        )
        if total < 500
        else np.exp(
            sum(np.log(np.arange(total - hits, total)))
            - sum(np.log(np.arange(1, hits + 1)))
            + hits * np.log(chance)
            + (total - 1 - hits) * np.log1p(-chance)
        )
        / (references + 1 + hits)
        for hits in range(total)
    ]
    assert found == pytest.approx(2 * references * chance * sum(reciprocals), rel=1e-9)


def test_without_draws_they_are_the_metric_itself() -> None:
    cells = np.array([[3.0, 1.0, 1.0, 0.0], [0.0, 2.0, 0.0, 0.0]])
    found = metrics_of(cells, np.zeros(2), None)
    assert list(found) == ["accuracy", "weighted_f1", "macro_f1", "micro_f1", "invalid"]
    assert float(found["weighted_f1"]) == float(scores.weighted_f1(cells[:, :-1]))


def test_draws_are_shared_out_in_the_confusion_matrix() -> None:
    cells = np.array([[1.0, 0.0, 0.0, 4.0], [0.0, 2.0, 0.0, 0.0]])
    assert expected_counts(cells, np.array([0.5, 0.25])).tolist() == [[3.0, 1.0, 1.0], [0.0, 2.0, 0.0]]
