"""`dlm-release score` as a user meets it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

FEW = ("--set", "intervals.resamples=50")


@pytest.fixture
def scored(run: Any, small_dataset: Path, tmp_path: Path) -> Any:
    """Scores with a baseline into `tmp_path/NAME`; its folder."""

    def score(baseline: str, *options: str) -> Path:
        out = tmp_path / baseline
        ended = run(
            *("score", "baseline", "meld", baseline, "--dataset", small_dataset, "--out", out),
            *FEW,
            *options,
        )
        assert ended.code == 0, ended.err
        return out

    return score


def test_a_model_is_scored_with_intervals_and_stamp(
    run: Any, small_dataset: Path, tiny_adapter: Path, tiny_backbone: Path, tmp_path: Path
) -> None:
    command = ["score", "run", "meld", "--dataset", small_dataset, "--adapter", tiny_adapter]
    places = ["--backbones", tiny_backbone.parent, "--cache", tmp_path / "cache", "--out", tmp_path / "out"]
    ended = run(*command, *places, *FEW, "--json")
    assert ended.code == 0
    data = json.loads(ended.out)
    assert {"accuracy", "weighted_f1", "macro_f1", "micro_f1", "micro_f1_without", "invalid"} <= set(data)
    assert set(data["intervals"]) == {name for name in data["intervals"] if name in data}
    assert data["protocol"]["scorer"] == "first_token"
    assert data["system"]["name"] == "tiny"
    assert data["clean"] is None
    assert "is scored." in ended.err
    text = run(*command, *places, *FEW)
    assert "is current; nothing was done." in text.err
    assert f"{100 * data['weighted_f1']:.2f}" in text.out
    assert "  scorer first_token" in text.out
    assert "not audited for leaks" in text.out
    ways = run(*command, *places[:-1], tmp_path / "ways", *FEW, "--scorers", "first_token,full_likelihood")
    assert ways.code == 0
    assert "points over first_token" in ways.out
    assert "+0.00 (0.00 to 0.00)" in ways.out


def test_baselines_are_compared_and_set_in_a_table(run: Any, scored: Any) -> None:
    majority, tfidf, random = scored("majority"), scored("tfidf"), scored("random")
    compared = run("score", "compare", majority, tfidf)
    assert compared.code == 0
    assert "only the first is right: 0; only the second: 12" in compared.out
    data = json.loads(run("score", "compare", majority, random, "--json").out)
    assert data["mcnemar_p"] is None
    assert data["differences"]["accuracy"]["value"] == pytest.approx(1 / 7 - 3 / 15)
    table = run("score", "table", majority, random, tfidf, "--metric", "accuracy")
    assert table.code == 0
    assert "20.00 (" in table.out
    rows = json.loads(run("score", "table", majority, random, "--json").out)["rows"]
    assert [row["system"]["name"] for row in rows] == ["majority", "random"]


@pytest.mark.parametrize("form", ["text", "markdown", "csv", "latex"])
def test_scores_of_another_protocol_are_marked_in_every_format(
    form: str, run: Any, scored: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    folders = [scored("tfidf"), scored("tfidf-context")]
    ended = run("score", "table", *folders, "--format", form)
    assert ended.code == 0
    assert "tfidf-context" in ended.out
    assert "a: context_k 1, not 0" in (ended.out if form in ("text", "markdown") else ended.err)
    assert max(map(len, ended.out.splitlines())) <= 80 or form != "text"


def test_a_partial_score_says_so(run: Any, scored: Any) -> None:
    part = scored("majority", "--set", "max_records=4")
    shown = run("score", "table", part)
    assert "4 of 15 records scored" in shown.out
    compared = run("score", "compare", part, part)
    assert "warning: only 4 of 15 records" in compared.out


def test_predictions_from_elsewhere_are_scored_or_refused(
    run: Any, scored: Any, small_dataset: Path, tmp_path: Path
) -> None:
    made = scored("majority") / "predictions.parquet"
    options = ["--dataset", small_dataset, "--out", tmp_path / "out", *FEW]
    ended = run("score", "predictions", "meld", made, *options, "--json")
    assert json.loads(ended.out)["accuracy"] == 3 / 15
    (tmp_path / "mine.csv").write_text("id,prediction\nmeld/test/0/1,joy\nmeld/test/0/1,joy\n")
    other = run("score", "predictions", "meld", tmp_path / "mine.csv", *options)
    assert other.code == 1
    assert "the scores of 15 records" in other.err
    refused = run("score", "predictions", "meld", tmp_path / "mine.csv", *options, "--replace")
    assert refused.code == 1
    assert "3 problems; nothing was written." in refused.err
    assert "has 1 ids more than once" in refused.err
    assert "lacks 14 of the 15 records" in refused.err
    assert "'joy' (2" in refused.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["baseline", "meld", "dice"], "NAME: dice is none of majority, random, tfidf, tfidf-context"),
        (["run", "meld", "--scorers", "guess"], "--scorers: guess is none of first_token"),
        (["baseline", "meld", "majority", "--backbone", "tiny"], "No such option: --backbone"),
        (["run", "meld", "--baseline", "majority"], "No such option: --baseline"),
        (["predictions", "meld", "mine.csv", "--adapter", "tiny"], "No such option: --adapter"),
    ],
)
def test_each_command_has_its_own_options(
    arguments: list[str], message: str, run: Any, small_dataset: Path, tmp_path: Path
) -> None:
    ended = run("score", *arguments, "--dataset", small_dataset, "--out", tmp_path / "out")
    assert ended.code == 2
    assert message in " ".join(ended.err.split())
    assert not (tmp_path / "out").exists()


def test_an_adapter_of_another_backbone_is_refused(
    run: Any, small_dataset: Path, tiny_adapter: Path, tmp_path: Path
) -> None:
    from dialoguellm_release.resources import resource_folder

    tiny = (resource_folder("recipes") / "backbones" / "tiny.yaml").read_text(encoding="utf-8")
    other = tmp_path / "other.yaml"
    other.write_text(tiny.replace("seed: 2310", "seed: 8"), encoding="utf-8")
    ended = run(
        *["score", "run", "meld", "--dataset", small_dataset, "--adapter", tiny_adapter],
        *["--backbone", other, "--backbones", tmp_path / "backbones", "--out", tmp_path / "out"],
    )
    assert ended.code == 1
    assert f"{tiny_adapter}: was trained on another backbone" in ended.err
    assert not (tmp_path / "out").exists()
