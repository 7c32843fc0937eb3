"""Data of a user's own through the command line: written, checked, audited, scored, and never published."""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dialoguellm_release.errors import DataError
from dialoguellm_release.folders import read_manifest, stamps, write_manifest
from dialoguellm_release.layout import AUDIT
from dialoguellm_release.recipes.catalogue import load_recipe
from dialoguellm_release.schemas.dataset_manifest import DatasetManifest
from dialoguellm_release.schemas.recipes.backbone import BackboneRecipe
from dialoguellm_release.schemas.release import ReleaseRecipe
from dialoguellm_release.steps.recipe import new_recipe

TABLE = """\
dialogue,speaker,text,label,split
a,Alex,It rained all day and we stayed at home.,sadness,
a,Robin,What bad luck!,surprise,
b,Alex,We won the match in the last minute!,happiness,
c,Robin,We won the match in the last minute!,happiness,
t,Alex,"It rained all day, and we stayed at home!",sadness,test
u,Robin,How nice.,happiness,test
"""
LEAKED = "data/my/test-leaked-00000.parquet"
CLEAN = "data/my/train-clean-00000.parquet"


@pytest.fixture
def own(run: Any, tmp_path: Path) -> Path:
    """The folder of the recipes for a table, with the dataset that they build."""
    (tmp_path / "my.csv").write_text(TABLE, encoding="utf-8")
    folder = tmp_path / "own"
    assert run("recipe", "new", "--extends", "tiny", "--data", tmp_path / "my.csv", "--out", folder).code == 0
    assert run("dataset", "build", folder / "my-dataset.yaml", "--out", folder / "dataset").code == 0
    return folder


def test_the_files_and_the_next_commands_are_said(run: Any, tmp_path: Path) -> None:
    data, folder = tmp_path / "my data.csv", tmp_path / "own"
    data.write_text(TABLE.replace("text,", "line,"), encoding="utf-8")
    command = ("recipe", "new", "--extends", "tiny", "--data", data, "--out", folder)
    ended = run(*command)
    assert ended.code == 1
    assert "name it with --text" in ended.err
    ended = run(*command, "--text", "line")
    assert [line.split() for line in ended.out.splitlines() if line.startswith(("train ", "test "))] == [
        ["train", "4", "records", "in", "3", "dialogues"],
        ["test", "2", "records", "in", "2", "dialogues"],
    ]
    assert f"dlm-release score run '{folder / 'my data-score.yaml'}'" in ended.err
    said = json.loads(run(*command, "--text", "line", "--json").out)
    assert said["recipe"] == str(folder / "my data.yaml")
    assert said["records"] == {"train": 4, "test": 2}
    names = (said["recipe"], said["score_recipe"], said["corpus"], said["dataset_recipe"])
    assert run("recipe", "validate", *names).code == 0
    for line in said["commands"]:
        assert shlex.split(line)[0] == "dlm-release"
    built = run(*shlex.split(said["commands"][0])[1:-1], tmp_path / "built")
    assert built.code == 0


def test_it_is_checked_audited_and_scored(run: Any, own: Path) -> None:
    checked = run("dataset", "check", own / "dataset")
    assert (checked.code, checked.out) == (0, "")
    assert "nothing is wrong" in checked.err
    audited = run("dataset", "audit", own / "dataset")
    assert audited.code == 0
    assert audited.out.splitlines()[1].split()[:2] == ["my/test", "my/train"]
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
    name_another_split: "got: null, or no splits",
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
    assert "my/test/t/0: its leaks are not what an audit finds" in ended.err
    assert "expected: my/train" in ended.err
    assert DAMAGE[change] in ended.err


def test_parts_audit_and_sft_rows_are_looked_at(run: Any, own: Path) -> None:
    dataset = own / "dataset"
    (dataset / AUDIT).write_text("{}", encoding="utf-8")
    shutil.move(dataset / LEAKED, dataset / "data" / "my" / "test-repeated-00000.parquet")
    (dataset / "sft" / "train-my-clean-00000.parquet").unlink()
    restamp(dataset)
    ended = run("dataset", "check", dataset)
    assert ended.code == 1
    assert f"{dataset / AUDIT}: is not what an audit finds" in ended.err
    assert "my/test/t/0: is in the wrong part" in ended.err
    assert "my/train: its sft table cannot be read" in ended.err


def test_it_is_never_published(run: Any, own: Path) -> None:
    release = own / "release.yaml"
    release.write_text(
        "version: 1\nkind: release\ndescription: Mine.\ntag: v1.0.0\nchangelog: The first.\n"
        "dataset: {repo_id: me/mine, folder: dataset}\n",
        encoding="utf-8",
    )
    ended = run("publish", release, "--from", own, "--to", own / "to", "--dry-run")
    assert ended.code == 1
    assert "nothing" in ended.err
    assert not (own / "to").exists()


def test_a_release_under_an_owner_is_written(run: Any, tmp_path: Path) -> None:
    (tmp_path / "my.csv").write_text(TABLE, encoding="utf-8")
    command = ("recipe", "new", "--extends", "tiny", "--data", tmp_path / "my.csv", "--out", tmp_path / "own")
    with pytest.raises(DataError) as raised:
        new_recipe("tiny", tmp_path / "my.csv", tmp_path / "own", release="not/an owner")
    assert [problem.code for problem in raised.value.problems] == ["recipe.bad_owner"]
    said = json.loads(run(*command, "--release", "river-lab", "--json").out)
    release = load_recipe(said["release_recipe"], "release", ReleaseRecipe).recipe
    assert release.in_order() == ("datasets/river-lab/my", "river-lab/my-backbone", "river-lab/my-tiny")
    backbone = load_recipe(str(tmp_path / "own" / "my-backbone.yaml"), "backbone", BackboneRecipe).recipe
    assert backbone.source.repo_id == "river-lab/my-backbone"
    folders = [shlex.split(line)[-1].removeprefix("build/") for line in said["commands"][:2]]
    assert [release.dataset and release.dataset.folder, release.adapters[0].folder] == folders
    llama = run(
        *command[:3], "llama-2-7b", *command[4:6], "--out", tmp_path / "llama", "--release", "river-lab"
    )
    assert llama.code == 0
    assert not (tmp_path / "llama" / "my-backbone.yaml").exists()


def restamp(dataset: Path) -> None:
    """Makes the manifest agree with the files, as one would who hides a change."""
    manifest = read_manifest(dataset, DatasetManifest)
    write_manifest(dataset, manifest.model_copy(update={"outputs": stamps(dataset)}))
