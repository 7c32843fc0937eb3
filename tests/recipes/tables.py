"""Tables as people have them, for the tests of ways to bring one."""

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

from dialoguellm_release.corpora.cells import Notes
from dialoguellm_release.corpora.guess import DataOptions, GuessedCorpus, guess_corpus
from dialoguellm_release.corpora.readers import read_corpus
from dialoguellm_release.schemas.recipes.dataset import CorpusRecipe

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
