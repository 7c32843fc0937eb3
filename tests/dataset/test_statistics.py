from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from itertools import pairwise

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialoguellm_release.dataset.counts import turn_statistics
from dialoguellm_release.folders import read_manifest
from dialoguellm_release.leakage.turns import as_turns
from dialoguellm_release.record_columns import columns_of
from dialoguellm_release.records import read_records
from dialoguellm_release.schemas.audit import SplitStatistics, Spread
from dialoguellm_release.schemas.dataset_manifest import DatasetManifest
from dialoguellm_release.schemas.labels import CorpusName, Split
from dialoguellm_release.schemas.record import Record
from dialoguellm_release.step import StepResult

Dataset = StepResult[DatasetManifest]
DialogueOf = Callable[..., list[Record]]


def counted(dataset: Dataset, corpus: CorpusName, split: Split) -> SplitStatistics:
    """The same by the records themselves, without pyarrow."""
    dialogues: defaultdict[str, list[Record]] = defaultdict(list)
    for record in read_records(dataset.folder, corpus, split):
        dialogues[record.dialogue_id].append(record)
    texts = [record.input for turns in dialogues.values() for record in turns]
    gaps = [
        turn.utterance_index - before.utterance_index - 1
        for turns in dialogues.values()
        for before, turn in pairwise(sorted(turns, key=lambda turn: turn.utterance_index))
    ]
    return SplitStatistics(
        dialogue_lengths=Spread.of([len(turns) for turns in dialogues.values()]),
        utterance_lengths=Spread.of([len(words(text)) for text in texts]),
        records_after_gap=sum(gap > 0 for gap in gaps),
        missing_turns=sum(gaps),
    )


def words(text: str) -> list[str]:
    return re.findall(r"[^\W_]+", re.sub("['’‘`]", "", text))


def test_the_manifest_tells_what_the_records_give(demo_dataset: Dataset) -> None:
    figures = demo_dataset.manifest.figures
    assert figures.statistics == {
        name: {split: counted(demo_dataset, name, split) for split in corpus.splits}
        for name, corpus in figures.corpora.items()
    }
    assert read_manifest(demo_dataset.folder, DatasetManifest).figures.statistics == figures.statistics


@pytest.mark.corpora
def test_the_gaps_of_the_real_corpora_are_those_of_the_facts(paper_dataset: Dataset) -> None:
    statistics = paper_dataset.manifest.figures.statistics
    validation, test = statistics["meld"]["validation"], statistics["meld"]["test"]
    assert (validation.records_after_gap, validation.missing_turns) == (2, 4)
    assert (test.records_after_gap, test.missing_turns) == (2, 5)
    assert statistics["dailydialog"]["train"].missing_turns == 0
    for corpus in ("meld", "emorynlp"):
        assert statistics[corpus]["train"] == counted(paper_dataset, corpus, "train")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("It isn ’ t mine , is it ?", 6),
        ("It isn't mine, is it?", 5),
        ("… -- !", 0),
        ("Zoë,\N{NO-BREAK SPACE}42 times_", 3),
        ("well-known", 2),
        ("你好！", 2),
    ],
)
def test_a_word_is_a_run_of_letters_and_digits(dialogue_of: DialogueOf, text: str, expected: int) -> None:
    found = statistics_of(dialogue_of("meld/train/1", [text]))
    assert found["meld"]["train"].utterance_lengths.maximum == expected


def test_gaps_are_missing_numbers_in_a_dialogue(dialogue_of: DialogueOf) -> None:
    first, second = (
        dialogue_of("meld/train/1", ["No.", "Yes.", "Why not?", "So."], k=0),
        dialogue_of("meld/train/2", ["Well."]),
    )
    numbered = [renumbered(one, number) for one, number in zip(first, (2, 3, 4, 9), strict=True)]
    found = statistics_of([*second, *reversed(numbered)])["meld"]["train"]
    assert (found.dialogue_lengths.minimum, found.dialogue_lengths.maximum) == (1, 4)
    assert (found.records_after_gap, found.missing_turns) == (1, 4)
    assert found.utterance_lengths.mean == pytest.approx(6 / 5)


def statistics_of(records: Sequence[Record]) -> dict[CorpusName, dict[Split, SplitStatistics]]:
    return turn_statistics(as_turns([columns_of(records)], ["meld"]))


def renumbered(record: Record, index: int) -> Record:
    changed = {"utterance_index": index, "id": f"meld/train/{record.dialogue_id}/{index}"}
    return record.model_copy(update=changed)


@given(st.lists(st.integers(0, 60), min_size=1, max_size=80))
def test_a_percentile_is_the_least_length_that_so_many_do_not_exceed(lengths: list[int]) -> None:
    found = Spread.of(lengths)
    shares = ((found.p5, 5), (found.p25, 25), (found.median, 50), (found.p75, 75), (found.p95, 95))
    for value, share in shares:
        assert value in lengths
        assert 100 * sum(length <= value for length in lengths) >= share * len(lengths)
        assert 100 * sum(length < value for length in lengths) < share * len(lengths)
    assert (found.minimum, found.maximum) == (min(lengths), max(lengths))


def test_shares_are_counted_over_the_training_splits(demo_dataset: Dataset) -> None:
    figures = demo_dataset.manifest.figures
    files = sorted(demo_dataset.folder.glob("data/*/train-*.parquet"))
    outputs = [label for path in files for label in pq.read_table(path)["output"].to_pylist()]
    assert figures.training_labels == {label: outputs.count(label) for label in figures.training_labels}
    assert sum(figures.training_labels.values()) == figures.records["train"] == len(outputs)
    assert sum(figures.training_dialogues.values()) == figures.dialogues["train"]
