"""`verify` on the command line: a table or data, and 1 where anything fails."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

SPACE_ALONE = """\
version: 1
kind: release
description: A metric alone.
tag: v1.0.0
changelog: The first.
spaces:
  - {repo_id: us/erc_scores, metric: erc_scores}
"""


@pytest.fixture
def release(run: Any, tmp_path: Path) -> tuple[Path, Path]:
    """A release recipe of one metric, and the folder that it was published to."""
    recipe, target = tmp_path / "metric.yaml", tmp_path / "target"
    recipe.write_text(SPACE_ALONE, encoding="utf-8")
    assert run("publish", recipe, "--from", tmp_path, "--to", target, "--yes").code == 0
    return recipe, target


def test_a_release_is_verified_as_text_and_as_data(run: Any, release: tuple[Path, Path]) -> None:
    recipe, target = release
    ended = run("verify", recipe, "--at", target)
    assert ended.code == 0
    assert "spaces/us/erc_scores at v1.0.0 (" in ended.out
    assert "nothing is wrong in what was checked" in ended.err
    (repository,) = json.loads(run("verify", recipe, "--at", target, "--json").out)["repositories"]
    by_name = {one["name"]: one for one in repository["checks"]}
    assert by_name["hashes"]["outcome"] == "pass"
    assert by_name["saved"] == {
        "name": "saved",
        "outcome": "not checked",
        "note": "no saved release.json was given (--release)",
        "problems": [],
    }


def test_what_fails_ends_with_1_and_is_told_with_its_repository(run: Any, release: tuple[Path, Path]) -> None:
    folder = release[1] / "spaces" / "us" / "erc_scores"
    assert run("verify", folder).code == 0
    (folder / "functions.py").write_text("# other\n", encoding="utf-8")
    ended = run("verify", folder, "--json")
    assert ended.code == 1
    (repository,) = json.loads(ended.out)["repositories"]
    assert [one["name"] for one in repository["checks"] if one["outcome"] == "fail"] == ["hashes"]
    assert "spaces/us/erc_scores: functions.py: is not the file that was published" in ended.err
    assert "1 problem; nothing was changed." in ended.err


def test_a_word_that_is_neither_repository_nor_recipe_is_told(run: Any) -> None:
    ended = run("verify", "instructions")
    assert ended.code == 1
    assert "no bundled release recipe has this name" in ended.err
    assert run("verify", "demo", "--sample", "-1").code == 2
