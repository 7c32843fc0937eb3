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
    from sklearn.metrics import accuracy_score

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
    found = [(problem.code, problem.got) for problem in raised.value.problems]
    path = tmp_path / "mine.csv"
    assert found == [
        ("predictions.id_repeated", doubled),
        ("predictions.id_unknown", "meld/test/99/0"),
        ("predictions.id_missing", lost),
        ("predictions.label_unknown", f"'joy' (1, {path}:42), 'powerful' (1, {path}:4)"),
    ]
    assert not (tmp_path / "out").exists()


def test_many_faults_of_a_kind_are_counted_and_some_are_named(
    rows: Rows, tmp_path: Path, audited_dataset: Path
) -> None:
    with pytest.raises(DataError) as raised:
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
    with pytest.raises(DataError) as raised:
        scored(tmp_path / "majority" / "predictions.parquet", other)
    assert raised.value.problems[0].code == "predictions.other_dataset"
    assert made.manifest.figures.protocol.dataset_content_sha256 in str(raised.value.problems[0].got)


HEADER = b"id,prediction\n"


@pytest.mark.parametrize(
    ("name", "content", "code", "line"),
    [
        ("mine.txt", b"", "table.format", ""),
        ("mine.csv", b"id,label\na,b\n", "table.columns", ":1"),
        ("mine.csv", b"id;prediction\na;b\n", "table.columns", ":1"),
        ("mine.csv", b"id,prediction,prediction\na,b,c\n", "table.columns", ":1"),
        ("mine.csv", b"\n\nid,label\na,b\n", "table.columns", ":3"),
        ("mine.csv", HEADER + "a,\u00e9\n".encode("latin-1"), "table.encoding", ""),
        ("mine.csv", b"", "table.columns", ":1"),
        ("mine.csv", HEADER, "predictions.id_missing", ""),
        ("mine.csv", HEADER + b"a,b\na\n", "table.width", ":3"),
        ("mine.csv", HEADER + b"a,b\n\na,b,c\n", "table.width", ":4"),
        ("mine.csv", HEADER + b'"a\nb",c\nd\n', "table.width", ":4"),
        ("mine.csv", HEADER + b'a,"b\nc', "table.csv", ":2"),
        ("mine.csv", HEADER + b"a," + b"b" * 200_000 + b"\n", "table.long_cell", ":2"),
        ("mine.csv", HEADER + b",anger\n", "predictions.id_type", ":2"),
        ("mine.jsonl", b'{"id": "a"\n', "table.json", ":1"),
        ("mine.jsonl", b"\n[1]\n", "table.json", ":2"),
        ("mine.jsonl", b"[" * 100_000, "table.json", ":1"),
        ("mine.jsonl", b'{"id": "a"}\n', "table.columns", ":1"),
        ("mine.jsonl", b'{"id": "a", "prediction": "fear", "prediction": "anger"}', "table.json", ":1"),
        ("mine.jsonl", b'{"id": 1, "prediction": "anger"}\n', "predictions.id_type", ":1"),
        ("mine.jsonl", b'{"id": ["a"], "prediction": "anger"}\n', "predictions.id_type", ":1"),
        ("mine.parquet", b"PAR1", "table.parquet", ""),
        ("mine.parquet", b"", "table.parquet", ""),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_with_its_line(
    name: str, content: bytes, code: str, line: str, tmp_path: Path, audited_dataset: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError) as raised:
        scored(tmp_path / name, audited_dataset)
    problem = raised.value.problems[0]
    assert (problem.code, problem.where) == (code, f"{tmp_path / name}{line}")
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_file_that_does_not_exist_is_refused(tmp_path: Path, audited_dataset: Path) -> None:
    with pytest.raises(DataError) as raised:
        scored(tmp_path / "mine.csv", audited_dataset)
    assert raised.value.problems[0].code == "table.not_found"


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
@pytest.mark.parametrize("answer", [0, 1, False, "0", " ", "neutral ", "None", float("nan")])
def test_only_null_and_the_empty_text_are_no_answer(
    suffix: str, answer: object, rows: Rows, tmp_path: Path, audited_dataset: Path
) -> None:
    one_kind = [{**row, "prediction": answer} for row in rows]
    with pytest.raises(DataError) as raised:
        scored(write(tmp_path / f"mine{suffix}", one_kind), audited_dataset)
    (problem,) = raised.value.problems
    assert problem.code == "predictions.label_unknown"
    assert str(problem.got).startswith(f"{str(answer)!r} (40, ")


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_a_byte_order_mark_and_empty_lines_are_skipped(
    suffix: str, rows: Rows, tmp_path: Path, audited_dataset: Path
) -> None:
    path = write(tmp_path / f"mine{suffix}", rows)
    path.write_bytes(
        b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n").replace(b"\r\r", b"\r") + b"\n\n"
    )
    assert scored(path, audited_dataset).figures.metrics["accuracy"] == 38 / 40


def test_answers_that_are_left_to_chance_cannot_be_scored_as_labels(
    tmp_path: Path, audited_dataset: Path
) -> None:
    score_baseline("meld", "random", audited_dataset, tmp_path / "random", overrides=FEW)
    with pytest.raises(DataError) as raised:
        scored(tmp_path / "random" / "predictions.parquet", audited_dataset)
    assert raised.value.problems[0].code == "predictions.label_unknown"
    assert "'drawn' (40" in str(raised.value.problems[0].got)
