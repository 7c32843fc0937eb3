"""The paper's claims held against manifests: each verdict can be had, and a wrong manifest turns it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dialoguellm_release.errors import DataError, RecipeError
from dialoguellm_release.folders import write_manifest
from dialoguellm_release.recipes.catalogue import load_recipe
from dialoguellm_release.resources import resource_folder
from dialoguellm_release.schemas.claims import ClaimsRecipe
from dialoguellm_release.schemas.labels import BASIC_LABELS, Label
from dialoguellm_release.schemas.manifests.adapter import AdapterFigures, AdapterManifest
from dialoguellm_release.schemas.manifests.base import RecipeStamp
from dialoguellm_release.schemas.manifests.dataset import CorpusFigures, DatasetFigures, DatasetManifest
from dialoguellm_release.schemas.manifests.score import ScoreManifest
from dialoguellm_release.schemas.sizes import Sizes
from dialoguellm_release.steps.claims import ClaimReport, check_claims

PAPER = "dialoguellm-2310.11374"
SHARES: dict[Label, int] = {
    "happiness": 312,
    "anger": 126,
    "sadness": 115,
    "fear": 88,
    "surprise": 63,
    "disgust": 53,
    "neutral": 243,
}
"""Figure 4, and what it leaves for neutral, of a thousand records."""


@pytest.fixture(scope="module")
def claims() -> ClaimsRecipe:
    return load_recipe(PAPER, "claims", ClaimsRecipe).recipe


def write_dataset(
    folder: Path,
    claims: ClaimsRecipe,
    *,
    without: tuple[str, ...] = (),
    meld_dialogues: int = 1039,
    labels: dict[Label, int] = SHARES,
    **resolved: Any,
) -> None:
    """The manifest of a dataset that is all that the paper says of it, changed as a test wants."""
    sizes = {name: dict(splits) for name, splits in claims.corpora.items() if name not in without}
    sizes["meld"]["train"] = Sizes(dialogues=meld_dialogues, utterances=9989)
    corpora = {
        name: CorpusFigures(
            license="Apache-2.0",
            may_redistribute=True,
            label_space=BASIC_LABELS,
            files=(),
            unknown_files=(),
            repairs={},
            unused=Sizes(dialogues=0, utterances=0),
            splits=splits,
            labels={"train": labels if name == "meld" else {}},
            content_sha256={},
        )
        for name, splits in sizes.items()
    }
    training = [splits["train"] for splits in sizes.values()]
    figures = DatasetFigures(
        records={"train": sum(one.utterances for one in training)},
        dialogues={"train": sum(one.dialogues for one in training)},
        corpora=corpora,
        skipped=(),
        context_k=1,
        prompt="dialogue-v1",
        prompt_sha256="0" * 64,
        split_draw=None,
        relabelled={},
        reconciliation=(),
    )
    manifest = DatasetManifest(
        created_by={},
        recipe=RecipeStamp(
            name="paper",
            sha256="0" * 64,
            resolved={"synthetic": False, "label_space": "corpus", **resolved},
        ),
        inputs=(),
        outputs=(),
        content_sha256="1" * 64,
        figures=figures,
    )
    folder.mkdir(parents=True)
    write_manifest(folder, manifest)


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
            protocol,
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


def write_adapter(
    folder: Path, name: str = "llama-2-7b", parameters: int = 2_097_152, **trainer: Any
) -> None:
    """The manifest of an adapter of Table 2, changed as a test wants."""
    settings = {
        "per_device_train_batch_size": 8,
        "gradient_accumulation_steps": 16,
        "num_train_epochs": 5,
        "learning_rate": 3e-4,
        "max_length": 256,
        "lr_scheduler_kwargs": {"min_lr_rate": 0.1},
        "weight_decay": 0.1,
        "adam_beta1": 0.9,
        "adam_beta2": 0.95,
        "max_grad_norm": 1.0,
    }
    resolved: dict[str, Any] = {
        "lora": {"r": 4, "lora_alpha": 16, "lora_dropout": 0.05},
        "trainer": {**settings, **trainer},
    }
    manifest = AdapterManifest(
        created_by={},
        recipe=RecipeStamp(name=name, sha256="0" * 64, resolved=resolved),
        inputs=(),
        outputs=(),
        content_sha256="2" * 64,
        figures=AdapterFigures(
            base="meta-llama/Llama-2-7b-hf",
            base_revision=None,
            base_content_sha256=None,
            dataset_config="default",
            dataset_content_sha256="1" * 64,
            prompt_sha256="0" * 64,
            records=1,
            truncated_records=0,
            trainable_parameters=parameters,
            steps=1,
            first_loss=1.0,
            last_loss=1.0,
            seed=1,
        ),
    )
    folder.mkdir(parents=True)
    write_manifest(folder, manifest)


def statuses(report: ClaimReport, prefix: str) -> dict[str, str]:
    verdicts = report.verdicts.items()
    found: dict[str, str] = {name: one.status for name, one in verdicts if name.startswith(prefix)}
    assert found
    return found


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
    assert "with --predictions" in report.verdicts["table-3/bc-LSTM/meld/accuracy"].by
    assert all(verdict.by for verdict in report.verdicts.values())


def test_a_dataset_as_the_paper_says_reproduces_its_counts(tmp_path: Path, claims: ClaimsRecipe) -> None:
    write_dataset(tmp_path / "dataset", claims)
    report = check_claims(tmp_path)
    counts = {**statuses(report, "table-1/meld/"), **statuses(report, "table-1/dailydialog/t")}
    assert set(counts.values()) == {"reproduced"}
    assert set(statuses(report, "figure-4/").values()) == {"reproduced"}
    for name in ("data/dialogues", "data/utterances", "data/context", "data/figure-4-neutral"):
        assert report.verdicts[name].status == "reproduced", name
    # seven labels, where the paper prints six
    assert report.verdicts["table-1/dailydialog/classes"].status == "contradicted"
    assert report.verdicts["table-1/meisd/train/dialogues"].status == "not yet testable"


def test_a_wrong_count_turns_the_claim(tmp_path: Path, claims: ClaimsRecipe) -> None:
    write_dataset(tmp_path / "dataset", claims, meld_dialogues=1038)
    report = check_claims(tmp_path)
    verdict = report.verdicts["table-1/meld/train/dialogues"]
    assert (verdict.status, verdict.measured) == ("contradicted", 1038)
    assert "figures.corpora.meld.splits.train.dialogues" in verdict.by
    assert str(tmp_path / "dataset") in verdict.by
    assert report.verdicts["data/dialogues"].by.startswith("13,637 in ")
    assert report.verdicts["data/dialogues"].status == "contradicted"


@pytest.mark.parametrize("changed", [{"synthetic": True}, {"label_space": "basic7"}])
def test_a_dataset_of_another_kind_is_no_evidence(
    changed: dict[str, Any], tmp_path: Path, claims: ClaimsRecipe
) -> None:
    write_dataset(tmp_path / "dataset", claims, **changed)
    assert set(statuses(check_claims(tmp_path), "table-1/").values()) == {"not yet testable"}


def test_a_corpus_that_is_not_there_leaves_a_range(tmp_path: Path, claims: ClaimsRecipe) -> None:
    """IEMOCAP's 5,810 utterances beside 94,190 others can make 5.81 points of any share."""
    many: dict[Label, int] = {"happiness": 25_000, "anger": 7_000, "neutral": 62_190}
    write_dataset(tmp_path / "dataset", claims, without=("iemocap",), labels=many)
    report = check_claims(tmp_path)
    happiness, anger = (report.verdicts[f"figure-4/{name}"] for name in ("happiness", "anger"))
    assert happiness.status == "contradicted"
    assert "25.0 to 30.8 %" in happiness.by
    assert "iemocap" in happiness.by
    assert anger.status == "not yet testable"
    assert "7.0 to 12.8 %" in anger.by
    assert report.verdicts["table-1/iemocap/test/dialogues"].status == "not yet testable"
    assert report.verdicts["data/dialogues"].status == "reproduced"
    assert "iemocap counted as the paper does" in report.verdicts["data/dialogues"].by


