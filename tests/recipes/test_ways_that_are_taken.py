"""Ways to bring a table that the guessed corpus file reads right."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pytest

from dialoguellm_release.corpora.guess import DataOptions
from tests.recipes.tables import (
    ANN,
    BY_SPLIT,
    CY,
    EMORY,
    HEADER,
    NESTED,
    PLAIN,
    ROW_EACH,
    ROWS,
    SPLIT,
    TRAIN,
    Found,
    as_csv,
    as_dialogues,
    as_lines,
    as_lists,
    as_objects,
    as_parquet,
    changed,
    guess,
    labelled,
    read,
    with_class_names,
    without_speakers,
    written,
)

DIALOGUES, PARTS = as_dialogues(), ("Training", "test")
TAKEN: dict[str, tuple[Mapping[str, str | bytes], DataOptions, Found]] = {
    "comma": ({"my.csv": PLAIN}, DataOptions(), TRAIN),
    "semicolon": ({"my.csv": as_csv(ROWS, delimiter=";")}, DataOptions(), TRAIN),
    "tab in csv": ({"my.csv": as_csv(ROWS, delimiter="\t")}, DataOptions(), TRAIN),
    "tsv": ({"my.tsv": as_csv(ROWS, delimiter="\t")}, DataOptions(), TRAIN),
    "bar": ({"my.csv": as_csv(ROWS, delimiter="|")}, DataOptions(), TRAIN),
    "line for Excel": ({"my.csv": "sep=;\r\n" + as_csv(ROWS, delimiter=";")}, DataOptions(), TRAIN),
    "byte-order mark": ({"my.csv": b"\xef\xbb\xbf" + PLAIN.encode()}, DataOptions(), TRAIN),
    "utf-32": ({"my.csv": PLAIN.encode("utf-32")}, DataOptions(), TRAIN),
    "utf-32 in JSON, big end first": (
        {"my.jsonl": b"\0\0\xfe\xff" + as_lines(as_objects()).encode("utf-32-be")},
        DataOptions(),
        TRAIN,
    ),
    "utf-16": ({"my.csv": PLAIN.encode("utf-16")}, DataOptions(), TRAIN),
    "cp1252": ({"my.csv": PLAIN.encode("cp1252")}, DataOptions(encoding="cp1252"), TRAIN),
    "all quoted": ({"my.csv": as_csv(ROWS, quoting=csv.QUOTE_ALL)}, DataOptions(), TRAIN),
    "line feeds": ({"my.csv": as_csv(ROWS, lineterminator="\n")}, DataOptions(), TRAIN),
    "carriage returns": ({"my.csv": as_csv(ROWS, lineterminator="\r")}, DataOptions(), TRAIN),
    "blank lines": ({"my.csv": "\n" + PLAIN.replace("\r\n", "\n\n")}, DataOptions(), TRAIN),
    "names of MELD": (
        {"my.csv": as_csv(ROWS, ("Dialogue_ID", "Speaker", "Utterance", "Emotion"))},
        DataOptions(),
        TRAIN,
    ),
    "names in the plural": (
        {"my.csv": as_csv(ROWS, ("conv id", "Speakers", "Sentences", "Emotions"))},
        DataOptions(),
        TRAIN,
    ),
    "scenes that are numbered in each episode": (
        {"my.csv": as_csv([(row[0], "1", *row[1:]) for row in ROWS], ("Episode", "Scene_ID", *HEADER[1:]))},
        DataOptions(),
        TRAIN,
    ),
    "stated names": (
        {"my.csv": as_csv(ROWS, ("a", "b", "c", "d"))},
        DataOptions(columns={"dialogue": "a", "speaker": "b", "text": "c", "label": "d"}),
        TRAIN,
    ),
    "a header twice that is not used": (
        {"my.csv": as_csv([(*row, 1, 2) for row in ROWS], (*HEADER, "x", "x"))},
        DataOptions(),
        TRAIN,
    ),
    "numbered utterances in another order": (
        {
            "my.csv": as_csv(
                [("1", "1", *ANN[1]), ("1", "0", *ANN[0]), ("2", "0", *CY[0])],
                ("Dialogue_ID", "Utterance_ID", "Speaker", "Utterance", "Emotion"),
            )
        },
        DataOptions(),
        TRAIN,
    ),
    "numbered utterances as fractions": (
        {
            "my.csv": as_csv(
                [("1", "2.0", *ANN[1]), ("1", "1.0", *ANN[0]), ("2", "1.0", *CY[0])],
                ("dialogue", "turn", "speaker", "text", "label"),
            )
        },
        DataOptions(),
        TRAIN,
    ),
    "spaces after commas": (
        {"my.csv": 'dialogue, text, label\n1, "Stop, Zoë!", anger\n1, Fine., neutral\n'},
        DataOptions(),
        {"train": [[(None, "Stop, Zoë!", "anger"), (None, "Fine.", "neutral")]]},
    ),
    "byte-order mark where UTF-8 is stated": (
        {"my.csv": b"\xef\xbb\xbf" + PLAIN.encode()},
        DataOptions(encoding="utf8"),
        TRAIN,
    ),
    "lines that end in three ways": (
        {"my.csv": "text,label\r\nOne.,anger\nTwo.,neutral\rThree.,anger"},
        DataOptions(),
        {
            "train": [
                [(None, f"{one}.", label)]
                for one, label in zip(("One", "Two", "Three"), ("anger", "neutral", "anger"), strict=True)
            ]
        },
    ),
    "a column of texts that is called dialogue": (
        {"my.csv": as_csv([row[2:] for row in ROWS], ("dialogue", "label"))},
        DataOptions(columns={"text": "dialogue"}),
        without_speakers(ROW_EACH),
    ),
    "a column of labels that is called name": (
        {"my.csv": as_csv([row[2:] for row in ROWS], ("text", "name"))},
        DataOptions(columns={"label": "name"}),
        without_speakers(ROW_EACH),
    ),
    "emoji as labels": (
        {"my.csv": as_csv(labelled("😡", "😐", "👩🏽‍🚀"))},
        DataOptions(),
        changed(TRAIN, anger="😡", neutral="😐", happiness="👩🏽‍🚀"),
    ),
    "labels that change places": (
        {"my.csv": as_csv(ROWS)},
        DataOptions(label_map={"anger": "neutral", "neutral": " anger"}),
        changed(TRAIN, anger="neutral", neutral="anger"),
    ),
    "a label called none": (
        {"my.csv": as_csv(labelled("none", "neutral", "None"))},
        DataOptions(),
        changed(TRAIN, anger="none", happiness="none"),
    ),
    "text and label alone": (
        {"my.csv": as_csv([row[2:] for row in ROWS], ("text", "label"))},
        DataOptions(),
        without_speakers(ROW_EACH),
    ),
    "one row": ({"my.csv": as_csv(ROWS[2:])}, DataOptions(), {"train": [CY]}),
    "numbers as text": (
        {"my.jsonl": as_lines([{"text": 42, "label": "anger"}, {"text": "43", "label": "neutral"}])},
        DataOptions(),
        {"train": [[(None, "42", "anger")], [(None, "43", "neutral")]]},
    ),
    "lists of speakers": ({"my.csv": as_csv(EMORY)}, DataOptions(), {"train": [[*ANN, *CY]]}),
    "missing speakers": (
        {"my.jsonl": as_lines([{**row, "speaker": None} for row in as_objects()])},
        DataOptions(),
        without_speakers(TRAIN),
    ),
    "labels in other cases": (
        {"my.csv": as_csv(labelled("Anger", " NEUTRAL", "happiness"))},
        DataOptions(),
        TRAIN,
    ),
    "own labels in a stated order": (
        {"my.csv": as_csv(labelled("cross", "calm", "glad"))},
        DataOptions(label_names=("glad", "calm", "cross")),
        changed(TRAIN, anger="cross", neutral="calm", happiness="glad"),
    ),
    "mapped labels": (
        {"my.csv": as_csv(labelled("cross", "neutral", "joy"))},
        DataOptions(label_map={"cross": "anger", "joy": "happiness"}),
        TRAIN,
    ),
    "a label for none": (
        {"my.csv": as_csv(labelled("anger", "xxx", "happiness"))},
        DataOptions(label_map={"xxx": ""}),
        changed(TRAIN, neutral=None),
    ),
    "a missing label": (
        {"my.csv": as_csv(labelled("anger", "", "happiness"))},
        DataOptions(),
        changed(TRAIN, neutral=None),
    ),
    "NaN for no label": (
        {"my.jsonl": as_lines(as_objects(labelled("anger", float("nan"), "happiness")))},
        DataOptions(),
        changed(TRAIN, neutral=None),
    ),
    "nan in words": (
        {"my.csv": as_csv(labelled("anger", "nan", "happiness"))},
        DataOptions(),
        changed(TRAIN, neutral=None),
    ),
    "numbered labels with names": (
        {"my.csv": as_csv(labelled(1, 0, 2))},
        DataOptions(label_names=("neutral", "anger", "happiness")),
        TRAIN,
    ),
    "numbers that pandas made fractions": (
        {"my.csv": as_csv(labelled("1.0", "", "2.0"))},
        DataOptions(label_names=("neutral", "anger", "happiness")),
        changed(TRAIN, neutral=None),
    ),
    "numbers that are mapped": (
        {"my.csv": as_csv(labelled(1, 0, 2))},
        DataOptions(label_map={"0": "neutral", "1": "anger", "2": "happiness"}),
        TRAIN,
    ),
    "class labels": (
        {"my.parquet": with_class_names(labelled(1, 0, 2), ("neutral", "anger", "happiness"))},
        DataOptions(),
        TRAIN,
    ),
    "class labels, mapped, one without": (
        {"my.parquet": with_class_names(labelled(1, -1, 2), ("neutral", "anger", "joy"))},
        DataOptions(label_map={"joy": "happiness"}),
        changed(TRAIN, neutral=None),
    ),
    "a column of splits": (
        {
            "my.csv": as_csv(
                [(*row, split) for row, split in zip(ROWS, ("Train", "train", "TEST"), strict=True)],
                (*HEADER, "Set"),
            )
        },
        DataOptions(),
        SPLIT,
    ),
    "a folder of splits": (
        {"my/train.csv": as_csv(ROWS[:2]), "my/test_final.csv": as_csv(ROWS[2:])},
        DataOptions(),
        SPLIT,
    ),
    "JSON Lines": ({"my.jsonl": as_lines(as_objects())}, DataOptions(), TRAIN),
    "JSON rows": ({"my.json": json.dumps(as_objects())}, DataOptions(), TRAIN),
    "JSON columns": (
        {
            "my.json": json.dumps(
                {
                    name: {str(n): row[place] for n, row in enumerate(ROWS)}
                    for place, name in enumerate(HEADER)
                }
            )
        },
        DataOptions(),
        TRAIN,
    ),
    "JSON dialogues": ({"my.json": json.dumps(as_dialogues())}, DataOptions(), TRAIN),
    "JSON dialogues below a key": (
        {"my.json": json.dumps({"version": 1, "data": as_dialogues(utterances="turns")})},
        DataOptions(),
        TRAIN,
    ),
    "JSON dialogues by their ids": (
        {"my.json": json.dumps({f"d{n}": one["utterances"] for n, one in enumerate(as_dialogues())})},
        DataOptions(),
        TRAIN,
    ),
    "JSON with splits as keys": (
        {"my.json": json.dumps(BY_SPLIT)},
        DataOptions(),
        {"train": [ANN], "validation": [CY]},
    ),
    "JSON dialogues that state their split": (
        {"my.json": json.dumps([{**one, "split": part} for one, part in zip(DIALOGUES, PARTS, strict=True)])},
        DataOptions(),
        {"train": [ANN], "test": [CY]},
    ),
    "JSON utterances that state their split": (
        {
            "my.jsonl": as_lines(
                [
                    {"turns": [{**turn, "part": part} for turn in one["utterances"]]}
                    for one, part in zip(DIALOGUES, PARTS, strict=True)
                ]
            )
        },
        DataOptions(columns={"split": "part"}),
        {"train": [ANN], "test": [CY]},
    ),
    "JSON lists that state their split, one without": (
        {"my.json": json.dumps([{**as_lists(CY), "Set": "TEST"}, {**as_lists(ANN)}])},
        DataOptions(),
        {"train": [ANN], "test": [CY]},
    ),
    "JSON parallel lists": ({"my.json": json.dumps([as_lists(ANN), as_lists(CY)])}, DataOptions(), TRAIN),
    "JSON Lines with dialogues": (
        {"my.jsonl": as_lines(as_dialogues(id="dialogue_id"))},
        DataOptions(),
        TRAIN,
    ),
    "Parquet with parallel lists": (
        {"my.parquet": as_parquet(pa.Table.from_pylist([as_lists(ANN), as_lists(CY)]))},
        DataOptions(),
        TRAIN,
    ),
    "nested speakers": ({"my.jsonl": as_lines(NESTED)}, DataOptions(), TRAIN),
    "nested speakers in Parquet": (
        {"my.parquet": as_parquet(pa.Table.from_pylist(NESTED))},
        DataOptions(),
        TRAIN,
    ),
}


@pytest.mark.parametrize("way", TAKEN)
def test_a_way_that_is_taken(way: str, tmp_path: Path) -> None:
    files, options, expected = TAKEN[way]
    guessed = guess(written(files, tmp_path), tmp_path, options)
    assert read(guessed) == expected
    counts = {
        split: sum(bool(label) for one in dialogues for *_, label in one)
        for split, dialogues in expected.items()
    }
    assert guessed.records == counts
    assert not (tmp_path / "own").exists()
