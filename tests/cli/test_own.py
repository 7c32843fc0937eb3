"""Data of a user's own through the command line: written, checked, audited, scored, and never published."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dialoguellm_release.folders import read_manifest, stamps, write_manifest
from dialoguellm_release.layout import AUDIT
from dialoguellm_release.schemas.dataset_manifest import DatasetManifest

TABLE = """\
dialogue,speaker,text,label,split
a,Alex,It rained all day and we stayed at home.,sadness,
a,Robin,What bad luck!,surprise,
b,Alex,We won the match in the last minute!,happiness,
c,Robin,We won the match in the last minute!,happiness,
t,Alex,"It rained all day, and we stayed at home!",sadness,test
u,Robin,How nice.,happiness,test
"""
LEAKED = "data/own/test-leaked-00000.parquet"
CLEAN = "data/own/train-clean-00000.parquet"


@pytest.fixture
def own(run: Any, tmp_path: Path) -> Path:
    """The folder that `recipe new` fills; it holds what a user who tries it would hold."""
    (tmp_path / "my.csv").write_text(TABLE, encoding="utf-8")
    ended = run("recipe", "new", "--from", "tiny", "--data", tmp_path / "my.csv", "--out", tmp_path / "own")
    assert ended.code == 0
    return tmp_path / "own"


def test_what_is_written_is_told(run: Any, tmp_path: Path) -> None:
    (tmp_path / "my.csv").write_text(TABLE, encoding="utf-8")
    command = ("recipe", "new", "--from", "tiny", "--data", tmp_path / "my.csv", "--out", tmp_path / "own")
    ended = run(*command)
    assert "clean: 1 training records; left out: 2 leak, 1 duplicates, 0 lose a conflict" in ended.out
    assert f"dlm-release score run {tmp_path / 'own' / 'my-score.yaml'}" in ended.err
    told = json.loads(run(*command, "--json").out)
    assert told["recipe"] == str(tmp_path / "own" / "my.yaml")
    assert told["score_recipe"] == str(tmp_path / "own" / "my-score.yaml")
    assert told["records"] == {"train": 4, "validation": 0, "test": 2}
    assert told["parts"]["own"]["test"] == {"clean": 1, "leaked": 1, "duplicates": 0, "conflicts": 0}
    assert run("recipe", "validate", told["recipe"], told["score_recipe"]).code == 0


def test_it_is_checked_audited_and_scored(run: Any, own: Path) -> None:
    checked = run("dataset", "check", own / "dataset")
    assert (checked.code, checked.out) == (0, "")
    assert "nothing is wrong" in checked.err
    audited = run("dataset", "audit", own / "dataset")
    assert audited.code == 0
    assert audited.out.splitlines()[1].split()[:2] == ["own/test", "own/train"]
    assert "two corpora" not in audited.out
    told = run("dataset", "audit", own / "dataset", "--json").out
    assert json.loads(told) == json.loads((own / "dataset" / AUDIT).read_text(encoding="utf-8"))
    assert run("adapter", "check", own / "my.yaml", "--dataset", own / "dataset").code == 0
    scored = run(
        *("score", "baseline", own / "my-score.yaml", "majority", "--dataset", own / "dataset"),
        *("--out", own / "scores", "--json"),
    )
    assert scored.code == 0
    figures = json.loads((own / "scores" / "scores.json").read_text(encoding="utf-8"))
    assert figures["protocol"]["leak_policy"] == "kept in training"
    assert (figures["records"], figures["clean"]["records"]) == (2, 1)


def forget_leaks(rows: list[dict[str, Any]]) -> None:
    rows[0].update(leaks=[])


def nobody_looked(rows: list[dict[str, Any]]) -> None:
    rows[0].update(leaks=None)


def name_another_split(rows: list[dict[str, Any]]) -> None:
    rows[0].update(leaks=["meld/train"])


DAMAGE: dict[Callable[[list[dict[str, Any]]], None], str] = {
    forget_leaks: "got: none",
    nobody_looked: "got: null, or no splits",
    name_another_split: "got: meld/train",
}


@pytest.mark.parametrize("change", DAMAGE, ids=lambda change: change.__name__)
def test_a_ledger_that_was_bent_is_found(
    change: Callable[[list[dict[str, Any]]], None], run: Any, own: Path
) -> None:
    path = own / "dataset" / LEAKED
    table = pq.read_table(path)
    rows = table.to_pylist()
    change(rows)
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), path)
    restamp(own / "dataset")
    ended = run("dataset", "check", own / "dataset")
    assert ended.code == 1
    assert "own/test/t/0: its leaks are not what an audit finds" in ended.err
    assert "expected: own/train" in ended.err
    assert DAMAGE[change] in ended.err


def test_parts_audit_and_sft_rows_are_looked_at(run: Any, own: Path) -> None:
    dataset = own / "dataset"
    (dataset / AUDIT).write_text("{}", encoding="utf-8")
    shutil.move(dataset / LEAKED, dataset / "data" / "own" / "test-repeated-00000.parquet")
    (dataset / "sft" / "train-own-clean-00000.parquet").unlink()
    restamp(dataset)
    ended = run("dataset", "check", dataset)
    assert ended.code == 1
    assert f"{dataset / AUDIT}: is not what an audit finds" in ended.err
    assert "own/test/t/0: stands in the wrong part" in ended.err
    assert "own/train: its sft table cannot be read" in ended.err


def test_it_is_never_published(run: Any, own: Path) -> None:
    release = own / "release.yaml"
    release.write_text(
        "version: 1\nkind: release\ndescription: Mine.\ntag: v1.0.0\nchangelog: The first.\n"
        "dataset: {repo_id: me/mine, folder: dataset}\n",
        encoding="utf-8",
    )
    ended = run("publish", release, "--from", own, "--to", own / "to", "--dry-run")
    assert ended.code == 1
    assert f"{own / 'dataset'}: own: is data of a user's own" in ended.err
    assert not (own / "to").exists()


def restamp(dataset: Path) -> None:
    """Makes the manifest agree with the files, as one would who hides a change."""
    manifest = read_manifest(dataset, DatasetManifest)
    write_manifest(dataset, manifest.model_copy(update={"outputs": stamps(dataset)}))
