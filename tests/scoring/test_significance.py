"""Intervals and tests on data whose answer is known beforehand."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialoguellm_release.schemas.scores import Resampling
from dialoguellm_release.scoring.metrics import metrics_of
from dialoguellm_release.scoring.significance import Run, interval, mcnemar, paired_bootstrap, resampled_sums

MANY = Resampling(resamples=20_000)
metrics = partial(metrics_of, chances=np.zeros(2), without=None)


def cells(hits: Any, dialogues: Any) -> Any:
    """Records of the first of two labels, right or taken for the second, in dialogues."""
    table = np.zeros((max(dialogues) + 1, 2, 4))
    for hit, dialogue in zip(hits, dialogues, strict=True):
        table[dialogue, 0, 0 if hit else 1] += 1
    return table


def accuracies(table: Any, resampling: Resampling = MANY) -> Any:
    return np.concatenate([metrics(sums)["accuracy"] for sums in resampled_sums(table, resampling)])


def test_records_that_are_dialogues_of_their_own_have_the_binomial_error() -> None:
    hits = np.arange(400) < 300
    drawn = accuracies(cells(hits, range(400)))
    assert len(drawn) == 20_000
    error = (0.75 * 0.25 / 400) ** 0.5
    assert drawn.mean() == pytest.approx(0.75, abs=3 * error / 100)
    assert drawn.std() == pytest.approx(error, rel=0.02)
    assert interval(drawn, 0.95) == pytest.approx((0.75 - 1.96 * error, 0.75 + 1.96 * error), abs=0.003)


def test_dialogues_that_are_all_right_or_all_wrong_count_as_one_record_each() -> None:
    """400 records in 40 dialogues of one fate: the error is that of 40 records, three times as wide."""
    dialogues = np.repeat(np.arange(40), 10)
    drawn = accuracies(cells(dialogues < 30, dialogues))
    assert drawn.std() == pytest.approx((0.75 * 0.25 / 40) ** 0.5, rel=0.02)


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    draw = np.random.default_rng(7)
    held = 0
    for trial in range(200):
        hits = draw.random(250) < 0.6
        drawn = accuracies(cells(hits, range(250)), Resampling(resamples=400, level=0.9, seed=trial))
        low, high = interval(drawn, 0.9)
        held += low <= 0.6 <= high
    assert 0.84 <= held / 200 <= 0.96


def test_the_same_seed_draws_the_same_and_another_another() -> None:
    table = cells(np.arange(30) < 20, np.arange(30) // 3)
    first, again, other = (accuracies(table, Resampling(resamples=50, seed=seed)) for seed in (1, 1, 2))
    assert (first == again).all()
    assert (first != other).any()


def test_a_run_does_not_differ_from_itself() -> None:
    run = Run(cells(np.arange(60) < 40, np.arange(60) // 6), metrics)
    for difference in paired_bootstrap(run, run, MANY).values():
        assert (difference.value, difference.interval, difference.p_value) == (0.0, (0.0, 0.0), 1.0)


def test_a_run_that_is_better_in_every_dialogue_is_better_beyond_doubt() -> None:
    place = np.arange(300)
    first = Run(cells(place % 10 < 5, place // 10), metrics)
    second = Run(cells(place % 10 < 6, place // 10), metrics)
    found = paired_bootstrap(first, second, MANY)["accuracy"]
    assert found.value == pytest.approx(0.1)
    assert found.interval == pytest.approx((0.1, 0.1))
    assert found.p_value == pytest.approx(2 / 20_001)
    assert paired_bootstrap(second, first, MANY)["accuracy"].value == pytest.approx(-0.1)


def test_the_error_of_a_difference_is_that_of_pairs() -> None:
    """Of 400 records only the second has 60 right, only the first 40: a normal test knows the rest."""
    place = np.arange(400)
    first, second = (place < 200) | (place >= 360), place < 260
    only_second, only_first = ((place >= 200) & (place < 260)).sum(), (place >= 360).sum()
    assert (only_first, only_second) == (40, 60)
    ours, theirs = (Run(cells(hits, place), metrics) for hits in (first, second))
    found = paired_bootstrap(ours, theirs, MANY)["accuracy"]
    error = ((100 / 400 - (20 / 400) ** 2) / 400) ** 0.5
    assert found.interval == pytest.approx((0.05 - 1.96 * error, 0.05 + 1.96 * error), abs=0.004)
    assert found.p_value == pytest.approx(0.0448, abs=0.01)  # of z = 0.05 / error = 2.006


def test_two_runs_of_one_skill_are_rarely_told_apart() -> None:
    draw = np.random.default_rng(11)
    found = []
    for trial in range(100):
        ours, theirs = (Run(cells(draw.random(200) < 0.5, range(200)), metrics) for _ in range(2))
        difference = paired_bootstrap(ours, theirs, Resampling(resamples=400, seed=trial))["accuracy"]
        found.append(difference.p_value)
    assert sum(p_value < 0.05 for p_value in found) <= 12


@pytest.mark.parametrize(
    ("only_first", "only_second", "p_value"),
    [(0, 0, 1.0), (5, 5, 1.0), (1, 9, 22 / 1024), (0, 6, 2 / 64), (6, 0, 2 / 64)],
)
def test_mcnemar_by_hand(only_first: int, only_second: int, p_value: float) -> None:
    assert mcnemar(only_first, only_second) == pytest.approx(p_value)


@given(st.integers(0, 400), st.integers(0, 400))
def test_mcnemar_is_the_binomial_test(only_first: int, only_second: int) -> None:
    from scipy.stats import binomtest

    if only_first + only_second:
        expected = binomtest(only_first, only_first + only_second).pvalue
        assert mcnemar(only_first, only_second) == pytest.approx(expected)
