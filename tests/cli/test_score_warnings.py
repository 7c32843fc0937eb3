"""What a reader must know before any figure: a constant answer, a part of the split, shortened prompts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dialoguellm_release.cards.card import render_text
from dialoguellm_release.cards.model import render_score_report
from dialoguellm_release.schemas.manifests import RecipeStamp, ScoreManifest
from dialoguellm_release.schemas.scores import LabelFigures


def label(references: int, predictions: float) -> LabelFigures:
    return LabelFigures(precision=0.0, recall=0.0, f1=0.0, references=references, predictions=predictions)


ALL_NEUTRAL = {"per_label": {"anger": label(4, 0), "neutral": label(8, 12)}}
MIXED = {"per_label": {"anger": label(4, 1), "neutral": label(8, 11)}}
ALL_INVALID = {
    "per_label": {"anger": label(4, 0), "neutral": label(8, 0)},
    "metrics": {"accuracy": 0.0, "weighted_f1": 0.0, "invalid": 1.0},
}
BASELINE = {"name": "majority", "kind": "baseline"}


@pytest.mark.parametrize(
    ("figures", "warnings"),
    [
        (MIXED, []),
        (ALL_NEUTRAL, ["every answer is neutral: the figures are those of a constant answer"]),
        (ALL_INVALID, ["every answer is invalid: the figures are those of a constant answer"]),
        ({**ALL_NEUTRAL, "system": BASELINE}, []),
        ({**ALL_NEUTRAL, "left_to_chance": 12}, []),
        ({**MIXED, "split_records": 2610}, ["only 12 of 2,610 records of the split were scored"]),
        ({**MIXED, "split_records": 12}, []),
        ({**MIXED, "truncated_records": 3}, ["3 prompts were shortened to fit max_length"]),
    ],
)
def test_warnings_are_in_the_report_and_the_card(
    figures: dict[str, Any], warnings: list[str], score_figures_of: Callable[..., Any]
) -> None:
    found = score_figures_of(**figures)
    assert found.warnings == warnings
    text = render_text("model_cards", "scores.md.jinja", {"scores": [found]})
    for warning in warnings:
        assert warning in text
    assert ("**meld, test**" in text) == bool(warnings)


def test_the_report_begins_with_the_warning(score_figures_of: Callable[..., Any]) -> None:
    figures = score_figures_of(
        **ALL_NEUTRAL, confusion_matrix=((0.0, 4.0, 0.0), (0.0, 8.0, 0.0)), breakdown={}
    )
    manifest = ScoreManifest(
        created_by={},
        recipe=RecipeStamp(name="meld", sha256="0" * 64, resolved={}),
        inputs=(),
        outputs=(),
        content_sha256="1" * 64,
        figures=figures,
    )
    report = render_score_report(manifest)
    assert report.index("**Warning**: every answer is neutral") < report.index("## Labels")


def test_a_model_that_answers_one_label_says_so_on_the_screen(
    run: Any, small_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    from dialoguellm_release.records import read_records

    rows = [f"{record.id},neutral\n" for record in read_records(small_dataset, "meld", "test")]
    (tmp_path / "constant.csv").write_text("id,prediction\n" + "".join(rows))
    ended = run(
        *("score", "predictions", "meld", tmp_path / "constant.csv", "--dataset", small_dataset),
        *("--out", tmp_path / "out", "--set", "intervals.resamples=50"),
    )
    assert ended.code == 0
    assert "warning: every answer is neutral" in ended.out
    assert max(map(len, ended.out.splitlines())) <= 80
    assert "every answer is neutral" in (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
