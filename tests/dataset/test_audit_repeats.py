"""Duplicates and conflicts: known answers, and a count straight from the Parquet files."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from dialoguellm_release.leakage.audit import find_conflicts, find_duplicates, find_repeats
from dialoguellm_release.leakage.turns import as_turns
from dialoguellm_release.record_columns import columns_of
from dialoguellm_release.schemas.audit import Audit, Conflict, Duplicate
from dialoguellm_release.schemas.dataset_manifest import DatasetManifest
from dialoguellm_release.schemas.record import Record
from dialoguellm_release.step import StepResult
from dialoguellm_release.steps.dataset import audit_dataset, build_dataset
from tests.corpus_names import CORPORA

DialogueOf = Callable[..., list[Record]]
Groups = list[tuple[tuple[str, str], ...]]


def duplicate_groups(records: Sequence[Record]) -> list[Duplicate]:
    turns = as_turns([columns_of(records)], CORPORA)
    return find_duplicates(turns, find_repeats(turns))


def conflict_groups(records: Sequence[Record]) -> list[Conflict]:
    turns = as_turns([columns_of(records)], CORPORA)
    return find_conflicts(turns, find_repeats(turns))


def duplicates(records: Sequence[Record]) -> Groups:
    return [tuple((name, one.label) for name in one.ids) for one in duplicate_groups(records)]


def conflicts(records: Sequence[Record]) -> Groups:
    return [tuple((one.id, one.label) for one in group.records) for group in conflict_groups(records)]


def test_same_text_context_and_label_are_a_duplicate(dialogue_of: DialogueOf) -> None:
    records = dialogue_of("meld/train/1", ["Where is it?", "I have no idea at all."])
    records += dialogue_of("meld/train/2", ["Who?", "WHERE is it", "I have no idea at all!"])
    records += dialogue_of("dailydialog/train/1", ["Ah.", "I have no idea at all."])
    assert duplicates(records) == [(("meld/train/1/1", "neutral"), ("meld/train/2/2", "neutral"))]
    assert duplicate_groups(records)[0].words == 6
    assert conflicts(records) == []


def test_same_text_and_context_with_other_labels_is_a_conflict(dialogue_of: DialogueOf) -> None:
    records = dialogue_of("meld/train/1", ["Yes.", "No."], ["neutral", "anger"])
    records += dialogue_of("meisd/train/1", ["Yes.", "No."], ["happiness", "fear"])
    records += dialogue_of("meld/test/1", ["Well.", "Yes.", "No."], ["neutral", "neutral", "anger"])
    assert conflicts(records) == [
        (("meld/train/1/0", "neutral"), ("meisd/train/1/0", "happiness")),
        (("meld/train/1/1", "anger"), ("meld/test/1/2", "anger"), ("meisd/train/1/1", "fear")),
    ]
    assert [one.words for one in conflict_groups(records)] == [1, 1]
    assert duplicates(records) == []


def test_only_training_records_are_duplicates(dialogue_of: DialogueOf) -> None:
    records = [
        one
        for split in ("train", "validation", "test")
        for one in dialogue_of(f"meld/{split}/1", ["Yes.", "No."])
    ]
    assert duplicates(records) == []
    records += dialogue_of("emorynlp/train/7", ["Yes."])
    assert duplicates(records) == [(("meld/train/1/0", "neutral"), ("emorynlp/train/7/0", "neutral"))]


def test_a_conflict_may_hold_duplicates(dialogue_of: DialogueOf) -> None:
    records = dialogue_of("meld/train/1", ["Yes."], ["anger"])
    records += dialogue_of("meld/train/2", ["Yes."], ["fear"]) + dialogue_of(
        "meld/train/3", ["Yes."], ["anger"]
    )
    assert duplicates(records) == [(("meld/train/1/0", "anger"), ("meld/train/3/0", "anger"))]
    assert [len(group) for group in conflicts(records)] == [3]


def test_speakers_are_no_part_of_the_context(dialogue_of: DialogueOf) -> None:
    records = dialogue_of("meld/train/1", ["Yes.", "No."])
    records += dialogue_of("meld/train/2", ["So?", "Yes.", "No."])
    assert records[1].context != records[4].context
    assert duplicates(records) == [(("meld/train/1/1", "neutral"), ("meld/train/2/2", "neutral"))]


@pytest.mark.parametrize(("k", "found"), [(0, 3), (1, 1), (2, 0), (9, 0)])
def test_the_context_is_as_long_as_the_records_show_it(dialogue_of: DialogueOf, k: int, found: int) -> None:
    records = dialogue_of("meld/train/1", ["Well.", "Yes.", "No.", "Ah."], k=k)
    records += dialogue_of("meld/train/2", ["So?", "Yes.", "No.", "Yes."], k=k)
    groups = duplicates(records)
    assert len(groups) == (2 if k == 0 else found)
    assert sum(map(len, groups)) == (5 if k == 0 else 2 * found)


def test_no_words_are_no_text_but_a_context(dialogue_of: DialogueOf) -> None:
    records = dialogue_of("meld/train/1", ["...", "Yes."]) + dialogue_of("meld/train/2", ["?!", "Yes."])
    assert duplicates(records) == [(("meld/train/1/1", "neutral"), ("meld/train/2/1", "neutral"))]
    assert duplicates(records + dialogue_of("meld/train/3", ["Yes."])) == duplicates(records)


@cache
def plain(text: str) -> str:
    """The words of a text; most texts come twice, as an utterance and as the context of the next."""
    return " ".join(re.findall("[a-z0-9]+", re.sub("['’‘`]", "", text.lower())))


def from_parquet(folder: Path) -> dict[tuple[str, ...], list[tuple[str, str, str]]]:
    """Id, split and label by normalised text and context, the speaker cut off the context's lines."""
    grouped: defaultdict[tuple[str, ...], list[tuple[str, str, str]]] = defaultdict(list)
    columns = ["id", "split", "input", "context", "output", "speaker"]
    for corpus in CORPORA:
        if not (folder / "data" / corpus).is_dir():
            continue
        for row in pq.read_table(folder / "data" / corpus, columns=columns).to_pylist():
            lines = [line.split(": ", 1)[1] if row["speaker"] else line for line in row["context"]]
            key = tuple(map(plain, (row["input"], *lines)))
            if key[0]:
                grouped[key].append((row["id"], row["split"], row["output"]))
    return grouped


