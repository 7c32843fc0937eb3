"""What was published is read by the libraries that its users have."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from dialoguellm_release.cards.dataset import render_dataset_card
from dialoguellm_release.corpora.registry import corpus_entry
from dialoguellm_release.hub.publish import publish_release
from dialoguellm_release.hub.store_folder import FolderStore
from dialoguellm_release.record_columns import record_schema, sft_schema
from dialoguellm_release.schemas.record import SFT_COLUMNS

if TYPE_CHECKING:
    from tests.hub.conftest import Build

DATASET = Path("datasets") / "dialoguellm" / "instructions"


def test_datasets_reads_every_config(published: Path, tmp_path: Path) -> None:
    """With all columns and class names, which the card does not repeat: they are in the Parquet files."""
    from datasets import Features, load_dataset

    folder, cache = str(published / DATASET), str(tmp_path / "cache")
    assert "dataset_info" not in (published / DATASET / "README.md").read_text(encoding="utf-8")
    for config in ("default", "clean", "meld", "sft"):
        schema = sft_schema() if config == "sft" else record_schema()
        for streaming in (False, True):
            rows = load_dataset(folder, config, split="train", cache_dir=cache, streaming=streaming)
            assert rows.features == Features.from_arrow_schema(schema)
    test = load_dataset(folder, "meld", split="test", cache_dir=cache)
    assert [test.features["label"].int2str(row["label"]) for row in test] == ["neutral", "anger"]
    default = load_dataset(folder, cache_dir=cache)
    assert {split: rows.num_rows for split, rows in default.items()} == {"train": 2, "test": 2}
    assert load_dataset(folder, "sft", split="train", cache_dir=cache).column_names == list(SFT_COLUMNS)


def test_the_reference_reader_of_croissant_reads_what_was_published(published: Path) -> None:
    """Its file patterns must not reach into git's own files."""
    import mlcroissant

    dataset = mlcroissant.Dataset(published / DATASET / "croissant.json")
    assert not dataset.metadata.ctx.issues.errors
    assert {row["records/id"] for row in dataset.records("records")} == {
        f"meld/{split}/0/{index}".encode() for split in ("train", "test") for index in (0, 1)
    }
    assert len(list(dataset.records("sft"))) == 4


def test_the_next_release_is_read_and_not_the_cached_one(
    build: Build, target: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    from datasets import load_dataset

    def inputs() -> set[str]:
        rows = load_dataset(str(target / DATASET), "meld", split="test", cache_dir=str(tmp_path / "cache"))
        return set(rows["input"])

    publish_release(build.recipe, build.path, FolderStore(target))
    assert inputs() == {"Hello."}
    next_build = request.getfixturevalue("next_build")
    publish_release(next_build.recipe, next_build.path, FolderStore(target))
    assert inputs() == {"Good evening."}


def test_the_lines_on_the_card_of_a_build_load_it(
    build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpora = {name: corpus_entry(name) for name in build.dataset.figures.corpora}
    card = render_dataset_card(build.dataset, None, corpora)
    (build.path / "dataset" / "README.md").write_text(card, encoding="utf-8")
    loading, dialogues = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    names: dict[str, Any] = {}
    exec(loading + dialogues, names)
    assert names["records"]["train"].num_rows == 4
    assert [
        [turn["id"] for turn in turns] for turns in names["whole_dialogues"](names["one_corpus"]["test"])
    ] == [["meld/test/0/0", "meld/test/0/1"]]
