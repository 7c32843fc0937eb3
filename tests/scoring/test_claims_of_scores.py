"""What the paper says of its results, held against score folders; a wrong one turns it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dialoguellm_release.folders import write_manifest
from dialoguellm_release.prompts import load_prompt
from dialoguellm_release.schemas.manifests import RecipeStamp, ScoreManifest
from dialoguellm_release.steps.compare import check_claims


@pytest.fixture
def write_score(score_figures_of: Callable[..., Any], tmp_path: Path) -> Callable[..., None]:
    """Writes the manifest of a score of MELD into `tmp_path/NAME`."""

    def write(
        name: str,
        accuracy: float,
        weighted_f1: float,
        *,
        system: str = "llama-2-7b",
        seed: int = 1,
        max_records: int | None = None,
        tuned: bool = True,
        kind: str = "model",
        **protocol: Any,
    ) -> None:
        figures = score_figures_of(
            {"prompt_sha256": load_prompt("dialogue-v1").sha256, **protocol},
            {
                "name": system,
                "kind": kind,
                "seed": seed,
                "adapter_content_sha256": "a" * 64 if tuned else None,
                "training_sha256": "b" * 64 if tuned else None,
            },
            metrics={"accuracy": accuracy, "weighted_f1": weighted_f1},
        )
        manifest = ScoreManifest(
            created_by={},
            recipe=RecipeStamp(name="meld", sha256="0" * 64, resolved={"max_records": max_records}),
            inputs=(),
            outputs=(),
            content_sha256=(name.encode().hex() + "0" * 64)[:64],
            figures=figures,
        )
        (tmp_path / name).mkdir()
        write_manifest(tmp_path / name, manifest)

    return write


def test_a_score_is_held_against_both_readings(tmp_path: Path, write_score: Any) -> None:
    write_score("scores", 0.6794, 0.7091, system="llama-2-7b-no-context")
    found = check_claims(tmp_path).verdicts
    assert found["table-4/meld/No Context/accuracy"].status == "reproduced"
    assert found["table-4/meld/No Context/accuracy"].by.endswith("as Table 4 reads")


def test_a_score_may_be_right_by_the_other_reading(tmp_path: Path, write_score: Any) -> None:
    write_score("scores", 0.7091, 0.6794, system="llama-2-7b-no-context")
    found = check_claims(tmp_path).verdicts
    assert found["table-4/meld/No Context/accuracy"].status == "reproduced"
    assert found["table-4/meld/No Context/accuracy"].by.endswith("columns as in Table 3 reads")


def test_a_lower_score_contradicts(tmp_path: Path, write_score: Any) -> None:
    write_score("scores", 0.66, 0.65)
    verdict = check_claims(tmp_path).verdicts["table-3/DialogueLLM/meld/accuracy"]
    assert verdict.status == "contradicted"
    assert verdict.measured == pytest.approx(66)


def test_seeds_are_averaged(tmp_path: Path, write_score: Any) -> None:
    write_score("one", 0.73, 0.72, seed=1)
    write_score("two", 0.70, 0.71, seed=2)
    verdict = check_claims(tmp_path).verdicts["table-3/DialogueLLM/meld/accuracy"]
    assert verdict.status == "reproduced"
    assert verdict.measured == pytest.approx(71.5)


@pytest.mark.parametrize(
    "changed",
    [
        {"max_records": 100},
        {"split": "validation"},
        {"corpus": "emorynlp"},
        {"tuned": False},
        {"kind": "predictions"},
        {"shots": 8},
        {"system": "tiny"},
        {"prompt_sha256": "f" * 64},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_a_score_of_something_else_is_no_evidence(
    changed: dict[str, Any], tmp_path: Path, write_score: Any
) -> None:
    write_score("scores", 0.7191, 0.7181, **changed)
    verdict = check_claims(tmp_path).verdicts["table-3/DialogueLLM/meld/accuracy"]
    assert verdict.status == "not yet testable"


def test_scores_by_unlike_protocols_decide_nothing(tmp_path: Path, write_score: Any) -> None:
    write_score("one", 0.7191, 0.7181)
    write_score("two", 0.7191, 0.7181, scorer="full_likelihood")
    verdict = check_claims(tmp_path).verdicts["table-3/DialogueLLM/meld/accuracy"]
    assert verdict.status == "not yet testable"
    assert "scorer full_likelihood, not first_token" in verdict.by


def test_a_backbone_as_it_is_and_predictions_of_others_are_measured_too(
    tmp_path: Path, write_score: Any
) -> None:
    write_score("zero-shot", 0.237, 0.241, tuned=False)
    write_score("bc", 0.65, 0.64, system="bc-LSTM", kind="predictions", tuned=False)
    found = check_claims(tmp_path).verdicts
    assert found["table-3/LLaMA 2/meld/accuracy"].status == "reproduced"
    assert found["table-3/bc-LSTM/meld/weighted_f1"].status == "reproduced"
    assert found["table-3/DialogueLLM/meld/accuracy"].status == "not yet testable"


def test_a_copy_of_a_score_counts_once(tmp_path: Path, write_score: Any) -> None:
    write_score("scores", 0.7191, 0.7181)
    copied = tmp_path / "release" / "scores"
    copied.mkdir(parents=True)
    (copied / "manifest.json").write_bytes((tmp_path / "scores" / "manifest.json").read_bytes())
    verdict = check_claims(tmp_path).verdicts["table-3/DialogueLLM/meld/accuracy"]
    assert verdict.status == "reproduced"
    assert "," not in verdict.by.partition(", as ")[0]


def test_measured_figures_stand_beneath_the_reported_ones(tmp_path: Path, write_score: Any) -> None:
    write_score("scores", 0.66, 0.65)
    report = check_claims(tmp_path)
    rows = {(row.names[0], row.source): row for row in report.tables["3"].rows}
    assert rows["DialogueLLM", "reported"].figures[0].value == 71.91
    own = rows["DialogueLLM", "measured"].figures
    assert [figure.value for figure in own] == [pytest.approx(66), pytest.approx(65), *[None] * 6]
    # over the best of the other rows: SACL-LSTM
    assert rows["Improve", "measured"].figures[0].value == pytest.approx(66 - 67.51)
    assert rows["Improve", "reported"].figures[0].elsewhere == 4.46
    assert rows["DialogueLLM", "reported"].figures[6].value == pytest.approx(61.3833, abs=1e-4)
    assert rows["DialogueLLM", "reported"].figures[6].elsewhere == 61.25
    assert rows["SACL-LSTM", "reported"].figures[6].elsewhere is None
    ablations = [(row.names, row.source) for row in report.tables["4"].rows]
    assert ablations[2:4] == [(("MELD", "DialogueLLM"), "reported"), (("MELD", "DialogueLLM"), "measured")]


def test_three_measured_corpora_have_an_average(tmp_path: Path, write_score: Any) -> None:
    for corpus, accuracy in {"meld": 0.66, "iemocap": 0.63, "emorynlp": 0.36}.items():
        write_score(corpus, accuracy, accuracy, corpus=corpus)
    rows = {(row.names[0], row.source): row for row in check_claims(tmp_path).tables["3"].rows}
    assert rows["DialogueLLM", "measured"].figures[6].value == pytest.approx(55)
