"""The overlaps of the audit: known answers, and a count by brute force straight from the Parquet files."""

from __future__ import annotations

import re
import shutil
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from unittest import mock

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialoguellm_release.errors import DataError
from dialoguellm_release.folders import stamps, write_manifest
from dialoguellm_release.leakage import shared
from dialoguellm_release.leakage.shared import find_ngrams, find_overlaps, find_shared
from dialoguellm_release.leakage.turns import NONE, Turns, as_turns, read_turns
from dialoguellm_release.record_columns import columns_of
from dialoguellm_release.schemas.audit import Audit, Overlap
from dialoguellm_release.schemas.dataset_manifest import DatasetManifest, PublishedSubset
from dialoguellm_release.schemas.record import Record
from dialoguellm_release.step import StepResult
from dialoguellm_release.steps.dataset import audit_dataset
from tests.corpus_names import CORPORA

DialogueOf = Callable[..., list[Record]]
Spoken = list[str]
BOAT = "You never told me about the boat!"
SHORT = ("Hi.", "No.", "Why?", "So?", "Well.")


def only(records: Sequence[Record]) -> Overlap:
    (overlap,) = overlaps_of(as_turns([columns_of(records)], CORPORA))
    return overlap


def overlaps_of(turns: Turns) -> list[Overlap]:
    found = find_shared(turns)
    return find_overlaps(turns, found, find_ngrams(found.speech))


def figures(overlap: Overlap) -> dict[str, object]:
    return overlap.model_dump(exclude={"held_out", "training", "dialogues", "utterances"})


NOTHING = {
    "utterances_found": 0,
    "dialogues_with_run": 0,
    "utterances_in_runs": 0,
    "dialogues_covered": 0,
    "dialogues_identical": 0,
    "ngram_share": None,
}


def test_an_utterance_of_five_words_is_found_and_one_of_four_is_not(dialogue_of: DialogueOf) -> None:
    train = dialogue_of("meld/train/1", [BOAT, "Where is the boat?", "Now where is the boat?"])
    held_out = dialogue_of(
        "emorynlp/test/1", ["now WHERE is the boat", "Where is the boat?", "You told me about the boat."]
    )
    overlap = only(train + held_out)
    assert (overlap.held_out, overlap.training) == ("emorynlp/test", "meld/train")
    assert (overlap.dialogues, overlap.utterances) == (1, 2)
    assert overlap.utterances_found == 1
    assert overlap.dialogues_with_run == 0


def test_every_occurrence_in_the_held_out_split_counts(dialogue_of: DialogueOf) -> None:
    held_out = dialogue_of("meld/test/1", [BOAT, "Sorry.", BOAT]) + dialogue_of("meld/test/2", [BOAT])
    overlap = only(dialogue_of("meld/train/1", [BOAT, "Yes."]) + held_out)
    assert (overlap.utterances, overlap.utterances_found) == (3, 3)


@pytest.mark.parametrize(
    ("held_out", "expected"),
    [
        (["Hi.", "No.", "Why?"], {"dialogues_with_run": 1, "utterances_in_runs": 3, "dialogues_covered": 1}),
        (["Ah.", "No!", "Why?", "so"], {"dialogues_with_run": 1, "utterances_in_runs": 3}),
        (["No.", "Why?"], {}),
        (["Hi.", "No.", "Ah.", "Why?", "So?"], {}),
        (["Why?", "No.", "Hi."], {}),
        (
            ["Hi.", "No.", "Why?", "No.", "Why?", "So?"],
            {"dialogues_with_run": 1, "utterances_in_runs": 6, "dialogues_covered": 1},
        ),
        (
            ["Hi.", "No.", "Why?", "Ah.", "Why?", "So?", "Well."],
            {"dialogues_with_run": 1, "utterances_in_runs": 6},
        ),
        (
            list(SHORT),
            {
                "dialogues_with_run": 1,
                "utterances_in_runs": 5,
                "dialogues_covered": 1,
                "dialogues_identical": 1,
            },
        ),
    ],
)
def test_runs(dialogue_of: DialogueOf, held_out: Spoken, expected: dict[str, int]) -> None:
    overlap = only(dialogue_of("meld/train/1", SHORT) + dialogue_of("meld/test/1", held_out))
    assert figures(overlap) == NOTHING | expected