def test_an_adapter_by_table_2(tmp_path: Path) -> None:
    write_adapter(tmp_path / "adapter")
    report = check_claims(tmp_path)
    assert set(statuses(report, "table-2/").values()) == {"reproduced"}
    assert report.verdicts["training/trainable-parameters"].status == "reproduced"
    assert report.verdicts["training/trainable-parameters-13b"].status == "not yet testable"


def test_an_adapter_by_other_settings(tmp_path: Path) -> None:
    write_adapter(tmp_path / "adapter", learning_rate=2e-5, gradient_accumulation_steps=1)
    write_adapter(tmp_path / "large", "llama-2-13b", parameters=3_276_800)
    report = check_claims(tmp_path)
    assert report.verdicts["table-2/learning-rate"].status == "contradicted"
    assert report.verdicts["table-2/batch-size"].measured == 8
    assert report.verdicts["table-2/epochs"].status == "reproduced"


def test_the_13b_adapter_has_more_parameters_than_the_paper_says(tmp_path: Path) -> None:
    write_adapter(tmp_path / "large", "llama-2-13b", parameters=3_276_800)
    verdict = check_claims(tmp_path).verdicts["training/trainable-parameters-13b"]
    assert (verdict.status, verdict.measured) == ("contradicted", 3_276_800)


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
    text = (resource_folder("recipes") / "claims" / f"{PAPER}.yaml").read_text(encoding="utf-8")
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
        ("type: training_total, evidence", "type: training_sum, evidence", "of an unknown type"),
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
    assert [problem.where for problem in caught.value.problems] == [
        str(tmp_path / name / "manifest.json") for name in "abc"
    ]


def test_what_is_hidden_is_not_looked_at(tmp_path: Path) -> None:
    (tmp_path / ".scores.partial").mkdir()
    (tmp_path / ".scores.partial" / "manifest.json").write_text("{", encoding="utf-8")
    assert check_claims(tmp_path).verdicts


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        check_claims(tmp_path / "nowhere")


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
