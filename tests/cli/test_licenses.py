"""A recipe may ask for anything and is built; what may not leave is refused when it is published."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

RELEASE = """\
version: 1
kind: release
description: Of the tests.
tag: v1.0.0
changelog: One of the tests.
dataset: {{repo_id: a/b, folder: dataset, visibility: {visibility}}}
"""


@pytest.fixture
def built(run: Callable[..., Any], tmp_path: Path) -> Callable[..., Path]:
    """Builds the demo of two corpora with settings, and gives the folder of the build."""

    def build(*settings: str) -> Path:
        sets = [word for one in settings for word in ("--set", one)]
        skips = [word for one in ("emorynlp", "dailydialog", "iemocap") for word in ("--skip", one)]
        made = run("dataset", "build", "demo", "--out", tmp_path / "build" / "dataset", *skips, *sets)
        assert made.code == 0, made.err
        return tmp_path / "build"

    return build


@pytest.fixture
def publish(run: Callable[..., Any], tmp_path: Path) -> Callable[..., Any]:
    def call(build: Path, visibility: str, *options: str) -> Any:
        recipe = tmp_path / f"{visibility}.yaml"
        recipe.write_text(RELEASE.format(visibility=visibility), encoding="utf-8")
        return run("publish", recipe, "--from", build, "--to", tmp_path / "target", *options)

    return call


def test_a_build_may_hold_what_publish_then_refuses(
    built: Callable[..., Path], publish: Callable[..., Any], tmp_path: Path
) -> None:
    build = built("corpora.meisd.distribution=full")
    assert (build / "dataset" / "data" / "meisd").is_dir()
    ended = [publish(build, kind, *dry) for kind in ("public", "private") for dry in ((), ("--dry-run",))]
    for one in ended:
        assert one.code == 1
        assert (
            "corpora.meisd.distribution: the recipe demo publishes more of MEISD than its licences allow"
            in one.err
        )
        assert one.err.splitlines()[:-1] == ended[0].err.splitlines()[:-1]
    assert not (tmp_path / "target" / "datasets").exists()


def test_with_a_right_a_private_repository_is_published_and_a_public_one_is_not(
    built: Callable[..., Path], publish: Callable[..., Any], tmp_path: Path
) -> None:
    build = built("corpora.meisd.distribution=full", "rights.meisd=The authors allowed it by letter.")
    assert publish(build, "public", "--dry-run").code == 1
    assert publish(build, "private", "--dry-run").code == 0
    assert publish(build, "private").code == 0
    card = (tmp_path / "target/datasets/a/b/README.md").read_text(encoding="utf-8")
    assert "The authors allowed it by letter." in card
    assert publish(build, "public").code == 1


def test_a_corpus_goes_out_without_its_text_twice_the_same(
    built: Callable[..., Path], publish: Callable[..., Any], tmp_path: Path
) -> None:
    build = built(
        "corpora.meld.distribution=standoff",
        "corpora.meisd.distribution=full",
        "rights.meisd=The authors allowed it by letter.",
    )
    assert publish(build, "private").code == 0
    folder = tmp_path / "target/datasets/a/b"
    assert not (folder / "data" / "meld").exists()
    assert sorted(path.name for path in (folder / "standoff" / "meld").iterdir()) == [
        "test-00000.parquet",
        "train-00000.parquet",
        "validation-00000.parquet",
    ]
    assert "unchanged" in publish(build, "private").out
