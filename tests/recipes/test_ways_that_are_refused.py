"""Ways to bring a table that are refused, with line and fix."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from dialoguellm_release.corpora.guess import DataOptions
from dialoguellm_release.errors import DataError
from tests.recipes.tables import (
    ANN,
    BY_SPLIT,
    CY,
    HEADER,
    PLAIN,
    ROWS,
    as_csv,
    as_dialogues,
    as_lines,
    as_lists,
    as_objects,
    as_zip,
    guess,
    labelled,
    with_class_names,
    written,
)


def as_turns(*parts: str) -> dict[str, list[dict[str, str]]]:
    """A dialogue with an utterance in each of some parts."""
    return {"turns": [{"text": "Oh.", "label": "anger", "part": part} for part in parts]}


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
    "JSON dialogues in a file of another split": (
        {"my.json": json.dumps({"train": as_dialogues(), "test": [{**as_dialogues()[0], "split": "dev"}]})},
        DataOptions(),
        "corpora.split_inside",
        "my.json, dialogue 0",
    ),
    "a JSON dialogue in two splits": (
        {"my.jsonl": as_lines([as_turns("train"), as_turns("train", "test")])},
        DataOptions(columns={"split": "part"}),
        "corpora.dialogue_in_several_splits",
        "my.jsonl, dialogue 1",
    ),
    "a JSON dialogue whose split is none": (
        {"my.jsonl": as_lines([as_turns("train"), as_turns("later")])},
        DataOptions(columns={"split": "part"}),
        "corpora.unknown_split",
        "my.jsonl, dialogue 1",
    ),
    "a cell that is too long": (
        {"my.csv": as_csv([*ROWS, ("3", "Di", "word " * 30_000, "anger")])},
        DataOptions(),
        "table.long_cell",
        "my.csv:5",
    ),
    "a quote that is open for pages": (
        {
            "my.csv": as_csv([*ROWS[:1], ("3", "Di", "words", "anger")] + ROWS[2:] * 9_000).replace(
                "words", '"words'
            )
        },
        DataOptions(),
        "table.long_cell",
        "my.csv:3",
    ),
    "UTF-32 that is cut off": (
        {"my.csv": PLAIN.encode("utf-32")[:-2]},
        DataOptions(),
        "table.encoding",
        "my.csv",
    ),
    "every label for none": (
        {"my.csv": PLAIN},
        DataOptions(label_map=dict.fromkeys(("anger", "neutral", "happiness"), "")),
        "corpora.all_unlabelled",
        "my.csv:2",
    ),
    "no label anywhere": (
        {"my.csv": as_csv(labelled("", "nan", ""))},
        DataOptions(),
        "corpora.all_unlabelled",
        "my.csv:3",
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
