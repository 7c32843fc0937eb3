"""`dlm-release dataset hydrate`, from a release in a folder, as a user runs it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Once

RELEASE = """\
version: 1
kind: release
description: A release of the dataset alone.
tag: v0.0.1
changelog: One of the tests.
dataset: {repo_id: someone/data, folder: dataset}
"""


@pytest.fixture
def published(
    run: Callable[..., Any], tmp_path: Path, sources: Path, once: Once, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """The repository of a release whose MELD has no text, and nothing of MEISD and IEMOCAP."""

    def fill(folder: Path) -> None:
        monkeypatch.chdir(folder)
        (folder / "release.yaml").write_text(RELEASE)
        standoff = ("--set", "corpora.meld.distribution=standoff")
        built = run("dataset", "build", "demo", "--sources", sources, *standoff, "--out", "build/dataset")
        assert built.code == 0
        assert run("publish", "release.yaml", "--from", "build", "--to", "release").code == 0

    shutil.copytree(once("published_without_text", fill), tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "release" / "datasets" / "someone" / "data"


def test_the_whole_way_from_a_build_to_the_same_folder(
    run: Callable[..., Any], published: Path, sources: Path, tmp_path: Path
) -> None:
    assert run("dataset", "check", published).code == 0
    ended = run("dataset", "hydrate", published, "--sources", sources, "--out", "again", "--json")
    assert ended.code == 0
    assert "again is hydrated. Its content is that of the build." in ended.err
    built, again = (
        json.loads((tmp_path / name / "manifest.json").read_text()) for name in ("build/dataset", "again")
    )
    assert {*again.pop("folders")} == {"published copy"}
    assert built.pop("folders") == {}
    assert len(again.pop("inputs")) < len(built.pop("inputs"))
    assert again == built
    assert json.loads(ended.out)["content_sha256"] == built["content_sha256"]
    assert run("dataset", "check", "again").code == 0
    once_more = run("dataset", "hydrate", published, "--sources", sources, "--out", "again")
    assert "again is current; nothing was done." in once_more.err
    assert built["content_sha256"] in once_more.out


def test_the_stand_off_config_of_the_repository_loads(published: Path, tmp_path: Path) -> None:
    from datasets import load_dataset

    rows = load_dataset(str(published), "standoff", cache_dir=str(tmp_path / "cache"))
    assert set(rows["test"]["corpus"]) == {"meld"}
    assert not {"input", "context", "speaker", "instruction"} & set(rows["test"].column_names)
    with pytest.raises(ValueError, match="meld"):
        load_dataset(str(published), "meld", cache_dir=str(tmp_path / "cache"))


def test_a_copy_that_differs_much_is_told_on_one_screen_and_whole_as_data(
    run: Callable[..., Any], published: Path, sources: Path, tmp_path: Path
) -> None:
    path = sources / "meld" / "train_sent_emo.csv"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-80]))
    ended = run("dataset", "hydrate", published, "--sources", sources, "--out", "again", "--json")
    assert ended.code == 1
    problems = json.loads(ended.out)["problems"]
    assert len([one for one in problems if one["what"] == "is in the dataset, but not in your copy"]) == 80
    assert "records: 80 missing" in problems[0]["what"]
    assert ended.err.count("is in the dataset, but not in your copy") == 24
    assert f"and {len(problems) - 25} more\n{len(problems)} problems; nothing was written." in ended.err
    assert len(ended.err.splitlines()) < 40
    assert not (tmp_path / "again").exists()


def test_what_is_no_published_dataset_is_told(run: Callable[..., Any], sources: Path) -> None:
    ended = run("dataset", "hydrate", "someone/nothing", "--sources", sources)
    assert ended.code == 1
    assert "someone/nothing is not a folder either" in ended.err
    ended = run("dataset", "hydrate", sources, "--sources", sources)
    assert "no dataset folder here" in ended.err
