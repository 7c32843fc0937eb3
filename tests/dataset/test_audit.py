"""The audit in a dataset folder: the same as the command prints, in short, and as it may be published."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from dialoguellm_release.layout import AUDIT
from dialoguellm_release.leakage.audit import audit_as_json, make_ledger, publishable_audit
from dialoguellm_release.leakage.turns import as_turns
from dialoguellm_release.record_columns import columns_of
from dialoguellm_release.schemas.audit import Audit
from dialoguellm_release.schemas.dataset_manifest import DatasetManifest
from dialoguellm_release.schemas.recipes.dataset import CleanRules
from dialoguellm_release.schemas.record import Record
from dialoguellm_release.step import StepResult
from dialoguellm_release.steps.dataset import audit_dataset, build_dataset
from tests.corpus_names import CORPORA

Dataset = StepResult[DatasetManifest]
DialogueOf = Callable[..., list[Record]]


def audit_of(records: list[Record]) -> Audit:
    return make_ledger(as_turns([columns_of(records)], CORPORA), CleanRules()).audit


def test_the_folder_holds_what_a_new_audit_finds(demo_dataset: Dataset) -> None:
    found = audit_dataset(demo_dataset.folder)
    assert (demo_dataset.folder / AUDIT).read_text(encoding="utf-8") == audit_as_json(found)
    assert demo_dataset.manifest.figures.audit == found.figures
    assert AUDIT in {file.path for file in demo_dataset.manifest.outputs}


def test_the_audit_in_numbers(dialogue_of: DialogueOf) -> None:
    records = dialogue_of("meld/train/1", ["I have no idea.", "Yes, I have no idea."], ["fear", "fear"])
    records += dialogue_of("meisd/train/1", ["I have no idea.", "Yes, I have no idea."], ["fear", "anger"])
    records += dialogue_of("meld/test/1", ["yes i have no idea"]) + dialogue_of(
        "iemocap/test/1", ["I have no idea!"]
    )
    found = audit_of(records).figures
    assert [(row.held_out, row.training) for row in found.overlaps] == [
        ("meld/test", "meld/train"),
        ("meld/test", "meisd/train"),
    ]
    assert found.pairs_without_overlap == 2
    assert found.duplicates.model_dump() == {
        "groups": 1,
        "records": 2,
        "groups_of_5_words": 0,
        "groups_across_corpora": 1,
    }
    assert found.conflicts.model_dump() == {
        "groups": 2,
        "records": 5,
        "groups_of_5_words": 1,
        "groups_across_corpora": 2,
    }


def test_withheld_records_are_named_by_their_splits_and_counts_stay(dialogue_of: DialogueOf) -> None:
    records = dialogue_of("meld/train/1", ["Yes.", "No."], ["fear", "anger"])
    records += dialogue_of("meisd/train/7", ["Yes.", "No."], ["fear", "fear"])
    records += dialogue_of("meisd/test/8", ["Well.", "Yes.", "No."], ["fear", "neutral", "sadness"])
    whole = audit_of(records)
    published = publishable_audit(whole, ["meisd"])
    assert published.figures == whole.figures
    assert published.overlaps == whole.overlaps
    (duplicate,), (conflict,) = published.duplicates, published.conflicts
    assert duplicate.ids == ("meld/train/1/0", "meisd/train")
    assert [(one.id, one.label) for one in conflict.records] == [
        ("meld/train/1/1", "anger"),
        ("meisd/train", "fear"),
        ("meisd/test", "sadness"),
    ]
    assert publishable_audit(whole, []) == whole
    assert "meisd/train/" not in audit_as_json(published)


def test_two_datasets_are_compared_before_they_are_mixed(tmp_path: Path) -> None:
    others = {"meld", "emorynlp", "dailydialog", "meisd", "iemocap"}
    made = {
        name: build_dataset("demo", out=tmp_path / name, skip=sorted(others - {name})).folder
        for name in ("meld", "emorynlp")
    }
    both = build_dataset("demo", out=tmp_path / "both", skip=sorted(others - set(made))).folder
    found, joint = audit_dataset(made["meld"], made["emorynlp"]), audit_dataset(both)
    assert found.agreement == joint.agreement
    assert found.overlaps == tuple(
        one for one in joint.overlaps if one.held_out.split("/")[0] != one.training.split("/")[0]
    )
    assert any(one.utterances_found for one in found.overlaps)
    for one in found.conflicts:
        assert {two.id.split("/")[0] for two in one.records} == set(made)


def test_a_corpus_that_both_datasets_have_gets_another_name(demo_dataset: Dataset, tmp_path: Path) -> None:
    part = build_dataset("demo", out=tmp_path / "part", skip=["dailydialog", "meisd", "iemocap"]).folder
    found = audit_dataset(demo_dataset.folder, part)
    (row,) = [
        one for one in found.overlaps if (one.held_out, one.training) == ("meld/test", "other_meld/train")
    ]
    (same,) = [
        one
        for one in audit_dataset(demo_dataset.folder).overlaps
        if (one.held_out, one.training) == ("meld/test", "meld/train")
    ]
    assert row == same.model_copy(update={"training": "other_meld/train"})
    agreement = next(one for one in found.agreement if (one.first, one.second) == ("meld", "other_meld"))
    assert agreement.observed == 1
