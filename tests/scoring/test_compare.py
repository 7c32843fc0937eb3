from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from dialoguellm_release.errors import DataError
from dialoguellm_release.schemas.scores import BaselineName
from dialoguellm_release.steps.compare import compare_scores
from dialoguellm_release.steps.score import score_baseline, score_predictions

SOME = ["intervals.resamples=500"]


@pytest.fixture(scope="module")
def folders(audited_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two baselines and an expected one, on the same records."""
    out = tmp_path_factory.mktemp("scores")
    names: tuple[BaselineName, ...] = ("majority", "tfidf", "random")
    return {
        name: score_baseline("meld", name, audited_dataset, out / name, overrides=SOME).folder
        for name in names
    }


def test_a_regression_beats_the_commonest_label_where_words_tell(folders: dict[str, Path]) -> None:
    from scipy.stats import binomtest

    found = compare_scores(folders["majority"], folders["tfidf"])
    # of 40 records six are happiness; the regression has every one right
    assert (found.only_first, found.only_second) == (0, 34)
    assert found.mcnemar_p == pytest.approx(binomtest(0, 34).pvalue)
    accuracy = found.differences["accuracy"]
    assert accuracy.value == pytest.approx(34 / 40)
    assert accuracy.interval[0] > 0.5
    assert accuracy.p_value == pytest.approx(2 / 501)
    back = compare_scores(folders["tfidf"], folders["majority"]).differences["accuracy"]
    assert back.value == -accuracy.value
    assert back.interval == pytest.approx(tuple(-end for end in accuracy.interval[::-1]))


def test_a_run_is_like_itself(folders: dict[str, Path]) -> None:
    found = compare_scores(folders["tfidf"], folders["tfidf"])
    assert (found.only_first, found.only_second, found.mcnemar_p) == (0, 0, 1.0)
    assert all((one.value, one.p_value) == (0.0, 1.0) for one in found.differences.values())


def test_expected_values_are_compared_but_not_record_by_record(folders: dict[str, Path]) -> None:
    found = compare_scores(folders["random"], folders["majority"])
    assert (found.only_first, found.mcnemar_p) == (None, None)
    assert found.differences["accuracy"].value == pytest.approx(6 / 40 - 1 / 7)


def test_other_records_are_not_compared(
    folders: dict[str, Path], tmp_path: Path, audited_dataset: Path
) -> None:
    fewer = score_baseline(
        "meld", "majority", audited_dataset, tmp_path / "fewer", overrides=[*SOME, "max_records=10"]
    )
    with pytest.raises(DataError, match="scored other records than") as raised:
        compare_scores(folders["majority"], fewer.folder)
    (problem,) = raised.value.problems
    assert str(problem.got).startswith("10 records of meld/test")
    assert raised.value.outcome == "nothing was compared"


def test_a_folder_that_was_changed_is_not_compared(folders: dict[str, Path], tmp_path: Path) -> None:
    changed = tmp_path / "changed"
    shutil.copytree(folders["tfidf"], changed)
    shutil.copy(folders["majority"] / "predictions.parquet", changed)
    with pytest.raises(DataError, match="is not the file that was made"):
        compare_scores(folders["majority"], changed)


def test_predictions_from_elsewhere_are_compared_with_a_model(
    folders: dict[str, Path], audited_dataset: Path, tmp_path: Path, predictions_in: Any
) -> None:
    columns = predictions_in(folders["tfidf"])
    lines = [f"{one},{label}\n" for one, label in zip(columns["id"], columns["prediction"], strict=True)]
    (tmp_path / "mine.csv").write_text("id,prediction\n" + "".join(lines), encoding="utf-8")
    mine = score_predictions(
        "meld", tmp_path / "mine.csv", audited_dataset, tmp_path / "mine", overrides=SOME
    )
    assert compare_scores(folders["tfidf"], mine.folder).mcnemar_p == 1.0
