"""How far the probabilities of a score may be from those of another machine."""

from __future__ import annotations

import pytest

from dialoguellm_release.hub.verify_models import prediction_problems


@pytest.mark.parametrize(
    ("apart", "codes"),
    [
        ([0.09, 0.0, 0.0, 0.0, 0.0], []),
        ([0.11, 0.0, 0.0, 0.0, 0.0], ["verify.other_prediction"]),
        ([0.03, 0.03, 0.03, 0.03, 0.03], ["verify.other_prediction"]),
    ],
    ids=["half precision", "one far apart", "all a little apart"],
)
def test_probabilities_may_be_apart_as_half_precision_sets_them(apart: list[float], codes: list[str]) -> None:
    before = {f"meld/test/0/{number}": {"score_neutral": 0.5} for number in range(len(apart))}
    again = {name: {"score_neutral": 0.5 + one} for name, one in zip(before, apart, strict=True)}
    assert [problem.code for problem in prediction_problems("scores/meld", again, before)] == codes