def test_a_run_lies_in_one_dialogue_on_both_sides(dialogue_of: DialogueOf) -> None:
    whole = dialogue_of("meld/train/1", SHORT[:3])
    halves = dialogue_of("meld/train/1", SHORT[:2]) + dialogue_of("meld/train/2", SHORT[2:])
    assert figures(only(halves + dialogue_of("meld/test/1", SHORT[:3]))) == NOTHING
    cut = dialogue_of("meld/test/1", SHORT[:2]) + dialogue_of("meld/test/2", SHORT[2:3])
    assert figures(only(whole + cut)) == NOTHING


def test_a_dialogue_too_short_for_a_run_may_still_be_identical(dialogue_of: DialogueOf) -> None:
    train = dialogue_of("meld/train/1", ["Hi.", "No."])
    assert figures(only(train + dialogue_of("meld/test/1", ["hi", "no"]))) == NOTHING | {
        "dialogues_identical": 1
    }
    assert figures(only(train + dialogue_of("meld/test/1", ["Hi."]))) == NOTHING


def test_an_utterance_of_no_words_neither_makes_nor_breaks_a_run(dialogue_of: DialogueOf) -> None:
    train = dialogue_of("meld/train/1", ["...", "...", "...", "Hi.", "No.", "Why?"])
    assert set(figures(only(train + dialogue_of("meld/test/1", ["?!", "...", "-"]))).values()) == {None}
    overlap = only(train + dialogue_of("meld/test/1", ["Hi.", "...", "No.", "Why?", "!"]))
    assert figures(overlap) == NOTHING | {
        "dialogues_with_run": 1,
        "utterances_in_runs": 3,
        "dialogues_covered": 1,
        "dialogues_identical": 1,
    }
    assert only(train + dialogue_of("meld/test/1", ["..."])).dialogues == 1


def test_ngrams_find_a_text_that_is_cut_otherwise(dialogue_of: DialogueOf) -> None:
    train = dialogue_of("meld/train/1", ["one two three four five six", "seven eight nine"])
    cut = dialogue_of("meld/test/1", ["zero", "one two three", "four five six seven eight", "nine ten"])
    overlap = only(train + cut)
    assert overlap.utterances_found == 0
    assert overlap.ngram_share == 2 / 4
    seven = dialogue_of("meld/test/1", ["one two three four five six", "seven"])
    assert only(train + seven).ngram_share is None
    two = dialogue_of("meld/test/1", ["one two three four"]) + dialogue_of(
        "meld/test/2", ["five six seven eight"]
    )
    assert only(train + two).ngram_share is None


def test_ngrams_count_as_often_as_they_occur(dialogue_of: DialogueOf) -> None:
    words = "one two three four five six seven eight"
    train = dialogue_of("meld/train/1", [words])
    held_out = dialogue_of("meld/test/1", [words]) + dialogue_of("meld/test/2", [words])
    held_out += dialogue_of("meld/test/3", ["and one two three four five six seven"])
    assert only(train + held_out).ngram_share == 2 / 3


def test_all_pairs_are_listed(dialogue_of: DialogueOf) -> None:
    names = ("meld/train", "meld/validation", "meld/test", "dailydialog/train", "iemocap/test")
    records = [one for name in names for one in dialogue_of(f"{name}/1", [name])]
    overlaps = overlaps_of(as_turns([columns_of(records)], CORPORA))
    assert [(one.held_out, one.training) for one in overlaps] == [
        (held_out, training)
        for held_out in ("meld/validation", "meld/test", "iemocap/test")
        for training in ("meld/train", "dailydialog/train")
    ]
    assert overlaps_of(as_turns([], CORPORA)) == []


def test_records_may_come_in_any_order(dialogue_of: DialogueOf) -> None:
    records = dialogue_of("meld/train/1", SHORT) + dialogue_of("meld/test/1", SHORT)
    assert only(records[::-1]) == only(records[1::2] + records[::2]) == only(records)


def test_a_dialogue_that_lacks_turns_is_refused(dialogue_of: DialogueOf) -> None:
    with pytest.raises(DataError, match="meld/test/1/2: its context shows turns that are not in the dataset"):
        as_turns([columns_of(dialogue_of("meld/test/1", SHORT, k=2)[2:])], CORPORA)


TOKENS = st.lists(st.tuples(st.integers(0, 2), st.booleans()), max_size=40)


