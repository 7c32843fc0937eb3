"""Brier score, calibration error and risk, against plain loops and scikit-learn."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dialoguellm_release.errors import DataError
from dialoguellm_release.schemas.scores import ProbabilityFigures
from dialoguellm_release.steps.score import score_baseline, score_predictions
from tests.figures import figures_in_full

SPACE = ["happiness", "anger", "fear", "sadness", "disgust", "surprise", "neutral"]
FEW = ["intervals.resamples=200"]


@pytest.fixture(scope="module")
def drawn(audited_dataset: Path, dialogues_of: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A score of probabilities that were drawn at random, with a leaning to what is right; two are equal."""
    records = dialogues_of("test", 40)
    draw = np.random.default_rng(7)
    logits = draw.normal(size=(40, 7)) + 1.5 * np.eye(7)[[SPACE.index(one.output) for one in records]]
    logits[1] = logits[0]
    path = tmp_path_factory.mktemp("predictions") / "drawn.jsonl"
    with path.open("w", encoding="utf-8") as file:
        for one, row in zip(records, np.exp(logits) / np.exp(logits).sum(1, keepdims=True), strict=True):
            scores = {f"score_{label}": value for label, value in zip(SPACE, row.tolist(), strict=True)}
            file.write(json.dumps({"id": one.id, "prediction": SPACE[row.argmax()], **scores}) + "\n")
    with figures_in_full():
        return score_predictions("meld", path, audited_dataset, path.parent / "out", overrides=FEW)


def check(found: ProbabilityFigures, columns: dict[str, list[Any]], rows: list[int]) -> None:
    """Holds the figures of some rows of the predictions against independent implementations."""
    from sklearn.calibration import calibration_curve
    from sklearn.metrics import brier_score_loss

    values = np.array([[columns[f"score_{label}"][row] for label in SPACE] for row in rows])
    references = [columns["reference"][row] for row in rows]
    right = [columns["prediction"][row] == columns["reference"][row] for row in rows]
    confidence = values.max(1)
    brier = brier_score_loss(
        references, values[:, np.argsort(SPACE)], labels=sorted(SPACE), scale_by_half=False
    )
    assert found.metrics["brier"] == pytest.approx(brier)
    accuracies, means = calibration_curve(right, confidence, n_bins=15, strategy="uniform")
    counts = np.histogram(confidence, np.linspace(0, 1, 16))[0]
    gaps = np.abs(accuracies - means) * counts[counts > 0]
    assert found.metrics["ece"] == pytest.approx(gaps.sum() / len(rows))
    assert [one.records for one in found.bins] == list(counts)
    risks = [np.mean([not right[j] for j in range(len(rows)) if confidence[j] >= one]) for one in confidence]
    assert found.metrics["aurc"] == pytest.approx(np.mean(risks))
    for name, (low, high) in found.intervals.items():
        assert 0 <= low < high
        assert low < found.metrics[name] * 1.5
        assert found.metrics[name] < high * 1.5


def test_they_are_those_of_other_implementations_on_all_and_on_clean_records(
    drawn: Any, predictions_in: Any
) -> None:
    columns = predictions_in(drawn.folder)
    found = drawn.manifest.figures.probabilities
    check(found.all, columns, list(range(40)))
    clean = [row for row in range(40) if columns["is_clean"][row]]
    assert len(clean) == 20
    check(found.clean, columns, clean)


def test_the_surest_records_are_scored_alone(drawn: Any, predictions_in: Any) -> None:
    from sklearn.metrics import accuracy_score, f1_score

    columns = predictions_in(drawn.folder)
    confidence = [max(columns[f"score_{label}"][row] for label in SPACE) for row in range(40)]
    order = sorted(range(40), key=lambda row: -confidence[row])
    selected = drawn.manifest.figures.probabilities.selected
    assert [part.coverage for part in selected] == [1.0, 0.9, 0.8, 0.7]
    for part in selected:
        chosen = [row for row in order if confidence[row] >= confidence[order[round(part.coverage * 40) - 1]]]
        truth, given = ([columns[name][row] for row in chosen] for name in ("reference", "prediction"))
        assert part.records == len(chosen)
        assert part.min_probability == min(confidence[row] for row in chosen)
        assert part.metrics["accuracy"] == pytest.approx(accuracy_score(truth, given))
        weighted = f1_score(truth, given, average="weighted", zero_division=0)
        assert part.metrics["weighted_f1"] == pytest.approx(weighted)


def test_the_report_has_them_and_their_figures(drawn: Any) -> None:
    report = (drawn.folder / "README.md").read_text(encoding="utf-8")
    assert f"{drawn.manifest.figures.probabilities.all.metrics['ece']:.4f}" in report
    for name in ("reliability", "coverage"):
        assert f"figures/{name}.png" in report
        assert (drawn.folder / "figures" / f"{name}.png").stat().st_size > 5_000


def test_probabilities_of_another_program_count_as_ours(audited_dataset: Path, tmp_path: Path) -> None:
    ours = score_baseline("meld", "tfidf", audited_dataset, tmp_path / "ours", overrides=FEW)
    file = ours.folder / "predictions.parquet"
    theirs = score_predictions("meld", file, audited_dataset, tmp_path / "theirs", overrides=FEW)
    assert theirs.manifest.figures.probabilities == ours.manifest.figures.probabilities is not None


def test_what_is_no_probability_is_refused_and_what_is_missing_is_counted(
    drawn: Any, predictions_in: Any, audited_dataset: Path, tmp_path: Path
) -> None:
    columns = predictions_in(drawn.folder)
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    path = tmp_path / "mine.jsonl"

    def scored() -> Any:
        path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
        return score_predictions("meld", path, audited_dataset, tmp_path / "out", overrides=FEW)

    rows[0] |= dict.fromkeys((f"score_{label}" for label in SPACE), None)
    figures = scored().manifest.figures
    assert figures.probabilities is None
    assert figures.without_probabilities == 1
    assert any("1 answers have no probabilities" in warning for warning in figures.warnings)
    rows[0] |= dict.fromkeys((f"score_{label}" for label in SPACE), 0.5)
    rows[1]["score_fear"] = None
    with pytest.raises(DataError) as raised:
        scored()
    (problem,) = raised.value.problems
    assert problem.code == "predictions.not_probabilities"
    assert problem.what.startswith("has 2 rows")


@pytest.mark.parametrize("baseline", ["majority", "random"])
def test_without_probabilities_of_an_answer_there_is_none(
    baseline: Any, audited_dataset: Path, tmp_path: Path
) -> None:
    made = score_baseline(
        "meld", baseline, audited_dataset, tmp_path / baseline, overrides=["intervals.resamples=20"]
    )
    assert made.manifest.figures.probabilities is None
    assert "Brier" not in (made.folder / "README.md").read_text(encoding="utf-8")
