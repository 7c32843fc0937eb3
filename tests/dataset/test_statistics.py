from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialoguellm_release.dataset.parquet import RowWriter, record_columns, record_schema
from dialoguellm_release.dataset.statistics import split_statistics
from dialoguellm_release.folders import read_manifest
from dialoguellm_release.records import read_records
from dialoguellm_release.schemas.counts import SplitStatistics, Spread
from dialoguellm_release.schemas.dataset_manifest import DatasetManifest
from dialoguellm_release.schemas.labels import CorpusName, Split
from dialoguellm_release.schemas.record import Record
from dialoguellm_release.step import StepResult

Dataset = StepResult[DatasetManifest]


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
        utterance_lengths=Spread.of([sum(map(bool, map(has_letter, text.split()))) for text in texts]),
        records_after_gap=sum(gap > 0 for gap in gaps),
        missing_turns=sum(gaps),
    )


def has_letter(piece: str) -> bool:
    return re.search(r"[^\W_]", piece) is not None


def write(path: Path, texts: Sequence[str], dialogue: str = "1", numbers: Sequence[int] = ()) -> Path:
    """A Parquet file of records of one dialogue."""
    records = [
        Record(
            id=f"meld/train/{dialogue}/{index}",
            instruction="Do.",
            video_description=None,
            context=(),
            input=text,
            output="fear",
            label="fear",
            source_label="fear",
            other_labels=(),
            corpus="meld",
            split="train",
            dialogue_id=dialogue,
            utterance_index=index,
            speaker=None,
            start_s=None,
            end_s=None,
            license="GPL-3.0-only",
            leaks=None,
        )
        for index, text in zip(numbers or range(len(texts)), texts, strict=True)
    ]
    with RowWriter(path, record_schema()) as writer:
        writer.add(record_columns(records))
    return path


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
    ("text", "words"),
    [
        ("It isn ’ t mine , is it ?", 6),
        ("It isn't mine, is it?", 5),
        ("… -- !", 0),
        ("Zoë,\N{NO-BREAK SPACE}42 times_", 3),
        ("_why_", 1),
    ],
)
def test_a_word_has_a_letter_or_a_digit(text: str, words: int, tmp_path: Path) -> None:
    assert split_statistics([write(tmp_path / "a.parquet", [text])]).utterance_lengths.maximum == words


def test_a_dialogue_over_several_files_is_one_and_its_order_is_its_numbers(tmp_path: Path) -> None:
    files = [
        write(tmp_path / "a.parquet", ["Yes.", "So."], numbers=[3, 9]),
        write(tmp_path / "b.parquet", ["No.", "Why not?"], numbers=[2, 4]),
        write(tmp_path / "c.parquet", ["Well."], dialogue="2"),
    ]
    found = split_statistics(files)
    assert (found.dialogue_lengths.minimum, found.dialogue_lengths.maximum) == (1, 4)
    assert (found.records_after_gap, found.missing_turns) == (1, 4)
    assert found.utterance_lengths.mean == pytest.approx(6 / 5)


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