@pytest.mark.parametrize("factor", [shared._FACTOR, 1 << 62], ids=["hashes", "hashes that are often equal"])
@given(TOKENS, st.integers(1, 9))
def test_stretches_have_the_same_number_when_they_are_equal(
    factor: int, tokens: list[tuple[int, bool]], size: int
) -> None:
    values = np.array([value for value, _ in tokens], dtype=np.int64)
    groups = np.cumsum([is_first for _, is_first in tokens], dtype=np.int64)
    starts = np.flatnonzero(np.diff(groups, prepend=-1))
    with mock.patch.object(shared, "_FACTOR", factor):
        numbers = shared.number_stretches(values, starts, size).tolist()
    assert len(numbers) == len(tokens)
    stretches = [
        tuple(values[start : start + size])
        if start + size <= len(tokens) and len(set(groups[start : start + size])) == 1
        else None
        for start in range(len(tokens))
    ]
    stretches = [one if size == 1 or stretches.count(one) > 1 else None for one in stretches]
    assert [number == NONE for number in numbers] == [one is None for one in stretches]
    for one, number in zip(stretches, numbers, strict=True):
        for other, other_number in zip(stretches, numbers, strict=True):
            assert (one == other) == (number == other_number)


def by_brute_force(held_out: Sequence[Spoken], training: Sequence[Spoken]) -> dict[str, object]:
    """The figures of an overlap, from normalised dialogues, by comparing every utterance with every other."""
    with_words = [[text for text in one if text] for one in held_out]
    known = [[text for text in one if text] for one in training]
    telling = [text for one in with_words for text in one if len(text.split()) >= 5]
    said = {text for one in known for text in one}
    holders: defaultdict[str, set[int]] = defaultdict(set)
    for number, one in enumerate(known):
        for text in one:
            holders[text].add(number)
    inside = [[False] * len(one) for one in with_words]
    for one, marks in zip(with_words, inside, strict=True):
        for number in set().union(*(holders.get(text, ()) for text in one)):
            mark_runs(one, known[number], marks)
    ngrams = [gram for one in with_words for gram in grams(one)]
    known_ngrams = {gram for one in known for gram in grams(one)}
    if not any(known) or not any(with_words):
        counts = (name for name in Overlap.model_fields if name not in ("held_out", "training"))
        return dict.fromkeys(counts) | {"dialogues": len(held_out), "utterances": len(telling)}
    return {
        "dialogues": len(held_out),
        "utterances": len(telling),
        "utterances_found": sum(text in said for text in telling),
        "dialogues_with_run": sum(any(marks) for marks in inside),
        "utterances_in_runs": sum(sum(marks) for marks in inside),
        "dialogues_covered": sum(bool(marks) and all(marks) for marks in inside),
        "dialogues_identical": sum(one in known for one in with_words if one),
        "ngram_share": sum(gram in known_ngrams for gram in ngrams) / len(ngrams) if ngrams else None,
    }


def mark_runs(one: Spoken, other: Spoken, marks: list[bool]) -> None:
    for start in range(len(one)):
        for there in range(len(other)):
            length = 0
            while (
                one[start + length : start + length + 1] == other[there + length : there + length + 1] != []
            ):
                length += 1
            if length >= 3:
                marks[start : start + length] = [True] * length


def grams(one: Spoken) -> Iterator[str]:
    words = " ".join(one).split()
    return (" ".join(words[start : start + 8]) for start in range(len(words) - 7))


TEXTS = st.sampled_from(["", "a", "b", "a b c d e", "b a", "a a a a a a", "b b b b b b b b"])
DIALOGUES = st.lists(st.lists(TEXTS, min_size=1, max_size=8), min_size=1, max_size=4)


@given(DIALOGUES, DIALOGUES)
def test_every_figure_is_that_of_a_brute_force_count(
    dialogue_of: DialogueOf, held_out: list[Spoken], training: list[Spoken]
) -> None:
    named = [(f"meld/test/{number}", one) for number, one in enumerate(held_out)]
    named += [(f"dailydialog/train/{number}", one) for number, one in enumerate(training)]
    records = [record for name, one in named for record in dialogue_of(name, [text or "..." for text in one])]
    found = only(records).model_dump(exclude={"held_out", "training"})
    assert found == by_brute_force(held_out, training)


