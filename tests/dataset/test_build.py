"""The dataset folder, as a maintainer builds it and a researcher loads it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryFile

import pyarrow.parquet as pq
import pytest
import yaml

from dialoguellm_release.dataset.reading import Spill
from dialoguellm_release.errors import DataError
from dialoguellm_release.folders import read_manifest, stamps
from dialoguellm_release.prompts import load_prompt
from dialoguellm_release.records import read_records
from dialoguellm_release.schemas.dataset_manifest import DatasetManifest
from dialoguellm_release.schemas.labels import LABELS, SPLITS
from dialoguellm_release.schemas.record import COLUMNS, SFT_COLUMNS
from dialoguellm_release.step import StepResult
from dialoguellm_release.steps.dataset import build_dataset

Dataset = StepResult[DatasetManifest]


def load(folder: Path, tmp_path: Path, config: str | None = None, split: str | None = None):  # type: ignore[no-untyped-def]
    from datasets import load_dataset

    return load_dataset(str(folder), config, split=split, cache_dir=str(tmp_path / "cache"))


def test_every_config_loads_with_its_rows(demo_dataset: Dataset, tmp_path: Path) -> None:
    figures = demo_dataset.manifest.figures
    default = load(demo_dataset.folder, tmp_path)
    assert {split: len(rows) for split, rows in default.items()} == figures.records
    for corpus, built in figures.corpora.items():
        loaded = load(demo_dataset.folder, tmp_path, corpus)
        assert {split: len(rows) for split, rows in loaded.items()} == {
            split: sizes.utterances for split, sizes in built.splits.items()
        }
    sft = load(demo_dataset.folder, tmp_path, "sft")
    assert {split: len(rows) for split, rows in sft.items()} == figures.records
    assert sft["train"].column_names == list(SFT_COLUMNS)


def test_label_is_a_class_of_the_vocabulary(demo_dataset: Dataset, tmp_path: Path) -> None:
    rows = load(demo_dataset.folder, tmp_path, "meld", "train")
    assert rows.column_names == list(COLUMNS)
    assert rows.features["label"].names == list(LABELS)
    assert [rows.features["label"].int2str(label) for label in rows["label"]] == list(rows["output"])


def test_sft_is_the_rendering_of_the_records(demo_dataset: Dataset, tmp_path: Path) -> None:
    prompt = load_prompt("dialogue-v1")
    sft = {row["id"]: row for split in load(demo_dataset.folder, tmp_path, "sft").values() for row in split}
    records = [one for split in SPLITS for one in read_records(demo_dataset.folder, "default", split)]
    assert len(records) == len(sft) == sum(demo_dataset.manifest.figures.records.values())
    for record in records:
        assert sft[record.id]["prompt"] == prompt.prompt(record)
        assert sft[record.id]["completion"] == prompt.completion(record.output)
        for name in ("corpus", "split", "dialogue_id", "utterance_index"):
            assert sft[record.id][name] == getattr(record, name)
        assert LABELS[sft[record.id]["label"]] == record.label


def test_context_is_the_past_of_the_same_dialogue(demo_dataset: Dataset) -> None:
    records = list(read_records(demo_dataset.folder, "default", "train"))
    records.sort(key=lambda record: (record.corpus, record.dialogue_id, record.utterance_index))
    for _, turns in groupby(records, key=lambda record: (record.corpus, record.dialogue_id)):
        before: tuple[str, ...] = ()
        for record in turns:
            assert record.context == before
            before = (f"{record.speaker}: {record.input}" if record.speaker else record.input,)


def test_no_record_and_no_dialogue_stands_twice(demo_dataset: Dataset) -> None:
    records = [one for split in SPLITS for one in read_records(demo_dataset.folder, "default", split)]
    assert max(Counter(record.id for record in records).values()) == 1
    homes = {(one.corpus, one.dialogue_id, one.split) for one in records if one.corpus == "meisd"}
    assert max(Counter(dialogue for _, dialogue, _ in homes).values()) == 1


def test_held_out_meisd_shares_no_text_with_other_training_splits(demo_dataset: Dataset) -> None:
    from dialoguellm_release.text import normalise

    train = read_records(demo_dataset.folder, "default", "train")
    other = {normalise(one.input) for one in train if one.corpus != "meisd"}
    held_out = [
        one for split in ("validation", "test") for one in read_records(demo_dataset.folder, "meisd", split)
    ]
    assert len(held_out) > 50
    assert not [
        one.id for one in held_out if len(normalise(one.input).split()) >= 5 and normalise(one.input) in other
    ]
    draw = demo_dataset.manifest.figures.split_draws["meisd"]
    assert draw["barred_from_held_out"] > 0  # type: ignore[operator]


@pytest.mark.usefixtures("drawn_figures")
def test_the_same_sources_give_the_same_bytes(tmp_path: Path) -> None:
    """Here, where hashes of strings are salted at random, and in a process with a fixed salt."""
    code = (
        "import sys, pathlib, dialoguellm_release as release; "
        "release.build_dataset('demo', out=pathlib.Path(sys.argv[1]))"
    )
    first, second = tmp_path / "1" / "out1", tmp_path / "2" / "out2"
    build_dataset("demo", out=first)
    environment = os.environ | {"PYTHONHASHSEED": "2"}
    subprocess.run([sys.executable, "-c", code, str(second)], env=environment, check=True)
    assert stamps(first) == stamps(second)
    assert (first / "manifest.json").read_bytes() == (second / "manifest.json").read_bytes()
    assert len(stamps(first)) > 20


def test_a_current_build_is_left_alone(sources: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert not build_dataset("demo", sources, out).was_current
    before = (out / "manifest.json").stat().st_ino
    assert build_dataset("demo", sources, out).was_current
    assert (out / "manifest.json").stat().st_ino == before
    assert not build_dataset("demo", sources, out, again=True).was_current
    assert not build_dataset("demo", sources, out, overrides=["context_k=2"]).was_current
    with pytest.raises(DataError) as raised:
        build_dataset("demo", sources, out, skip=["iemocap"])
    assert raised.value.problems[0].code == "step.finished_work"
    assert "skipped corpora" in str(raised.value)
    assert not build_dataset("demo", sources, out, skip=["iemocap"], replace=True).was_current
    path = sources / "meld" / "test_sent_emo.csv"
    path.write_text(path.read_text(encoding="utf-8").replace("neutral", "joy", 1), encoding="utf-8")
    assert not build_dataset("demo", sources, out, skip=["iemocap"]).was_current


def test_another_context_and_label_space(sources: Path, tmp_path: Path) -> None:
    extras = "powerful: neutral, peaceful: neutral, excitement: happiness, frustration: anger"
    made = build_dataset(
        "demo",
        sources,
        tmp_path / "out",
        overrides=["context_k=3", "label_space=basic7", f"relabel={{{extras}, acceptance: neutral}}"],
    )
    records = list(read_records(made.folder, "emorynlp", "train"))
    assert max(len(record.context) for record in records) == 3
    assert {record.label for record in records} <= set(LABELS[:7])
    relabelled = made.manifest.figures.relabelled
    assert set(relabelled) == {
        "acceptance -> neutral",
        "excitement -> happiness",
        "frustration -> anger",
        "peaceful -> neutral",
        "powerful -> neutral",
    }
    native = sum(record.source_label == "Powerful" for record in records)
    assert 0 < native <= relabelled["powerful -> neutral"]


def test_emorynlp_from_json(sources: Path, tmp_path: Path) -> None:
    made = build_dataset("demo", sources, tmp_path / "out", overrides=["corpora.emorynlp.source=json"])
    files = [file.path for file in made.manifest.figures.corpora["emorynlp"].files]
    assert files == [f"emorynlp/emotion-detection-{split}.json" for split in ("trn", "dev", "tst")]


def test_a_split_file_takes_the_place_of_the_draw(sources: Path, tmp_path: Path) -> None:
    (sources / "meisd" / "split.csv").write_text("dialogue_id,split\n1,train\n2,test\n3,validation\n")
    made = build_dataset(
        "demo", sources, tmp_path / "out", overrides=["corpora.meisd.split.split_file=split.csv"]
    )
    built = made.manifest.figures.corpora["meisd"]
    assert {split: sizes.dialogues for split, sizes in built.splits.items()} == dict.fromkeys(SPLITS, 1)
    assert built.files[-1].path == "meisd/split.csv"
    assert made.manifest.figures.split_draws["meisd"]["split_file"] == "split.csv"


LICENSE = (
    "{id: CC0-1.0, name: CC0, stated_in: its readme, verified: true, redistribute: 'yes', share_alike: 'no',"
    " non_commercial: 'no', research_only: 'no', signed_form: 'no'}"
)
DRAWN = """\
version: 1
kind: corpus
name: {name}
title: The {name}
description: lines of an invented {name}
text_license: {license}
label_license: {license}
format: {{type: table, file: lines.csv, columns: {{text: text, label: label, dialogue: dialogue}}}}
label_space: [anger, fear]
splits: drawn
"""


def test_the_draw_of_each_corpus_is_kept_and_shown(tmp_path: Path) -> None:
    listed = ""
    for seed, (name, sizes) in enumerate([("ferry", (3, 1, 1)), ("tram", (2, 1, 2))]):
        (tmp_path / name).mkdir()
        words = ("the rope", "a lamp", "the sail", "an oar", "the wheel")
        rows = "".join(f"d{place},{name} {word} broke,anger\n" for place, word in enumerate(words))
        (tmp_path / name / "lines.csv").write_text(f"dialogue,text,label\n{rows}")
        (tmp_path / f"{name}.yaml").write_text(DRAWN.format(name=name, license=LICENSE))
        drawn = dict(zip(SPLITS, sizes, strict=True))
        listed += f"  {name}:\n    file: {name}.yaml\n    split: {{seed: {seed}, dialogues: {drawn}}}\n"
    (tmp_path / "both.yaml").write_text(
        "version: 1\nkind: dataset\ndescription: Both.\npretty_name: Both\nprompt: dialogue-v1\n"
        f"context_k: 1\ncorpora:\n{listed}"
    )
    made = build_dataset(tmp_path / "both.yaml", tmp_path, tmp_path / "out")
    draws = made.manifest.figures.split_draws
    assert {name: draw["seed"] for name, draw in draws.items()} == {"ferry": 0, "tram": 1}
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    first, _, second = card.partition("The split of The ferry<")[2].partition("The split of The tram<")
    assert "`seed`: 0" in first
    assert "`seed`: 1" in second


def test_a_count_that_misses_shows_the_table_and_the_files(sources: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        build_dataset(
            "demo",
            sources,
            tmp_path / "out",
            overrides=["corpora.meld.expect={train: {dialogues: 7, utterances: 70}}"],
        )
    said = str(caught.value)
    assert "meld/train_sent_emo.csv: meld/train: dialogues / utterances miss" in said
    assert "expected: 7 / 70" in said
    assert "<- misses" in said
    assert not (tmp_path / "out").exists()


def test_problems_of_several_corpora_come_together(sources: Path, tmp_path: Path) -> None:
    (sources / "meld" / "test_sent_emo.csv").unlink()
    (sources / "meisd" / "MEISD_text.csv").write_text("")
    with pytest.raises(DataError) as caught:
        build_dataset("demo", sources, tmp_path / "out")
    said = str(caught.value)
    assert "test_sent_emo.csv" in said
    assert "MEISD_text.csv" in said
    assert {path.name for path in tmp_path.iterdir()} == {"sources"}


def test_wrong_words_on_the_way_in(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="--skip: not a corpus"):
        build_dataset("demo", out=tmp_path / "out", skip=["melt"])
    with pytest.raises(DataError, match="--sources: the recipe paper needs"):
        build_dataset("paper", out=tmp_path / "out")
    with pytest.raises(DataError, match="no corpus is left"):
        build_dataset(
            "demo", out=tmp_path / "out", skip=["meld", "emorynlp", "dailydialog", "meisd", "iemocap"]
        )


def test_the_card_lists_what_is_there(demo_dataset: Dataset) -> None:
    front = yaml.safe_load((demo_dataset.folder / "README.md").read_text(encoding="utf-8").split("---")[1])
    configs = {config["config_name"]: config for config in front["configs"]}
    assert list(configs) == ["default", "clean", "meld", "emorynlp", "dailydialog", "meisd", "iemocap", "sft"]
    assert [files["split"] for files in configs["iemocap"]["data_files"]] == ["train", "test"]
    content = demo_dataset.manifest.content_sha256
    assert all(content in config["description"] for config in configs.values())


@pytest.mark.corpora
def test_the_real_corpora_give_the_counts_of_the_facts(paper_dataset: Dataset) -> None:
    figures = paper_dataset.manifest.figures
    assert figures.dialogues == {"train": 13517, "validation": 1296, "test": 1564}
    counted = {
        name: {split: (sizes.dialogues, sizes.utterances) for split, sizes in corpus.splits.items()}
        for name, corpus in figures.corpora.items()
    }
    assert counted["meld"] == {"train": (1038, 9989), "validation": (114, 1109), "test": (280, 2610)}
    assert counted["emorynlp"] == {"train": (659, 7551), "validation": (89, 954), "test": (79, 984)}
    assert counted["dailydialog"] == {
        "train": (11118, 87170),
        "validation": (1000, 8069),
        "test": (1000, 7740),
    }
    assert {split: sizes[0] for split, sizes in counted["meisd"].items()} == {
        "train": 702,
        "validation": 93,
        "test": 205,
    }
    assert figures.corpora["meisd"].unused.dialogues == 124
    assert figures.corpora["dailydialog"].repairs == {
        "dailydialog.utterances_joined_to_fit_labels": 1,
        "dailydialog.white_space": 1,
    }
    assert not [path for corpus in figures.corpora.values() for path in corpus.unknown_files]


@pytest.mark.corpora
def test_the_real_dataset_loads(paper_dataset: Dataset, tmp_path: Path) -> None:
    assert len(load(paper_dataset.folder, tmp_path, "meld", "test")) == 2610
    default = load(paper_dataset.folder, tmp_path)
    assert {split: len(rows) for split, rows in default.items()} == paper_dataset.manifest.figures.records
    assert default["train"].features["label"].names == list(LABELS)
    sft = load(paper_dataset.folder, tmp_path, "sft", "train")
    assert len(sft) == paper_dataset.manifest.figures.records["train"]
    assert not [prompt for prompt in sft["prompt"] if prompt != prompt.rstrip()]


@pytest.mark.corpora
def test_no_held_out_dialogue_of_meisd_stands_in_another_training_split(paper_dataset: Dataset) -> None:
    """By brute force over the finished Parquet, with a normalisation of its own."""
    import re

    def words(text: str) -> str:
        kept = re.sub("['’‘`]", "", text.lower())
        return re.sub("[^a-z0-9]+", " ", kept).strip()

    def column(corpus: str, split: str) -> list[dict[str, str]]:
        columns = ["dialogue_id", "utterance_index", "input", "split"]
        rows = pq.read_table(paper_dataset.folder / "data" / corpus, columns=columns).to_pylist()
        rows.sort(key=lambda row: (row["dialogue_id"], row["utterance_index"]))
        return [row for row in rows if row["split"] == split]

    def dialogues(rows: list[dict[str, str]]) -> list[list[str]]:
        grouped = groupby(rows, key=lambda row: row["dialogue_id"])
        return [[words(row["input"]) for row in turns] for _, turns in grouped]

    train = [
        one for corpus in ("meld", "emorynlp", "dailydialog") for one in dialogues(column(corpus, "train"))
    ]
    telling = {text for one in train for text in one if len(text.split()) >= 5}
    runs = {tuple(one[start : start + 3]) for one in train for start in range(len(one) - 2)}
    whole = {tuple(filter(None, one)) for one in train}
    held_out = [one for split in ("validation", "test") for one in dialogues(column("meisd", split))]
    assert len(held_out) == 298
    for one in held_out:
        assert tuple(filter(None, one)) not in whole
        assert telling.isdisjoint(text for text in one)
        assert runs.isdisjoint(tuple(one[start : start + 3]) for start in range(len(one) - 2))


def test_the_manifest_says_what_is_on_disk(demo_dataset: Dataset) -> None:
    manifest = read_manifest(demo_dataset.folder, DatasetManifest)
    assert manifest == demo_dataset.manifest
    assert manifest.outputs == stamps(demo_dataset.folder)
    text = json.dumps(manifest.model_dump(mode="json"))
    assert str(demo_dataset.folder.parent) not in text


def test_the_order_of_records_is_the_same_whatever_other_corpora_are_built(
    demo_dataset: Dataset, tmp_path: Path
) -> None:
    """Other corpora change which file holds a record (case E2)."""
    alone = build_dataset("demo", out=tmp_path / "out", skip=["emorynlp", "dailydialog", "meisd", "iemocap"])
    parts = [made.manifest.figures.corpora["meld"].parts for made in (alone, demo_dataset)]
    assert parts[0] != parts[1]
    for split in SPLITS:
        ids = [[one.id for one in read_records(made.folder, "meld", split)] for made in (alone, demo_dataset)]
        assert ids[0] == ids[1]
        everything = [one.id for one in read_records(demo_dataset.folder, "default", split)]
        assert everything[: len(ids[0])] == ids[0]


def test_tables_of_two_corpora_in_one_file_come_back_whoever_reads_between() -> None:
    import pyarrow as pa

    def table(*numbers: int) -> pa.Table:
        return pa.table({"number": pa.array(numbers, pa.int64())})

    with TemporaryFile() as file:
        first, second = Spill(file), Spill(file)
        first.append(table(1, 2))
        assert next(iter(first)) == table(1, 2)
        first.append(table(3))
        half_read = iter(first)
        next(half_read)
        second.append(table(4))
        assert list(second) == [table(4)]
        assert list(half_read) == [table(3)]
        assert list(first) == [table(1, 2), table(3)]
