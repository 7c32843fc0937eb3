"""Utterances without a label: in contexts, in no record, counted, and found again in a dataset folder."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from dialoguellm_release.corpora.cells import Notes
from dialoguellm_release.folders import read_manifest, stamps, write_manifest
from dialoguellm_release.hydration.published import PublishedCopy
from dialoguellm_release.layout import AUDIT
from dialoguellm_release.leakage.audit import audit_as_json
from dialoguellm_release.records import read_records
from dialoguellm_release.schemas.dataset_manifest import DatasetManifest
from dialoguellm_release.steps.dataset import audit_dataset, build_dataset, check_dataset
from dialoguellm_release.steps.recipe import new_recipe

TABLE = """\
dialogue,speaker,text,label,split
a,Ann,Shall we take the early ferry?,,
a,Bo,The early ferry is cancelled again.,sadness,
a,Ann,They never say why.,,
a,Ann,I am tired of it.,anger,
a,Bo,So am I.,anger,
b,Cy,Nobody here was asked.,,
b,Cy,Nobody here was asked.,,
t,Di,What a bright morning!,happiness,test
t,Ed,Is it?,,test
t,Di,Look at the water.,happiness,test
"""


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The dataset folder of the table; nobody changes it."""
    folder = tmp_path_factory.mktemp("context_only")
    (folder / "my.csv").write_text(TABLE, encoding="utf-8")
    made = new_recipe("tiny", folder / "my.csv", folder / "own", context_k=2)
    assert made.guessed.repairs == {"my.dialogue_without_a_label": 1, "my.no_label": 5}
    assert made.guessed.records == {"train": 3, "test": 2}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dialoguellm_release.dataset.figures.write_figures", lambda *_, **__: None)
        yield build_dataset(made.dataset, out=folder / "dataset").folder


def test_they_are_context_and_no_records(dataset: Path) -> None:
    records = list(read_records(dataset, "my", "train"))
    assert [(one.utterance_index, one.context) for one in records] == [
        (1, ("Ann: Shall we take the early ferry?",)),
        (3, ("Bo: The early ferry is cancelled again.", "Ann: They never say why.")),
        (4, ("Ann: They never say why.", "Ann: I am tired of it.")),
    ]
    figures = read_manifest(dataset, DatasetManifest).figures.corpora["my"]
    assert figures.context_only == {"train": 2, "test": 1}
    assert {split: one.utterances for split, one in figures.splits.items()} == {"train": 3, "test": 2}


def test_check_and_audit_agree_with_the_build(dataset: Path) -> None:
    assert check_dataset(dataset) == []
    assert (dataset / AUDIT).read_text(encoding="utf-8") == audit_as_json(audit_dataset(dataset))


@pytest.mark.parametrize(
    "context", [[], ["Ann: They never say why."], ["Bo: So am I.", "Ann: They never say why."]]
)
def test_another_context_is_found(context: list[str], dataset: Path, tmp_path: Path) -> None:
    dataset = shutil.copytree(dataset, tmp_path / "dataset")
    path = next((dataset / "data" / "my").glob("train-*.parquet"))
    table = pq.read_table(path)
    rows = table.to_pylist()
    row = next(row for row in rows if row["utterance_index"] == 4)
    row["context"] = context
    pq.write_table(type(table).from_pylist(rows, schema=table.schema), path)
    manifest = read_manifest(dataset, DatasetManifest)
    write_manifest(dataset, manifest.model_copy(update={"outputs": stamps(dataset)}))
    found = {(problem.where, problem.code) for problem in check_dataset(dataset)}
    assert ("my/train/a/4", "dataset.wrong_context") in found


def test_a_published_copy_gives_them_back_from_its_contexts(dataset: Path) -> None:
    copy = PublishedCopy(dataset, read_manifest(dataset, DatasetManifest))
    (train, test) = copy.dialogues("my", {}, Notes())
    assert [(one.index, one.text, one.label) for one in train.utterances][:3] == [
        (0, "Ann: Shall we take the early ferry?", None),
        (1, "The early ferry is cancelled again.", "sadness"),
        (2, "Ann: They never say why.", None),
    ]
    assert [one.label for one in test.utterances] == ["happiness", None, "happiness"]
