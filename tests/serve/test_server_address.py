"""Case E1: a score of one server was called current when another server was asked for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dialoguellm_release.errors import DataError
from dialoguellm_release.serve.client import ServedModel
from dialoguellm_release.steps.score import score_served
from tests.serve.conftest import completion


@pytest.mark.parametrize(
    ("other", "named"),
    [
        ({"base_url": "http://127.0.0.1:9/v1"}, "server address changed"),
        ({"api": "completions"}, "server API: chat -> completions"),
        ({"model": "org/other"}, "served model: org/model -> org/other"),
    ],
)
def test_another_server_is_another_score(
    score: Callable[..., Any], quirks: Any, small_dataset: Path, tmp_path: Path, other: Any, named: str
) -> None:
    score(lambda _path, body, _number: completion(body, "neutral"))
    before = (tmp_path / "out" / "manifest.json").read_bytes()
    assert quirks.url.encode() not in before, "an address may be private, and manifests are published"
    asked = len(quirks.asked)
    served = ServedModel(**{"base_url": quirks.url, "model": "org/model"} | other)
    with pytest.raises(DataError) as raised:
        score_served("meld", served, small_dataset, tmp_path / "out", overrides=["intervals.resamples=20"])
    assert raised.value.problems[0].code == "step.finished_work"
    assert named in str(raised.value)
    assert "the scores of 15 records" in str(raised.value)
    assert len(quirks.asked) == asked
    assert (tmp_path / "out" / "manifest.json").read_bytes() == before
