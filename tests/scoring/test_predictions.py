"""Predictions that were made elsewhere: scored like our own, or refused with every fault they have."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import accuracy_score

from dialoguellm_release.errors import DataError
from dialoguellm_release.schemas.labels import Split
from dialoguellm_release.schemas.record import Record
from dialoguellm_release.steps.score import score_baseline, score_predictions

FEW = ["intervals.resamples=50"]
Rows = list[dict[str, Any]]


def write(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    if path.suffix == ".csv":
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    elif path.suffix == ".jsonl":
        path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    else:
        pq.write_table(pa.Table.from_pylist(list(rows)), path)
    return path


@pytest.fixture
def rows(dialogues_of: Callable[[Split, int], list[Record]]) -> Rows:
    """A prediction for each of 40 records: right but for the first, which is anger, and the last, none."""
    rows: Rows = [{"id": one.id, "prediction": one.output, "note": "x"} for one in dialogues_of("test", 40)]
    rows[0]["prediction"] = "anger"
    rows[-1]["prediction"] = "invalid"
    return rows


def scored(path: Path, dataset: Path) -> Any:
    return score_predictions("meld", path, dataset, path.parent / "out", overrides=FEW).manifest


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_they_are_scored_whatever_their_order_and_format(
    suffix: str, rows: Rows, tmp_path: Path, audited_dataset: Path
) -> None:
    manifest = scored(write(tmp_path / f"mine{suffix}", rows[::-1]), audited_dataset)
    figures = manifest.figures
    assert figures.metrics["accuracy"] == 38 / 40
    assert figures.metrics["invalid"] == 1 / 40
    assert (figures.system.name, figures.system.kind) == ("mine", "predictions")
    assert figures.protocol.scorer is None
    assert figures.clean is not None


@pytest.mark.parametrize("nothing", ["", None])
def test_an_empty_prediction_names_no_label(
    nothing: str | None, rows: Rows, tmp_path: Path, audited_dataset: Path
) -> None:
    rows[3]["prediction"] = nothing
    manifest = scored(write(tmp_path / "mine.jsonl", rows), audited_dataset)
    assert manifest.figures.metrics["invalid"] == 2 / 40


def test_our_own_predictions_score_as_they_did(tmp_path: Path, audited_dataset: Path) -> None:
    ours = score_baseline("meld", "majority", audited_dataset, tmp_path / "majority", overrides=FEW)
    theirs = scored(tmp_path / "majority" / "predictions.parquet", audited_dataset)
    columns = pq.read_table(tmp_path / "majority" / "predictions.parquet").to_pydict()
    assert theirs.figures.metrics == ours.manifest.figures.metrics
    assert theirs.figures.intervals == ours.manifest.figures.intervals
    assert theirs.figures.metrics["accuracy"] == accuracy_score(columns["reference"], columns["prediction"])


def test_every_fault_is_told_at_once(rows: Rows, tmp_path: Path, audited_dataset: Path) -> None:
    lost, doubled = rows.pop(5)["id"], rows[7]["id"]
    rows += [dict(rows[7]), {"id": "meld/test/99/0", "prediction": "joy", "note": "x"}]
    rows[2]["prediction"] = "powerful"
    with pytest.raises(DataError) as raised:
        scored(write(tmp_path / "mine.csv", rows), audited_dataset)
    told = [(problem.what, problem.got) for problem in raised.value.problems]
    assert told == [
        ("gives 1 ids twice or more", doubled),
        ("gives 1 ids that are none of the 40 records that the recipe scores", "meld/test/99/0"),
        ("lacks 1 of the 40 records that the recipe scores", lost),
        ("holds predictions that are no label of the corpus", "joy (1), powerful (1)"),
    ]
    assert not (tmp_path / "out").exists()


def test_many_faults_of_a_kind_are_counted_and_some_are_named(
    rows: Rows, tmp_path: Path, audited_dataset: Path
) -> None:
    with pytest.raises(DataError, match=r"lacks 39 of the 40") as raised:
        scored(write(tmp_path / "mine.csv", rows[:1]), audited_dataset)
    got = str(raised.value.problems[0].got)
    assert got.count("meld/test/") == 10
    assert got.endswith("... (39 in all)")


def test_predictions_of_another_dataset_are_refused(
    tmp_path: Path, audited_dataset: Path, dialogues_of: Any, dataset_of: Any
) -> None:
    made = score_baseline("meld", "majority", audited_dataset, tmp_path / "majority", overrides=FEW)
    other = dataset_of(
        tmp_path / "other", {"train": dialogues_of("train", 65), "test": dialogues_of("test", 40)}
    )
    with pytest.raises(DataError, match="was made on another dataset") as raised:
        scored(tmp_path / "majority" / "predictions.parquet", other)
    assert made.manifest.figures.protocol.dataset_content_sha256 in str(raised.value.problems[0].got)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("mine.txt", b"", "a name that ends in .csv, .jsonl, .parquet"),
        ("mine.csv", b"id,label\na,b\n", "lacks prediction"),
        ("mine.csv", b"id;prediction\na;b\n", "lacks id and prediction"),
        ("mine.csv", "id,prediction\na,é\n".encode("latin-1"), "not a CSV file in UTF-8"),
        ("mine.csv", b"", "lacks 40 of the 40 records"),
        ("mine.jsonl", b'{"id": "a"\n', "not JSON lines in UTF-8"),
        ("mine.jsonl", b"[1]\n", "not a JSON object"),
        ("mine.parquet", b"PAR1", "not a Parquet file"),
    ],
)
def test_a_file_that_cannot_be_read_is_told(
    name: str, content: bytes, message: str, tmp_path: Path, audited_dataset: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        scored(tmp_path / name, audited_dataset)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_answers_that_are_left_to_chance_cannot_be_scored_as_labels(
    tmp_path: Path, audited_dataset: Path
) -> None:
    score_baseline("meld", "random", audited_dataset, tmp_path / "random", overrides=FEW)
    with pytest.raises(DataError, match="no label of the corpus") as raised:
        scored(tmp_path / "random" / "predictions.parquet", audited_dataset)
    assert raised.value.problems[0].got == "drawn (40)"
