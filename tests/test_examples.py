"""The example in the docstring of each public name does what it shows, in a workspace of small folders."""

from __future__ import annotations

import doctest
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import dialoguellm_release as release
from dialoguellm_release.resources import resource_folder

FEW = ["intervals.resamples=20", "max_records=8"]
NOT_HERE = {
    "calibrate_adapter": "takes the scores of a validation split: tests/scoring",
    "describe_clips": "asks a server: tests/video",
    "fetch_corpora": "downloads: tests/corpora_fetch",
    "hydrate_dataset": "takes a published copy: tests/hub",
    "publish": "takes a whole release: tests/end_to_end",
    "score_served": "asks a server: tests/serve",
    "survey_clips": "takes videos: tests/video",
    "verify_release": "takes a whole release: tests/end_to_end",
    "video_status": "takes a video folder: tests/video",
}
"""Examples that need more than the workspace has, and where the functions are tested."""

SLOW = {"export_training", "merge_adapter", "score", "score_each_way", "train_adapter", "train_seeds"}


class Shapes(doctest.OutputChecker):
    """Takes an output that has the form of the expected one: hashes and figures are those of the build."""

    def check_output(self, want: str, got: str, _options: int) -> bool:
        return not want or shape(want) == shape(got)


def shape(text: str) -> str:
    """The class of a value that is shown as `Class(...)`; of any other its text without its numbers."""
    start, bracket, _ = text.strip().partition("(")
    return start if bracket and start.isidentifier() else re.sub(r"[0-9][0-9.,]*", "0", text.strip())


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A working directory with the folders that the examples name."""
    folder = tmp_path_factory.mktemp("workspace")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr("dialoguellm_release.dataset.figures.write_figures", lambda *_, **__: None)
        patch.setenv("HF_HUB_OFFLINE", "1")
        dataset = release.build_dataset("demo").folder
        release.train_adapter("tiny", dataset, "build/adapters/tiny", overrides=["trainer.max_steps=2"])
        for baseline in ("majority", "tfidf"):
            release.score_baseline("meld", baseline, out=f"build/scores/{baseline}", overrides=FEW)
        model = release.ModelChoice("build/adapters/tiny")
        scored = release.score("meld", model=model, out="build/scores/tiny", overrides=FEW).folder
        Path("my-recipe.yaml").write_text(
            "extends: score/meld\nmax_records: 8\nintervals: {resamples: 20}\n", encoding="utf-8"
        )
        write_predictions(scored / "predictions.parquet")
        Path("my.csv").write_text("text,label\nhello,neutral\ngreat,happiness\n", encoding="utf-8")
        Path("chat.txt").write_text("Robin: It came today.\nAlex: They said yes!\n", encoding="utf-8")
        Path("corpora").symlink_to(resource_folder("synthetic_corpora"))
        yield folder


def write_predictions(scored: Path) -> None:
    import pyarrow.parquet as pq

    table = pq.read_table(scored, columns=["id", "prediction"])
    lines = [f"{row['id']},{row['prediction']}" for row in table.to_pylist()]
    Path("mine.csv").write_text("\n".join(["id,prediction", *lines]) + "\n", encoding="utf-8")


def examples_of(name: str) -> list[doctest.Example]:
    found = doctest.DocTestParser().get_examples(getattr(release, name).__doc__ or "")
    for example in found:
        example.options.pop(doctest.SKIP, None)
    return found


PARAMETERS = [
    pytest.param(name, marks=pytest.mark.slow if name in SLOW else ())
    for name in release.__all__
    if examples_of(name) and name not in NOT_HERE
]


def test_what_is_left_out_exists() -> None:
    assert set(NOT_HERE) | SLOW <= set(release.__all__)
    assert len(PARAMETERS) > 15


@pytest.mark.parametrize("name", PARAMETERS)
def test_the_example_of_a_public_name(name: str, workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workspace)
    names: dict[str, Any] = {one: getattr(release, one) for one in release.__all__}
    test = doctest.DocTest(examples_of(name), names, name, None, None, None)
    said: list[str] = []
    outcome = doctest.DocTestRunner(Shapes(), optionflags=doctest.ELLIPSIS).run(test, out=said.append)
    assert outcome.attempted > 0
    assert outcome.failed == 0, "".join(said)