def compare(folder: Path, audit: Audit) -> tuple[int, int]:
    """Compares duplicates and conflicts with those of the Parquet files; gives how many there are."""
    expected_duplicates, expected_conflicts = set(), set()
    for key, rows in from_parquet(folder).items():
        words = len(key[0].split())
        by_label: defaultdict[str, set[str]] = defaultdict(set)
        for name, split, label in rows:
            if split == "train":
                by_label[label].add(name)
        expected_duplicates |= {
            (words, label, frozenset(names)) for label, names in by_label.items() if len(names) > 1
        }
        if len({label for *_, label in rows}) > 1:
            expected_conflicts.add((words, frozenset((name, label) for name, _, label in rows)))
    assert {(one.words, one.label, frozenset(one.ids)) for one in audit.duplicates} == expected_duplicates
    assert {
        (one.words, frozenset((record.id, record.label) for record in one.records)) for one in audit.conflicts
    } == expected_conflicts
    assert len(audit.duplicates) == len(expected_duplicates)
    assert len(audit.conflicts) == len(expected_conflicts)
    return len(audit.duplicates), len(audit.conflicts)


def test_the_demo_dataset_against_its_parquet(sources: Path, tmp_path: Path) -> None:
    path = sources / "emorynlp" / "emorynlp_train_final.csv"
    header, first, rest = path.read_text(encoding="utf-8").split("\n", 2)
    scared = re.sub(r"\],\w+,|\]\",\w+,", lambda found: f"{found[0].split(',')[0]},Scared,", first)
    assert scared != first
    path.write_text("\n".join((header, scared, rest)), encoding="utf-8")
    folder = build_dataset("demo", sources, tmp_path / "out").folder
    found_duplicates, found_conflicts = compare(folder, audit_dataset(folder))
    assert found_duplicates > 0
    assert found_conflicts == 1


@pytest.mark.corpora
def test_the_real_dataset_against_its_parquet(
    paper_dataset: StepResult[DatasetManifest], paper_audit: Audit
) -> None:
    found_duplicates, found_conflicts = compare(paper_dataset.folder, paper_audit)
    assert found_duplicates > 1000
    assert found_conflicts > 1000
