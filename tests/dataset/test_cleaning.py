"""The clean part: which of the records that repeat or contradict each other stay, by which rule."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialoguellm_release.leakage.audit import PART_OF, make_ledger
from dialoguellm_release.leakage.turns import as_turns
from dialoguellm_release.record_columns import columns_of
from dialoguellm_release.records import read_records
from dialoguellm_release.schemas.dataset_manifest import DatasetManifest
from dialoguellm_release.schemas.labels import LABELS, SPLITS, Label
from dialoguellm_release.schemas.recipes.dataset import CleanRules
from dialoguellm_release.schemas.record import Record
from dialoguellm_release.step import StepResult
from dialoguellm_release.steps.dataset import build_dataset
from tests.corpus_names import CORPORA

DialogueOf = Callable[..., list[Record]]


def clean_of(records: Sequence[Record], rules: CleanRules) -> set[str]:
    """The training records that stay."""
    turns = as_turns([columns_of(records)], CORPORA)
    decisions = make_ledger(turns, rules).decisions.tolist()
    kept = {turns.id_of(place) for place, decision in enumerate(decisions) if PART_OF[decision] == "clean"}
    return {name for name in kept if "/train/" in name}


def saying(dialogue_of: DialogueOf, labels: Sequence[Label], corpus: str = "meld") -> list[Record]:
    """Dialogues of one word, numbered from 2, whose ids therefore do not sort as text."""
    return [
        record
        for number, label in enumerate(labels, 2)
        for record in dialogue_of(f"{corpus}/train/{number}", ["Yes."], [label])
    ]


@pytest.mark.parametrize(
    ("rules", "labels", "kept"),
    [
        (CleanRules(), ["anger"] * 9, [2]),
        (CleanRules(duplicates="keep"), ["anger"] * 3, [2, 3, 4]),
        (CleanRules(), ["anger", "fear", "fear"], [3]),
        (CleanRules(duplicates="keep"), ["anger", "fear", "fear"], [3, 4]),
        (CleanRules(), ["fear", "anger", "anger", "fear"], [2]),
        (CleanRules(conflicts="drop"), ["anger", "fear", "fear"], []),
        (CleanRules(conflicts="drop"), ["fear", "fear"], [2]),
        (CleanRules(conflicts="keep"), ["anger", "fear", "fear"], [2, 3]),
        (CleanRules(conflicts="keep", duplicates="keep"), ["anger", "fear", "fear"], [2, 3, 4]),
    ],
)
def test_the_rules(dialogue_of: DialogueOf, rules: CleanRules, labels: list[Label], kept: list[int]) -> None:
    assert clean_of(saying(dialogue_of, labels), rules) == {f"meld/train/{number}/0" for number in kept}


def test_the_first_is_told_by_corpus_and_number_and_not_by_the_order_of_reading(
    dialogue_of: DialogueOf,
) -> None:
    records = saying(dialogue_of, ["anger"] * 9) + saying(dialogue_of, ["fear"] * 9, "dailydialog")
    assert clean_of(records, CleanRules()) == {"meld/train/2/0"}
    assert clean_of(records[::-1], CleanRules()) == {"meld/train/2/0"}


def test_what_leaks_neither_stays_nor_votes_and_held_out_labels_do_not_either(
    dialogue_of: DialogueOf,
) -> None:
    labels: list[Label] = ["anger", "fear"]
    leaking = dialogue_of("meld/train/1", ["You never told me about the boat!", "Yes."], ["neutral", "fear"])
    held_out = dialogue_of("meld/test/1", ["you never told me about the boat", "yes"], ["neutral", "fear"])
    plain = [
        record
        for number, label in enumerate(labels, 2)
        for record in dialogue_of(f"meld/train/{number}", ["Oh.", "Yes."], ["neutral", label])
    ]
    kept = clean_of(plain + leaking + held_out, CleanRules())
    assert kept == {"meld/train/2/0", "meld/train/2/1"}


def test_another_context_is_no_repetition(dialogue_of: DialogueOf) -> None:
    records = dialogue_of("meld/train/1", ["Oh.", "Yes."]) + dialogue_of("meld/train/2", ["Ah.", "Yes."])
    assert len(clean_of(records, CleanRules())) == 4
    assert clean_of(records, CleanRules(duplicates="keep")) == clean_of(records, CleanRules())


@given(
    st.lists(st.sampled_from(LABELS[:3]), min_size=1, max_size=8),
    st.sampled_from(["majority", "drop", "keep"]),
    st.sampled_from(["first", "keep"]),
)
def test_what_stays_of_a_group(
    dialogue_of: DialogueOf, labels: list[Label], conflicts: str, duplicates: str
) -> None:
    rules = CleanRules.model_validate({"conflicts": conflicts, "duplicates": duplicates})
    kept = [labels[int(name.split("/")[2]) - 2] for name in clean_of(saying(dialogue_of, labels), rules)]
    if conflicts != "keep":
        assert len(set(kept)) <= 1
        assert all(labels.count(kept[0]) >= labels.count(other) for other in labels if kept)
    assert bool(kept) == (conflicts != "drop" or len(set(labels)) == 1)
    for label in set(kept):
        assert kept.count(label) == (1 if duplicates == "first" else labels.count(label))


def test_the_config_clean_has_the_clean_part_and_held_out_splits_whole(
    demo_dataset: StepResult[DatasetManifest], tmp_path: Path
) -> None:
    from datasets import load_dataset

    figures = demo_dataset.manifest.figures
    clean = sum(corpus.parts["train"].clean for corpus in figures.corpora.values())
    loaded = load_dataset(str(demo_dataset.folder), "clean", cache_dir=str(tmp_path))
    sizes = {split: len(rows) for split, rows in loaded.items()}
    assert 0 < clean < figures.records["train"]
    assert sizes == figures.records | {"train": clean}
    for split in SPLITS:
        records = list(read_records(demo_dataset.folder, "clean", split))
        assert sorted(record.id for record in records) == sorted(loaded[split]["id"])
        assert any(record.leaks for record in records) == (split != "train")


def test_the_clean_rows_come_first(demo_dataset: StepResult[DatasetManifest], tmp_path: Path) -> None:
    from datasets import load_dataset

    figures = demo_dataset.manifest.figures
    loaded = load_dataset(str(demo_dataset.folder), cache_dir=str(tmp_path))
    for split in SPLITS:
        clean = sum(one.parts[split].clean for one in figures.corpora.values() if split in one.parts)
        leaks = list(loaded[split]["leaks"])
        assert not any(leaks[:clean])
        assert any(leaks[clean:])
        read = (record.id for record in read_records(demo_dataset.folder, "default", split))
        assert sorted(read) == sorted(loaded[split]["id"])


def test_the_content_hash_is_that_of_the_leaks_and_not_of_the_parts(
    sources: Path, tmp_path: Path, demo_dataset: StepResult[DatasetManifest]
) -> None:
    kept = build_dataset("demo", sources, tmp_path / "keep", overrides=["clean={duplicates: keep}"]).manifest
    assert kept.content_sha256 == demo_dataset.manifest.content_sha256
    parts = kept.figures.corpora["emorynlp"].parts["train"]
    assert parts.duplicates == 0
    assert parts.clean > demo_dataset.manifest.figures.corpora["emorynlp"].parts["train"].clean
    alone = build_dataset("demo", sources, tmp_path / "alone", skip=["emorynlp"]).manifest.figures
    before, after = demo_dataset.manifest.figures.corpora["meld"], alone.corpora["meld"]
    assert before.content_sha256["test"] != after.content_sha256["test"]