def spoken(folder: Path, corpus: str, split: str) -> dict[str, Spoken]:
    """The normalised dialogues of a split straight from the Parquet, with a normalisation of its own."""
    columns = ["dialogue_id", "utterance_index", "input", "split"]
    rows = pq.read_table(folder / "data" / corpus, columns=columns).to_pylist()
    dialogues: dict[str, dict[int, str]] = {}
    for row in rows:
        if row["split"] == split:
            kept = re.sub("['’‘`]", "", unicodedata.normalize("NFKC", row["input"]).casefold())
            words = " ".join(re.findall(r"[^\W_]+", kept))
            dialogues.setdefault(row["dialogue_id"], {})[row["utterance_index"]] = words
    return {key: [text for _, text in sorted(turns.items())] for key, turns in dialogues.items()}


def compare(overlaps: Sequence[Overlap], folder: Path, is_sampled: Callable[[str], bool]) -> int:
    """Compares overlaps with a count by brute force; gives how many pairs have a run in common."""
    splits: dict[str, list[Spoken]] = {}
    for name in {name for row in overlaps for name in (row.held_out, row.training)}:
        corpus, split = name.split("/")
        dialogues = spoken(folder, corpus, split)
        splits[name] = [one for key, one in dialogues.items() if split == "train" or is_sampled(key)]
    for row in overlaps:
        expected = by_brute_force(splits[row.held_out], splits[row.training])
        assert row.model_dump(exclude={"held_out", "training"}) == expected, (row.held_out, row.training)
    return sum(bool(row.dialogues_with_run) for row in overlaps)


def test_the_demo_dataset_by_brute_force(demo_dataset: StepResult[DatasetManifest]) -> None:
    overlaps = audit_dataset(demo_dataset.folder).overlaps
    assert len(overlaps) == 9 * 5
    assert compare(overlaps, demo_dataset.folder, lambda _: True) >= 2
    identical = {(row.held_out, row.training) for row in overlaps if row.dialogues_identical}
    assert {("meld/test", "emorynlp/train"), ("dailydialog/test", "dailydialog/train")} <= identical


def test_a_published_copy_is_audited_by_what_is_in_it(
    demo_dataset: StepResult[DatasetManifest], tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(demo_dataset.folder, copy)
    manifest = demo_dataset.manifest
    left_out = tuple(name for name in manifest.figures.corpora if name != "iemocap")
    for name in left_out:
        shutil.rmtree(copy / "data" / name)
    splits = manifest.figures.corpora["iemocap"].splits
    published = PublishedSubset(
        left_out=left_out,
        records={split: one.utterances for split, one in splits.items()},
        dialogues={split: one.dialogues for split, one in splits.items()},
        published_sha256="0" * 64,
    )
    write_manifest(copy, manifest.model_copy(update={"published": published, "outputs": stamps(copy)}))
    of_whole = audit_dataset(demo_dataset.folder).overlaps
    pair = ("iemocap/test", "iemocap/train")
    assert [row for row in of_whole if (row.held_out, row.training) == pair] == list(
        audit_dataset(copy).overlaps
    )


@pytest.mark.slow
@pytest.mark.corpora
def test_a_sample_of_the_real_corpora_by_brute_force(paper_dataset: StepResult[DatasetManifest]) -> None:
    def is_sampled(dialogue_id: str) -> bool:
        return sum(map(ord, dialogue_id)) % 11 == 0

    turns, _ = read_turns(paper_dataset.folder, lambda _: None)
    names = [turns.id_of(place).split("/") for place in range(len(turns.place))]
    chosen = np.array([split == "train" or is_sampled(dialogue) for _, split, dialogue, _ in names])
    overlaps = overlaps_of(turns.where(chosen))
    assert len(overlaps) == 8 * 4
    assert sum(row.dialogues for row in overlaps) > 4 * 200
    assert compare(overlaps, paper_dataset.folder, is_sampled) >= 4


@pytest.mark.corpora
def test_the_shares_that_the_readme_tells_are_those_of_the_audit(
    paper_audit: Audit,
) -> None:
    overlaps = {(one.held_out, one.training): one for one in paper_audit.overlaps}
    readme = " ".join((Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8").split())

    def percent(held_out: str, training: str) -> str:
        overlap = overlaps[held_out, training]
        assert overlap.utterances_found is not None
        return f"{100 * overlap.utterances_found / overlap.utterances:.0f} %"

    own, other = percent("dailydialog/test", "dailydialog/train"), percent("meld/test", "emorynlp/train")
    assert (
        f"{own} of DailyDialog's longer test utterances are in its own training split word for word" in readme
    )
    assert f"{other} of MELD's are in EmoryNLP's" in readme
