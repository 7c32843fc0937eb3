"""Ways to bring a table: each is read right by the guessed corpus file, or refused with line and fix."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from huggingface_hub import CommitOperationAdd, HfApi

from dialoguellm_release.corpora.cells import Notes
from dialoguellm_release.corpora.guess import DataOptions, GuessedCorpus, find_source, guess_corpus
from dialoguellm_release.corpora.readers import read_corpus
from dialoguellm_release.errors import DataError
from dialoguellm_release.schemas.recipes.dataset import CorpusRecipe
from tests.hub_server.server import HubServer

Turn = tuple[str | None, str, str | None]
Found = dict[str | None, list[list[Turn]]]

QUOTED = 'Fine; as "you", like.'
ANN: list[Turn] = [("Ann", "Stop it, Zoë!", "anger"), ("Bo", QUOTED, "neutral")]
CY: list[Turn] = [("Cy", "We won!", "happiness")]
TRAIN: Found = {"train": [ANN, CY]}
SPLIT: Found = {"train": [ANN], "test": [CY]}
ROWS = [("1", *ANN[0]), ("1", *ANN[1]), ("2", *CY[0])]
HEADER = ("dialogue", "speaker", "text", "label")


def as_csv(rows: Sequence[Sequence[Any]], header: Sequence[str] = HEADER, **form: Any) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, **form).writerows([header, *rows])
    return buffer.getvalue()


def as_objects(rows: Sequence[Sequence[Any]] = ROWS, header: Sequence[str] = HEADER) -> list[dict[str, Any]]:
    return [dict(zip(header, row, strict=True)) for row in rows]


def as_lines(objects: Sequence[Any]) -> str:
    return "\n".join(json.dumps(one) for one in objects)


def labelled(*labels: Any) -> list[tuple[Any, ...]]:
    """The rows with other labels."""
    return [(*row[:3], label) for row, label in zip(ROWS, labels, strict=True)]


def as_dialogues(**names: str) -> list[dict[str, Any]]:
    """The dialogues as objects with utterances."""
    return [
        {
            names.get("id", "id"): number,
            names.get("utterances", "utterances"): [
                {"speaker": speaker, "text": text, "emotion": label} for speaker, text, label in turns
            ],
        }
        for number, turns in enumerate((ANN, CY))
    ]


def as_lists(turns: Sequence[Turn]) -> dict[str, list[str | None]]:
    """A dialogue as parallel lists."""
    speakers, texts, labels = zip(*turns, strict=True)
    return {"speakers": list(speakers), "utterances": list(texts), "emotions": list(labels)}


def as_parquet(table: pa.Table) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    return buffer.getvalue()


def as_zip(name: str, text: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(name, text)
    return buffer.getvalue()


def with_class_names(rows: Sequence[Sequence[Any]], names: Sequence[str]) -> bytes:
    feature = {"label": {"names": list(names), "_type": "ClassLabel"}}
    table = pa.Table.from_pylist(as_objects(rows))
    described = json.dumps({"info": {"features": feature}})
    return as_parquet(table.replace_schema_metadata({"huggingface": described}))


def changed(expected: Found, **labels: str | None) -> Found:
    """What is found where labels are other ones."""
    return {
        split: [
            [(who, text, labels.get(label or "", label)) for who, text, label in one] for one in dialogues
        ]
        for split, dialogues in expected.items()
    }


def without_speakers(expected: Found) -> Found:
    return {
        split: [[(None, text, label) for _, text, label in one] for one in dialogues]
        for split, dialogues in expected.items()
    }


PLAIN = as_csv(ROWS)
ROW_EACH: Found = {"train": [[turn] for turn in (*ANN, *CY)]}
EMORY = [("1", f"['{row[1]}']", *row[2:]) for row in ROWS]
NESTED = [{**row, "speaker": {"name": row["speaker"], "age": 7}} for row in as_objects()]
BY_SPLIT = {"train": as_dialogues()[:1], "dev": as_dialogues()[1:]}

TAKEN: dict[str, tuple[Mapping[str, str | bytes], DataOptions, Found]] = {
    "comma": ({"my.csv": PLAIN}, DataOptions(), TRAIN),
    "semicolon": ({"my.csv": as_csv(ROWS, delimiter=";")}, DataOptions(), TRAIN),
    "tab in csv": ({"my.csv": as_csv(ROWS, delimiter="\t")}, DataOptions(), TRAIN),
    "tsv": ({"my.tsv": as_csv(ROWS, delimiter="\t")}, DataOptions(), TRAIN),
    "bar": ({"my.csv": as_csv(ROWS, delimiter="|")}, DataOptions(), TRAIN),
    "line for Excel": ({"my.csv": "sep=;\r\n" + as_csv(ROWS, delimiter=";")}, DataOptions(), TRAIN),
    "byte-order mark": ({"my.csv": b"\xef\xbb\xbf" + PLAIN.encode()}, DataOptions(), TRAIN),
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

LABELS_TOO = ("text", "label")
MANY = [(f"Text {n}.", f"words of row {n}") for n in range(70)]

REFUSED: dict[str, tuple[Mapping[str, str | bytes], DataOptions, str, str]] = {
    "cp1252 that is not stated": (
        {"my.csv": PLAIN.encode("cp1252")},
        DataOptions(),
        "table.encoding",
        "my.csv",
    ),
    "an encoding that is none": (
        {"my.csv": PLAIN},
        DataOptions(encoding="ebdic"),
        "corpora.unknown_encoding",
        "--encoding",
    ),
    "empty": ({"my.csv": ""}, DataOptions(), "corpora.empty", "my.csv"),
    "a header alone": ({"my.csv": as_csv([])}, DataOptions(), "corpora.empty", "my.csv"),
    "no column of a text": (
        {"my.csv": as_csv(ROWS, ("a", "b", "c", "label"))},
        DataOptions(),
        "corpora.no_column",
        "my.csv",
    ),
    "two columns of labels": (
        {"my.csv": as_csv([(*row, 1) for row in ROWS], (*HEADER, "emotion"))},
        DataOptions(),
        "corpora.ambiguous_column",
        "my.csv",
    ),
    "the header of the text twice": (
        {"my.csv": as_csv([(*row, 1) for row in ROWS], (*HEADER, "text"))},
        DataOptions(),
        "table.columns",
        "my.csv:1",
    ),
    "a row that is too short": ({"my.csv": PLAIN + "3,Di\r\n"}, DataOptions(), "table.width", "my.csv:5"),
    "an open quote": ({"my.csv": PLAIN + '3,Di,"Oh,anger\r\n'}, DataOptions(), "table.csv", "my.csv:5"),
    "a blank text": (
        {"my.csv": as_csv([*ROWS, ("3", "Di", " ", "anger")])},
        DataOptions(),
        "corpora.empty_cell",
        "my.csv:5",
    ),
    "a list for a text": (
        {"my.jsonl": as_lines([*as_objects(), {**as_objects()[2], "text": ["a", "b"]}])},
        DataOptions(),
        "corpora.not_a_text",
        "my.jsonl:4",
    ),
    "several labels in a list": (
        {"my.jsonl": as_lines(as_objects(labelled("anger", ["anger", "neutral"], "neutral")))},
        DataOptions(),
        "corpora.several_labels",
        "my.jsonl:2",
    ),
    "several labels in a cell": (
        {"my.csv": as_csv(labelled("anger", "anger; neutral", "neutral"))},
        DataOptions(),
        "corpora.several_labels",
        "my.csv:3",
    ),
    "numbered labels without names": (
        {"my.csv": as_csv(labelled(1, 0, 2))},
        DataOptions(),
        "corpora.numbered_labels",
        "my.csv:2",
    ),
    "too few names": (
        {"my.csv": as_csv(labelled(1, 0, 2))},
        DataOptions(label_names=("neutral", "anger")),
        "corpora.numbered_labels",
        "my.csv:4",
    ),
    "a label that the names lack": (
        {"my.csv": PLAIN},
        DataOptions(label_names=("neutral", "anger")),
        "corpora.unknown_label",
        "--label-names",
    ),
    "a map of a label that is not there": (
        {"my.csv": PLAIN},
        DataOptions(label_map={"joy": "happiness"}),
        "corpora.unknown_label",
        "--map",
    ),
    "a column of labels that is none": (
        {"my.csv": as_csv(MANY, LABELS_TOO)},
        DataOptions(),
        "corpora.too_many_labels",
        "my.csv:2",
    ),
    "nothing to train on": (
        {"my.csv": as_csv([(*row, "test") for row in ROWS], (*HEADER, "split"))},
        DataOptions(),
        "corpora.nothing_to_train_on",
        "",
    ),
    "a split that is none": (
        {"my.csv": as_csv([(*row, "later") for row in ROWS], (*HEADER, "split"))},
        DataOptions(),
        "corpora.unknown_split",
        "my.csv:2",
    ),
    "a zip": ({"my.zip": as_zip("my.csv", PLAIN)}, DataOptions(), "table.archive", "my.zip"),
    "a zip by another name": ({"my.csv": as_zip("my.csv", PLAIN)}, DataOptions(), "table.archive", "my.csv"),
    "a workbook": ({"my.xlsx": as_zip("xl/workbook.xml", "<x/>")}, DataOptions(), "table.archive", "my.xlsx"),
    "another format": ({"my.txt": PLAIN}, DataOptions(), "table.format", "my.txt"),
    "JSON that is cut off": (
        {"my.json": json.dumps(as_objects())[:-9]},
        DataOptions(),
        "table.json",
        "my.json",
    ),
    "JSON rows below a key": (
        {"my.json": json.dumps({"data": as_objects()})},
        DataOptions(),
        "corpora.rows_in_object",
        "my.json",
    ),
    "parallel lists of two lengths": (
        {"my.json": json.dumps([as_lists(ANN), {**as_lists(CY), "emotions": []}])},
        DataOptions(),
        "corpora.lists_differ",
        "my.json, dialogue 1",
    ),
    "JSON dialogues that state their split": (
        {
            "my.json": json.dumps(
                [
                    {**one, "split": split}
                    for one, split in zip(as_dialogues(), ("train", "test"), strict=True)
                ]
            )
        },
        DataOptions(),
        "corpora.split_inside",
        "my.json, dialogue 1",
    ),
    "JSON utterances that state their split": (
        {"my.jsonl": as_lines([{"turns": [{"text": "Oh.", "label": "anger", "part": "train"}]}])},
        DataOptions(columns={"split": "part"}),
        "corpora.split_inside",
        "my.jsonl, dialogue 0",
    ),
    "JSON splits beside something else": (
        {"my.json": json.dumps({"version": {"is": 1}, **BY_SPLIT})},
        DataOptions(),
        "corpora.several_lists",
        "my.json",
    ),
    "JSON splits below a key": (
        {"my.json": json.dumps({"splits": BY_SPLIT})},
        DataOptions(),
        "corpora.several_lists",
        "my.json",
    ),
    "JSON columns of other rows": (
        {"my.json": json.dumps({"text": {"0": "Oh.", "1": "No."}, "label": {"1": "anger", "0": "neutral"}})},
        DataOptions(),
        "table.json",
        "my.json",
    ),
    "JSON Lines whose first row has no split": (
        {"my.jsonl": as_lines([as_objects()[0], {**as_objects()[2], "split": "test"}])},
        DataOptions(),
        "table.columns",
        "my.jsonl:1",
    ),
    "two files in one": ({"my.csv": PLAIN + PLAIN}, DataOptions(), "table.second_header", "my.csv:5"),
    "a byte-order mark inside": (
        {"my.csv": PLAIN + "\ufeff3,Di,Oh.,anger\r\n"},
        DataOptions(),
        "table.second_header",
        "my.csv:5",
    ),
    "a quote that opens a text between tabs": (
        {"my.tsv": 'speaker\ttext\tlabel\nDi\t"Oh.\tanger\nBo\tNo."\tneutral\n'},
        DataOptions(),
        "table.csv",
        "my.tsv:2",
    ),
    "a NUL byte": (
        {"my.csv": PLAIN + "3,Di,Oh\0.,anger\r\n"},
        DataOptions(),
        "corpora.nul_byte",
        "my.csv:5",
    ),
    "class labels in another order": (
        {
            "my/train.parquet": with_class_names(labelled(1, 0, 2), ("neutral", "anger", "happiness")),
            "my/test.parquet": with_class_names(labelled(1, 0, 2), ("anger", "neutral", "happiness")),
        },
        DataOptions(),
        "corpora.class_labels_differ",
        "test.parquet",
    ),
    "a column for two things": (
        {"my.csv": PLAIN},
        DataOptions(columns={"text": "label", "label": "label"}),
        "corpora.column_twice",
        "--text",
    ),
    "labels with two kinds of accents": (
        {"my.csv": as_csv(labelled("colère", "cole\u0300re", "neutral"))},
        DataOptions(),
        "corpora.labels_alike",
        "the labels",
    ),
    "a label mapped to another case": (
        {"my.csv": as_csv(labelled("joy", "neutral", "happiness"))},
        DataOptions(label_map={"joy": "Happiness"}),
        "corpora.labels_alike",
        "the labels",
    ),
    "a label mapped to two lines": (
        {"my.csv": PLAIN},
        DataOptions(label_map={"anger": "an\nger"}),
        "corpora.no_label",
        "the labels",
    ),
    "a label that predictions have for none": (
        {"my.csv": as_csv(labelled("invalid", "neutral", "anger"))},
        DataOptions(),
        "corpora.no_label",
        "the labels",
    ),
    "a name for two numbers": (
        {"my.csv": as_csv(labelled(0, 1, 2))},
        DataOptions(label_names=("anger", "anger", "neutral")),
        "corpora.label_name_twice",
        "--label-names",
    ),
    "several labels that are nowhere alone": (
        {"my.csv": as_csv(labelled("sadness", "anger|neutral", "anger|neutral"))},
        DataOptions(),
        "corpora.several_labels",
        "my.csv:3",
    ),
    "a folder without data": ({"my/readme.md": "# Nothing"}, DataOptions(), "corpora.not_loaded", "my"),
    "no such file": ({"other.csv": PLAIN}, DataOptions(), "table.not_found", "my.csv"),
}


def written(files: Mapping[str, str | bytes], folder: Path) -> str:
    """Writes files, and gives the path that a user would name."""
    for name, content in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    first = next(iter(files))
    named = first.partition("/")[0] if "/" in first else first
    return str(folder / ("my.csv" if named == "other.csv" else named))


def read(guessed: GuessedCorpus) -> Found:
    """What the corpus file reads, by split."""
    found: Found = {}
    for one in read_corpus(guessed.entry, guessed.source.folder, CorpusRecipe(), Notes()):
        turns = [(turn.speaker, turn.text, turn.label) for turn in one.utterances]
        found.setdefault(one.split, []).append(turns)
    return found


def guess(data: str | Sequence[str], folder: Path, options: DataOptions | None = None) -> GuessedCorpus:
    named = [data] if isinstance(data, str) else list(data)
    scratch = folder / "scratch"
    scratch.mkdir()
    return guess_corpus(named, folder / "own", options or DataOptions(), scratch)


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


@pytest.mark.parametrize("way", REFUSED)
def test_a_way_that_is_refused(way: str, tmp_path: Path) -> None:
    files, options, code, where = REFUSED[way]
    with pytest.raises(DataError) as raised:
        guess(written(files, tmp_path), tmp_path, options)
    first = raised.value.problems[0]
    assert first.code == code
    assert first.where.endswith(where)
    assert first.fix or first.expected
    assert not (tmp_path / "own").exists()


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
