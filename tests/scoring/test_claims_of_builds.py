"""What the paper says of its data and its training, held against manifests; a wrong manifest turns it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dialoguellm_release.folders import write_manifest
from dialoguellm_release.recipes.catalogue import load_recipe
from dialoguellm_release.schemas.audit import Sizes
from dialoguellm_release.schemas.claims import ClaimsRecipe
from dialoguellm_release.schemas.dataset_manifest import CorpusFigures, DatasetFigures, DatasetManifest
from dialoguellm_release.schemas.labels import BASIC_LABELS, Label
from dialoguellm_release.schemas.manifests import AdapterFigures, AdapterManifest, RecipeStamp
from dialoguellm_release.steps.compare import ClaimReport, check_claims, papers

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
    return load_recipe(papers()[0], "claims", ClaimsRecipe).recipe


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
        relabelled={},
        reconciliation=(),
    )
    manifest = DatasetManifest(
        created_by={},
        recipe=RecipeStamp(
            name="paper",
            sha256="0" * 64,
            resolved={"synthetic": False, "label_space": "corpus", "prompt": "dialogue-v1", **resolved},
        ),
        inputs=(),
        outputs=(),
        content_sha256="1" * 64,
        figures=figures,
    )
    folder.mkdir(parents=True)
    write_manifest(folder, manifest)


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
