"""Brier score and expected calibration error, against plain loops over the predictions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dialoguellm_release.steps.score import score_baseline

SPACE = ["happiness", "anger", "fear", "sadness", "disgust", "surprise", "neutral"]


def by_loops(columns: dict[str, list[Any]]) -> tuple[float, float]:
    rows = [
        ([columns[f"score_{label}"][place] for label in SPACE], SPACE.index(reference))
        for place, reference in enumerate(columns["reference"])
    ]
    brier = sum(
        sum((value - (label == right)) ** 2 for label, value in enumerate(values)) for values, right in rows
    ) / len(rows)
    bins: dict[int, list[tuple[float, bool]]] = {}
    for values, right in rows:
        bins.setdefault(min(14, int(max(values) * 15)), []).append(
            (max(values), values.index(max(values)) == right)
        )
    gaps = (abs(sum(one for one, _ in same) - sum(hit for _, hit in same)) for same in bins.values())
    return brier, sum(gaps) / len(rows)


def test_calibration_is_that_of_the_predictions(
    audited_dataset: Path, tmp_path: Path, predictions_in: Any
) -> None:
    made = score_baseline(
        "meld", "tfidf", audited_dataset, tmp_path / "tfidf", overrides=["intervals.resamples=200"]
    )
    found = made.manifest.figures.calibration
    assert found is not None
    brier, ece = by_loops(predictions_in(made.folder))
    assert found.brier == pytest.approx(brier)
    assert found.ece == pytest.approx(ece)
    for value, (low, high) in ((found.brier, found.brier_interval), (found.ece, found.ece_interval)):
        assert 0 <= low < high
        assert low < value * 1.5
        assert value < high * 1.5
    report = (made.folder / "README.md").read_text(encoding="utf-8")
    assert f"Brier score {found.brier:.4f}" in report


@pytest.mark.parametrize("baseline", ["majority", "random"])
def test_without_probabilities_of_an_answer_there_is_none(
    baseline: Any, audited_dataset: Path, tmp_path: Path
) -> None:
    made = score_baseline(
        "meld", baseline, audited_dataset, tmp_path / baseline, overrides=["intervals.resamples=20"]
    )
    assert made.manifest.figures.calibration is None
    assert "Brier" not in (made.folder / "README.md").read_text(encoding="utf-8")
