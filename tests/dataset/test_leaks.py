"""What `leaks` says of each record: known answers, and brute force straight from the Parquet files."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialoguellm_release.leakage.audit import make_ledger
from dialoguellm_release.leakage.shared import split_names
from dialoguellm_release.leakage.turns import as_turns
from dialoguellm_release.record_columns import columns_of
from dialoguellm_release.schemas.dataset_manifest import DatasetManifest
from dialoguellm_release.schemas.labels import SPLITS
from dialoguellm_release.schemas.recipes.dataset import CleanRules
from dialoguellm_release.schemas.record import Record
from dialoguellm_release.step import StepResult
from dialoguellm_release.steps.dataset import build_dataset
from tests.corpus_names import CORPORA

DialogueOf = Callable[..., list[Record]]
Spoken = list[str]
Splits = Mapping[str, Mapping[str, Spoken]]
"""Normalised dialogues by their id, by split."""

BOAT = "You never told me about the boat!"


def leaks_of(records: Sequence[Record]) -> dict[str, tuple[str, ...]]:
    """The leaks of the records that have some."""
    turns = as_turns([columns_of(records)], CORPORA)
    leaks = make_ledger(turns, CleanRules()).leaks.tolist()
    return {turns.id_of(place): split_names(bits, turns.splits) for place, bits in enumerate(leaks) if bits}


def test_an_utterance_leaks_and_whoever_shows_it_as_context(dialogue_of: DialogueOf) -> None:
    train = dialogue_of("meld/train/1", ["Hm.", BOAT, "Sorry.", "Well."], k=2)
    held_out = dialogue_of("emorynlp/test/1", ["Listen.", "you never told me about the boat", "So?"], k=1)
    assert leaks_of(train + held_out) == {
        "meld/train/1/1": ("emorynlp/test",),
        "meld/train/1/2": ("emorynlp/test",),
        "meld/train/1/3": ("emorynlp/test",),
        "emorynlp/test/1/1": ("meld/train",),
        "emorynlp/test/1/2": ("meld/train",),
    }
    alone = dialogue_of("meld/train/1", ["Hm.", BOAT, "Sorry."], k=0)
    assert set(leaks_of(alone + held_out)) == {"meld/train/1/1", "emorynlp/test/1/1", "emorynlp/test/1/2"}


def test_all_splits_on_the_other_side_are_named_and_none_on_ones_own(dialogue_of: DialogueOf) -> None:
    names = [f"{corpus}/{split}" for corpus in CORPORA for split in SPLITS]
    found = leaks_of([one for name in names for one in dialogue_of(f"{name}/1", [BOAT])])
    training = tuple(name for name in names if name.endswith("/train"))
    held_out = tuple(name for name in names if name not in training)
    assert (len(training), held_out[-1]) == (5, "iemocap/test")
    assert found == {f"{name}/1/0": held_out if name in training else training for name in names}


@pytest.mark.parametrize(
    ("training", "held_out", "found"),
    [
        (["Where is the boat?"], ["So.", "Where is the boat?"], []),  # 4 words
        (["Hi.", "No.", "Why?", "So?"], ["Ah.", "Hi.", "No.", "Why?"], [1, 2, 3]),  # a run
        (["Hi.", "No."], ["So?", "Hi.", "No."], []),  # no run
        (["Hey.", "Hey!"], ["Hey!", "Hey."], []),  # identical, but of 2 words
        (["Where is it?", "Over there."], ["where is it", "...", "over there"], [0, 2]),  # identical
        (["one two three four", "five six seven eight"], ["one two three four five", "six seven eight"], [0]),
        (["one two three four five six seven eight"], ["well one two three four five six seven eight"], [0]),
        (
            ["one two three four five six seven eight"],
            ["a b c d e f g h i one two three four five six seven eight"],
            [],  # less than half of its words
        ),
        (["one two three four five six seven eight"], ["one two three four five", "six seven", "eight"], [0]),
    ],
)  # fmt: skip
def test_what_counts(dialogue_of: DialogueOf, training: Spoken, held_out: Spoken, found: list[int]) -> None:
    records = dialogue_of("meld/train/1", training, k=0) + dialogue_of("meisd/test/1", held_out, k=0)
    told = [name for name in leaks_of(records) if name.startswith("meisd")]
    assert told == [f"meisd/test/1/{place}" for place in found]


def everything(_dialogue_id: str) -> bool:
    return True


def by_brute_force(
    splits: Splits, k: int, is_sampled: Callable[[str], bool] = everything
) -> dict[str, set[str]]:
    """The leaks of every record of the sample that has some, utterance by utterance."""
    leaks: defaultdict[str, set[str]] = defaultdict(set)
    for other, there in splits.items():
        said = {text for one in there.values() for text in one if len(text.split()) >= 5}
        runs = {run for one in there.values() for run in triples([text for text in one if text])}
        whole = {tuple(filter(None, one)) for one in there.values()}
        grams = {gram for one in there.values() for gram in eights(one)}
        for name, dialogues in splits.items():
            if name.endswith("/train") == other.endswith("/train"):
                continue
            for dialogue_id, texts in dialogues.items():
                if not is_sampled(dialogue_id):
                    continue
                shared = marks(texts, said, runs, whole, grams)
                for place in range(len(texts)):
                    if any(shared[max(0, place - k) : place + 1]):
                        leaks[f"{name}/{dialogue_id}/{place}"].add(other)
    return leaks


def marks(
    texts: Spoken,
    said: set[str],
    runs: set[tuple[str, ...]],
    whole: set[tuple[str, ...]],
    grams: set[tuple[str, ...]],
) -> list[bool]:
    """Which utterances of a dialogue a split has something of."""
    spoken = [place for place, text in enumerate(texts) if text]
    words = [(word, place) for place in spoken for word in texts[place].split()]
    found = {place for place in spoken if texts[place] in said}
    for start in range(len(spoken) - 2):
        three = spoken[start : start + 3]
        found |= set(three) if tuple(texts[place] for place in three) in runs else set()
    if tuple(texts[place] for place in spoken) in whole and len(words) >= 5:
        found |= set(spoken)
    covered = set()
    for start in range(len(words) - 7):
        if tuple(word for word, _ in words[start : start + 8]) in grams:
            covered |= set(range(start, start + 8))
    inside = Counter(words[place][1] for place in covered)
    found |= {place for place, count in inside.items() if count >= max(5, len(texts[place].split()) / 2)}
    return [place in found for place in range(len(texts))]


def triples(texts: Spoken) -> Iterator[tuple[str, ...]]:
    return (tuple(texts[start : start + 3]) for start in range(len(texts) - 2))


def eights(texts: Spoken) -> Iterator[tuple[str, ...]]:
    words = " ".join(texts).split()
    return (tuple(words[start : start + 8]) for start in range(len(words) - 7))


TEXTS = st.sampled_from(
    ["", "a", "b", "b a", "a b c", "a b c d e", "a a a a a a", "c d e f g h i j", "x y z a b c d e f"]
)
DIALOGUES = st.lists(st.lists(TEXTS, min_size=1, max_size=7), max_size=3)


SOME_SPLITS = (
    *("meld/train", "meld/test", "meisd/train", "iemocap/validation"),
    *("dailydialog/train", "dailydialog/test"),
)


@given(st.fixed_dictionaries(dict.fromkeys(SOME_SPLITS, DIALOGUES)), st.integers(0, 3))  # fmt: skip
def test_every_record_leaks_what_brute_force_finds(
    dialogue_of: DialogueOf, spoken: dict[str, list[Spoken]], k: int
) -> None:
    splits = {name: {str(n): one for n, one in enumerate(dialogues)} for name, dialogues in spoken.items()}
    records = [
        record
        for name, dialogues in splits.items()
        for number, one in dialogues.items()
        for record in dialogue_of(f"{name}/{number}", [text or "..." for text in one], k=k)
    ]
    found = {name: set(leaks) for name, leaks in leaks_of(records).items()}
    assert found == by_brute_force(splits, k)


def rows_of(folder: Path) -> list[dict[str, Any]]:
    """Every record as it stands in the Parquet files, with the part that its file says."""
    where = ["id", "corpus", "split", "dialogue_id", "utterance_index"]
    columns = [*where, "speaker", "input", "context", "leaks"]
    return [
        row | {"part": path.name.split("-")[1]}
        for path in sorted((folder / "data").rglob("*.parquet"))
        for row in pq.read_table(path, columns=columns).to_pylist()
    ]  # fmt: skip


def normalised(text: str) -> str:
    return " ".join(re.findall("[a-z0-9]+", re.sub("['’‘`]", "", text.lower())))


def compare(folder: Path, k: int, is_sampled: Callable[[str], bool] = everything) -> list[dict[str, Any]]:
    """Compares `leaks` and the parts with a count by brute force; gives the rows."""
    rows = rows_of(folder)
    rows.sort(key=lambda row: (row["corpus"], row["split"], row["dialogue_id"], row["utterance_index"]))
    splits: defaultdict[str, defaultdict[str, Spoken]] = defaultdict(lambda: defaultdict(list))
    name_of = {}
    for row in rows:
        dialogue = splits[f"{row['corpus']}/{row['split']}"][row["dialogue_id"]]
        name_of[row["id"]] = f"{row['corpus']}/{row['split']}/{row['dialogue_id']}/{len(dialogue)}"
        dialogue.append(normalised(row["input"]))
    expected = by_brute_force(splits, k, is_sampled)
    assert expected
    for row in rows:
        if is_sampled(row["dialogue_id"]):
            assert set(row["leaks"]) == expected.get(name_of[row["id"]], set()), row["id"]
        assert (row["part"] == "leaked") == bool(row["leaks"]), row["id"]
    return rows


def check_parts(rows: Sequence[dict[str, Any]]) -> None:
    """No row stands twice; of what says the same in the same context one training row is clean."""
    assert max(Counter(row["id"] for row in rows).values()) == 1
    assert {row["split"] for row in rows if row["part"] == "repeated"} <= {"train"}
    said: defaultdict[str, Counter[tuple[str, ...]]] = defaultdict(Counter)
    for row in rows:
        lines = [line.split(": ", 1)[1] if row["speaker"] else line for line in row["context"]]
        if row["split"] == "train" and normalised(row["input"]):
            said[row["part"]][normalised(row["input"]), *map(normalised, lines)] += 1
    assert max(said["clean"].values()) == 1
    assert set(said["repeated"]) <= set(said["clean"])


@pytest.mark.parametrize("k", [1, 3])
def test_the_demo_dataset_by_brute_force(k: int, tmp_path: Path) -> None:
    made = build_dataset("demo", out=tmp_path / "out", overrides=[f"context_k={k}"])
    rows = compare(made.folder, k)
    check_parts(rows)
    assert {row["part"] for row in rows} >= {"clean", "leaked"}


@pytest.mark.slow
@pytest.mark.corpora
def test_the_real_corpora_by_brute_force(paper_dataset: StepResult[DatasetManifest]) -> None:
    """The records of every fifth dialogue, against all dialogues of the other side."""
    rows = compare(paper_dataset.folder, 1, lambda dialogue_id: sum(map(ord, dialogue_id)) % 5 == 0)
    check_parts(rows)
    assert min(Counter(row["part"] for row in rows).values()) > 10_000
