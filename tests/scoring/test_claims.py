"""The paper's claims: every number of it is one, and its own figures can contradict it."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

from dialoguellm_release.errors import DataError, RecipeError
from dialoguellm_release.folders import MANIFESTS
from dialoguellm_release.resources import resource_folder
from dialoguellm_release.schemas.base import Kind
from dialoguellm_release.steps.compare import check_claims, papers


def test_every_number_of_the_paper_is_a_claim_with_a_place() -> None:
    report = check_claims(resource_folder("recipes"))
    assert len(report.claims) > 250
    assert list(report.claims) == list(report.verdicts)
    assert all(claim.place and claim.says for claim in report.claims.values())
    assert {verdict.status for verdict in report.verdicts.values()} == {
        "reproduced",
        "contradicted",
        "not yet testable",
    }


def test_where_nothing_was_built_every_missing_thing_is_named(tmp_path: Path) -> None:
    report = check_claims(tmp_path)
    verdict = report.verdicts["table-1/meld/train/dialogues"]
    assert verdict.status == "not yet testable"
    assert "dlm-release dataset build paper" in verdict.by
    assert "dlm-release adapter train llama-2-7b" in report.verdicts["table-2/epochs"].by
    assert "score run meld, with --adapter" in report.verdicts["table-3/DialogueLLM/meld/accuracy"].by
    assert "score predictions meld FILE" in report.verdicts["table-3/bc-LSTM/meld/accuracy"].by
    assert all(verdict.by for verdict in report.verdicts.values())


def test_the_papers_own_figures_contradict_it(tmp_path: Path) -> None:
    found = check_claims(tmp_path).verdicts
    expected = {
        "table-3/DialogueLLM/average/accuracy": 61.3833,
        "table-3/DialogueLLM/average/weighted_f1": 59.8933,
        "table-3/DialogueGCN/average/weighted_f1": 53.74,
        "table-3-improvement/meld/accuracy": 4.40,
        "data/three-shares": 29.4,
        "training/tokens": 125_222 * 256 * 5,
        "editorial/baselines": 14,
        "conclusions/best-accuracy-everywhere": -1.90,
        "section-4.4/DialogueLLM/iemocap/weighted_f1": 69.40,
    }
    for name, value in expected.items():
        assert found[name].status == "contradicted", name
        assert found[name].measured == pytest.approx(value, abs=1e-3), name
    averages = [name for name in found if "/average/" in name and name.startswith("table-3/")]
    assert len(averages) == 30
    assert sum(found[name].status == "reproduced" for name in averages) == 27


def changed_recipe(folder: Path, old: str, new: str) -> str:
    text = (resource_folder("recipes") / "claims" / f"{papers()[0]}.yaml").read_text(encoding="utf-8")
    assert old in text
    path = folder / "changed.yaml"
    path.write_text(text.replace(old, new), encoding="utf-8")
    return str(path)


def test_a_paper_that_adds_up_is_not_contradicted(tmp_path: Path) -> None:
    name = changed_recipe(tmp_path, "value: 23.9", "value: 29.4")
    assert check_claims(tmp_path, name).verdicts["data/three-shares"].status == "reproduced"


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("evidence: adapter-13b", "evidence: adapter-14b", "no such evidence: adapter-14b"),
        ("    MTL:\n      meld: {weighted_f1", "    MLT:\n      meld: {weighted_f1", "no such row: MLT"),
        ("type: training_total, evidence", "type: training_sum, evidence", "unknown type"),
    ],
)
def test_a_claim_that_cannot_be_tested_as_it_says_is_refused(
    old: str, new: str, expected: str, tmp_path: Path
) -> None:
    with pytest.raises(RecipeError, match=expected):
        check_claims(tmp_path, changed_recipe(tmp_path, old, new))


def test_damaged_manifests_are_all_told(tmp_path: Path) -> None:
    for name, text in {"a": "{", "b": '{"kind": "scores"}', "c": '{"kind": "score"}'}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "manifest.json").write_text(text, encoding="utf-8")
    with pytest.raises(DataError) as caught:
        check_claims(tmp_path)
    assert list(dict.fromkeys(problem.where for problem in caught.value.problems)) == [
        str(tmp_path / name / "manifest.json") for name in "abc"
    ]


def test_what_is_hidden_is_not_looked_at(tmp_path: Path) -> None:
    (tmp_path / ".scores.partial").mkdir()
    (tmp_path / ".scores.partial" / "manifest.json").write_text("{", encoding="utf-8")
    assert check_claims(tmp_path).verdicts


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        check_claims(tmp_path / "nowhere")
    assert caught.value.problems[0].code == "claims.no_folder"


def test_every_kind_of_manifest_is_known() -> None:
    assert set(MANIFESTS) == set(get_args(Kind))


def test_a_report_is_short_as_text_and_a_data_frame(tmp_path: Path) -> None:
    report = check_claims(tmp_path)
    assert len(repr(report)) < 120
    assert set(report.to_pandas()["status"]) == {verdict.status for verdict in report.verdicts.values()}
    assert report._repr_html_().count("<tr>") == len(report.claims) + 1


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ("of: [table-1/meld/*/utterances]", "of: [table-9/meld/*/utterances]", "claims.unknown_figure"),
        ("of: [table-1/meld/*/utterances]", "of: [table-1/meld/train]", "claims.unknown_figure"),
    ],
)
def test_a_test_of_an_unknown_figure_is_refused(old: str, new: str, code: str, tmp_path: Path) -> None:
    with pytest.raises(RecipeError) as raised:
        check_claims(tmp_path, changed_recipe(tmp_path, old, new))
    assert raised.value.problems[0].code == code
