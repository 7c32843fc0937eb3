"""Copies of corpora that a test changes, and what hydration says of them."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path

import pytest

from dialoguellm_release.errors import DataError
from dialoguellm_release.folders import read_manifest, stamps, write_manifest
from dialoguellm_release.records import rows_in
from dialoguellm_release.schemas.dataset_manifest import DatasetManifest
from dialoguellm_release.schemas.record import Record
from dialoguellm_release.step import StepResult
from dialoguellm_release.steps.dataset import hydrate_dataset

Dataset = StepResult[DatasetManifest]
MELD_TEST = "meld/test_sent_emo.csv"


def restamp(folder: Path, **update: object) -> None:
    manifest = read_manifest(folder, DatasetManifest)
    write_manifest(folder, manifest.model_copy(update={"outputs": stamps(folder), **update}))


def told(copy: Path, own: Path, out: Path) -> str:
    """What is said where hydration fails, which leaves nothing behind."""
    before = sorted(path.name for path in out.parent.iterdir())
    with pytest.raises(DataError) as caught:
        hydrate_dataset(copy, own, out)
    assert sorted(path.name for path in out.parent.iterdir()) == before
    assert str(caught.value).endswith("nothing was written.")
    return "\n".join(map(str, caught.value.problems))


def edit(path: Path, old: str, new: str, count: int = 1) -> None:
    text = path.read_bytes().decode()
    assert old in text
    path.write_bytes(text.replace(old, new, count).encode())


def read_rows(path: Path) -> list[list[str]]:
    return list(csv.reader(io.StringIO(path.read_bytes().decode())))


def write_rows(path: Path, rows: list[list[str]]) -> None:
    buffer = io.StringIO()
    csv.writer(buffer).writerows(rows)
    path.write_bytes(buffer.getvalue().encode())


def append_dialogue(path: Path, dialogue_id: str, text: str) -> None:
    """A dialogue of one utterance more, at the end of a file of MELD."""
    rows = read_rows(path)
    told = dict(zip(rows[0], rows[-1], strict=True))
    told |= {"Dialogue_ID": dialogue_id, "Utterance_ID": "0", "Utterance": text}
    write_rows(path, [*rows, list(told.values())])


def a_record(dataset: Dataset, corpus: str, wanted: Callable[[list[Record], int], bool]) -> Record:
    """A record of the test split, by its dialogue and its place in it."""
    dialogues: dict[str, list[Record]] = {}
    for path in sorted((dataset.folder / "data" / corpus).glob("test-*.parquet")):
        for record in rows_in(path, Record):
            dialogues.setdefault(record.dialogue_id, []).append(record)
    texts = [record.input for turns in dialogues.values() for record in turns]
    for turns in dialogues.values():
        turns.sort(key=lambda turn: turn.utterance_index)
        for place, record in enumerate(turns):
            if wanted(turns, place) and texts.count(record.input) == 1:
                return record
    raise AssertionError("no such record")


def in_the_middle(turns: list[Record], place: int) -> bool:
    return 1 < place < len(turns) - 2 and len(turns[place].input) > 15


def replace_file(path: Path, content: bytes) -> None:
    path.unlink()
    path.write_bytes(content)
