"""MaSaC, Hindi and English in one utterance, from its files to a release of what its licence allows."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from dialoguellm_release import publish
from dialoguellm_release.cards.card import split_card
from dialoguellm_release.errors import PublishError
from dialoguellm_release.recipes.catalogue import load_recipe
from dialoguellm_release.schemas.corpus import CorpusEntry
from dialoguellm_release.schemas.dataset_manifest import DatasetManifest
from dialoguellm_release.step import StepResult
from dialoguellm_release.steps.adapter import train_adapter
from dialoguellm_release.steps.dataset import audit_dataset, build_dataset, check_dataset, hydrate_dataset
from dialoguellm_release.steps.release import verify_release
from dialoguellm_release.steps.score import ModelChoice, score, score_baseline

pytestmark = [pytest.mark.corpora, pytest.mark.slow, pytest.mark.timeout(900)]
RELEASE = """\
version: 1
kind: release
description: MaSaC.
tag: v1.0.0
changelog: The first release.
dataset: {repo_id: river-lab/masac, folder: dataset}
"""


@pytest.fixture(scope="module")
def masac(corpora_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> StepResult[DatasetManifest]:
    return build_dataset("masac", corpora_dir, tmp_path_factory.mktemp("masac") / "dataset")


def test_the_dataset_is_whole_and_its_card_names_both_languages(masac: StepResult[DatasetManifest]) -> None:
    assert masac.manifest.figures.records == {"train": 8506, "validation": 1354, "test": 0}
    assert check_dataset(masac.folder) == []
    metadata, _ = split_card((masac.folder / "README.md").read_text(encoding="utf-8"))
    assert (metadata["language"], metadata["language_details"]) == (["en", "hi"], ["en", "hi-Latn"])
    assert metadata["multilinguality"] == ["multilingual"]


def test_it_shares_next_to_nothing_with_the_other_corpora(
    masac: StepResult[DatasetManifest], paper_dataset: StepResult[DatasetManifest]
) -> None:
    audit = audit_dataset(masac.folder, paper_dataset.folder)
    found = {(row.held_out, row.training): row.utterances_found for row in audit.overlaps}
    english = ("meld", "emorynlp", "dailydialog")
    assert {pair: count for pair, count in found.items() if count} == {
        ("masac/validation", f"{name}/train"): 1 for name in english
    }
    assert not any(one.utterances for one in audit.agreement)


def test_baselines_and_an_adapter_are_scored_with_intervals(
    masac: StepResult[DatasetManifest], tmp_path: Path
) -> None:
    majority = score_baseline("masac", "majority", masac.folder, tmp_path / "majority").manifest.figures
    tfidf = score_baseline("masac", "tfidf", masac.folder, tmp_path / "tfidf").manifest.figures
    assert majority.metrics["weighted_f1"] == pytest.approx(0.2979, abs=5e-5)
    assert tfidf.metrics["weighted_f1"] == pytest.approx(0.4249, abs=2e-3)
    assert tfidf.intervals["weighted_f1"][0] > majority.intervals["weighted_f1"][1]
    few = ["data.config=masac", "trainer.max_steps=8", "data.max_records=64"]
    backbones = tmp_path / "backbones"
    adapter = train_adapter("tiny", masac.folder, tmp_path / "tiny", backbones=backbones, overrides=few)
    scored = score(
        "masac", masac.folder, ModelChoice(adapter.folder, backbones=backbones), tmp_path / "score"
    )
    assert scored.manifest.figures.records == 1354
    low, high = scored.manifest.figures.intervals["weighted_f1"]
    assert low <= scored.manifest.figures.metrics["weighted_f1"] <= high


@pytest.mark.parametrize(
    ("asked", "code"), [("exclude", "licenses.nothing_to_publish"), ("full", "licenses.not_allowed")]
)
def test_without_a_licence_it_is_not_published(
    asked: str, code: str, corpora_dir: Path, tmp_path: Path
) -> None:
    setting = f"corpora.masac.distribution={asked}"
    build_dataset("masac", corpora_dir, tmp_path / "build" / "dataset", overrides=[setting])
    (tmp_path / "release.yaml").write_text(RELEASE, encoding="utf-8")
    with pytest.raises(PublishError) as raised:
        publish(tmp_path / "release.yaml", tmp_path / "build", tmp_path / "to")
    (problem,) = raised.value.problems
    assert problem.code == code
    assert asked != "full" or "LicenseRef-MaSaC-none-found, may be redistributed: unknown" in problem.what


def test_where_a_corpus_file_lets_the_labels_go_rows_without_text_are_published(
    corpora_dir: Path, tmp_path: Path
) -> None:
    """As somebody would who got the licence of the labels from the authors."""
    entry = load_recipe("masac", "corpus", CorpusEntry).recipe
    license_ = entry.label_license.model_copy(update={"redistribute": "yes", "stated_in": "a letter"})
    stated = entry.model_copy(update={"label_license": license_})
    (tmp_path / "masac.yaml").write_text(stated.model_dump_json(exclude_defaults=True), encoding="utf-8")
    recipe = tmp_path / "dataset.yaml"
    own = {"file": "masac.yaml", "distribution": "standoff"}
    recipe.write_text(
        yaml.safe_dump({"extends": "dataset/masac", "corpora": {"masac": own}}), encoding="utf-8"
    )
    built = build_dataset(recipe, corpora_dir, tmp_path / "build" / "dataset")
    (tmp_path / "release.yaml").write_text(RELEASE, encoding="utf-8")
    publish(tmp_path / "release.yaml", tmp_path / "build", tmp_path / "to")
    (found,) = verify_release(tmp_path / "release.yaml", tmp_path / "to")
    assert [problem.code for check in found.checks for problem in check.problems] == []
    copy = tmp_path / "to" / "datasets" / "river-lab" / "masac"
    assert [path.parent.name for path in copy.rglob("*.parquet")] == ["masac", "masac"]
    full = hydrate_dataset(copy, corpora_dir, tmp_path / "full")
    assert full.manifest.content_sha256 == built.manifest.content_sha256
