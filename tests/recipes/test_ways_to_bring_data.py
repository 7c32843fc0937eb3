"""Files as splits, folders and repositories as data of a user, and what is guessed of all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import CommitOperationAdd, HfApi

from dialoguellm_release.corpora.guess import DataOptions, find_source
from dialoguellm_release.errors import DataError
from tests.hub_server.server import HubServer
from tests.recipes.tables import (
    HEADER,
    PLAIN,
    ROWS,
    SPLIT,
    TRAIN,
    as_csv,
    as_dialogues,
    as_lines,
    as_objects,
    guess,
    labelled,
    read,
    with_class_names,
    written,
)


def test_files_as_splits(tmp_path: Path) -> None:
    written({"a.csv": as_csv(ROWS[:2]), "b.jsonl": as_lines(as_objects(ROWS[2:]))}, tmp_path)
    guessed = guess([f"train={tmp_path / 'a.csv'}", f"test={tmp_path / 'b.jsonl'}"], tmp_path)
    assert read(guessed) == SPLIT
    assert guessed.entry.data == ".."


@pytest.mark.parametrize(
    ("data", "wrong"), [(["a.csv", "b.csv"], ["a.csv", "b.csv"]), (["dev=a.csv", "val=b.csv"], ["val=b.csv"])]
)
def test_files_whose_splits_are_not_clear(data: list[str], wrong: list[str], tmp_path: Path) -> None:
    with pytest.raises(DataError) as raised:
        guess(data, tmp_path)
    assert [(one.where, one.code) for one in raised.value.problems] == [
        (name, "corpora.unnamed_file") for name in wrong
    ]


def class_labelled(splits: Mapping[str, Sequence[Sequence[Any]]]) -> Any:
    """What `datasets` has of rows, with a class label."""
    from datasets import ClassLabel, Dataset, DatasetDict

    names = ClassLabel(names=["neutral", "anger", "happiness"])
    return DatasetDict(
        {
            name: Dataset.from_list(as_objects(rows)).cast_column("label", names)
            for name, rows in splits.items()
        }
    )


def test_folders_that_datasets_reads(tmp_path: Path) -> None:
    splits = class_labelled({"train": labelled(1, 0, 2)[:2], "test": labelled(1, 0, 2)[2:]})
    splits.save_to_disk(tmp_path / "saved")
    for name, table in splits.items():
        table.to_parquet(tmp_path / "repository" / "data" / f"{name}-00000-of-00001.parquet")
    for name in ("saved", "repository"):
        (tmp_path / f"of_{name}").mkdir()
        guessed = guess(str(tmp_path / name), tmp_path / f"of_{name}")
        assert read(guessed) == SPLIT
        assert guessed.labels.labels == ("neutral", "anger", "happiness")
        assert (guessed.source.title, guessed.entry.data) == (name, f"{name}-data")


CARD = """\
---
configs:
- config_name: one
  data_files: [{split: train, path: data/train-*}, {split: test, path: data/test-*}]
- config_name: two
  data_files: [{split: train, path: data/train-*}]
---
"""


def test_a_repository_of_the_hub(hub_server: HubServer, tmp_path: Path) -> None:
    files = {"README.md": CARD.encode()}
    for name, rows in (("train", labelled(1, 0, 2)[:2]), ("test", labelled(1, 0, 2)[2:])):
        files[f"data/{name}-0.parquet"] = with_class_names(rows, ("neutral", "anger", "happiness"))
    api = HfApi(endpoint=hub_server.url)
    api.create_repo("dialoguellm/talk", repo_type="dataset")
    added = [
        CommitOperationAdd(path_in_repo=path, path_or_fileobj=content) for path, content in files.items()
    ]
    api.create_commit("dialoguellm/talk", added, commit_message="data", repo_type="dataset")
    guessed = guess("dialoguellm/talk", tmp_path, DataOptions(config="one"))
    assert read(guessed) == SPLIT
    assert (guessed.entry.name, guessed.entry.data) == ("talk", "talk-data")
    for data, shown in (("dialoguellm/talk", "one"), ("dialoguellm/nothing", "dialoguellm/nothing")):
        with pytest.raises(DataError) as raised:
            find_source([data], None, tmp_path)
        assert [one.code for one in raised.value.problems] == ["corpora.not_loaded"]
        assert shown in raised.value.problems[0].what


def test_lacking_splits_are_drawn_from_what_is_not_held_out(tmp_path: Path) -> None:
    rows = [
        (f"{number}", "Ann", f"Text {number} of it.", "surprise" if number % 20 == 0 else "neutral")
        for number in range(100)
    ]
    guessed = guess(written({"my.csv": as_csv(rows)}, tmp_path), tmp_path)
    assert guessed.records == {None: 100}
    assert guessed.draw is not None
    assert guessed.draw.dialogues == {"train": 80, "validation": 10, "test": 10}
    assert guessed.entry.splits == "drawn"
    given = [(*row, "test" if place < 10 else "") for place, row in enumerate(rows)]
    folder = tmp_path / "given"
    folder.mkdir()
    guessed = guess(written({"my.csv": as_csv(given, (*HEADER, "split"))}, folder), folder)
    assert guessed.records == {"test": 10, None: 90}
    assert guessed.draw is not None
    assert guessed.draw.dialogues == {"train": 81, "validation": 9, "test": 0}


def test_case_means_nothing_to_a_map_either_unless_names_are_stated(tmp_path: Path) -> None:
    rows = labelled("Joy", "ANGER", "joy")
    guessed = guess(
        written({"my.csv": as_csv(rows)}, tmp_path), tmp_path, DataOptions(label_map={"Joy": "happiness"})
    )
    assert guessed.labels.counts == {"happiness": 2, "anger": 1}
    (tmp_path / "named").mkdir()
    named = DataOptions(label_names=("Joy", "ANGER", "joy"))
    guessed = guess(written({"my.csv": as_csv(rows)}, tmp_path / "named"), tmp_path / "named", named)
    assert guessed.labels.labels == ("Joy", "ANGER", "joy")


def test_ids_of_dialogues_are_found(tmp_path: Path) -> None:
    guessed = guess(written({"my.jsonl": as_lines(as_dialogues(id="dialogue_id"))}, tmp_path), tmp_path)
    assert guessed.columns["dialogue"] == "dialogue_id"


def test_labels_outside_the_vocabulary_get_a_suggestion(tmp_path: Path) -> None:
    data = written({"my.csv": as_csv(labelled("Joy", "angry", "boredom"))}, tmp_path)
    guessed = guess(data, tmp_path)
    assert guessed.labels.suggested == {"Joy": "happiness", "angry": "anger"}
    assert guessed.labels.counts == {"Joy": 1, "angry": 1, "boredom": 1}


def test_a_dialogue_that_is_continued_later_is_counted(tmp_path: Path) -> None:
    apart = [ROWS[0], ROWS[2], ROWS[1]]
    guessed = guess(written({"my.csv": as_csv(apart)}, tmp_path), tmp_path)
    assert read(guessed) == TRAIN
    assert guessed.repairs == {"my.dialogue_continued_later": 1}
    (tmp_path / "numbered").mkdir()
    numbered = as_csv([(*row, place) for place, row in enumerate(apart)], (*HEADER, "turn"))
    guessed = guess(written({"my.csv": numbered}, tmp_path / "numbered"), tmp_path / "numbered")
    assert guessed.repairs == {}


def test_a_name_of_two_lines_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError) as raised:
        guess(written({"my\nversion.csv": PLAIN}, tmp_path), tmp_path)
    assert [one.code for one in raised.value.problems] == ["corpora.unprintable_name"]
