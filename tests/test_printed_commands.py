"""Commands that are printed as advice can be pasted into a shell, whatever the names of folders."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from dialoguellm_release.corpora.registry import corpus_entry
from dialoguellm_release.errors import PublishError
from dialoguellm_release.hub.plan import read_sources
from dialoguellm_release.hydration.hydrate import how_to_get
from dialoguellm_release.recipes.catalogue import load_recipe
from dialoguellm_release.schemas.release import ReleaseRecipe

NAMES = ["my build", "it's", "a;b", "$HOME", "(x)"]


@pytest.mark.parametrize("name", NAMES)
def test_what_a_release_lacks(name: str, tmp_path: Path) -> None:
    recipe = load_recipe("demo", "release", ReleaseRecipe).recipe
    with pytest.raises(PublishError) as raised:
        read_sources(recipe, tmp_path / name)
    fixes = [problem.fix for problem in raised.value.problems if problem.fix]
    commands = [fix[fix.index("dlm-release") :].partition("  (")[0] for fix in fixes if "dlm-release" in fix]
    named = [word for command in commands for word in shlex.split(command)]
    assert str(tmp_path / name / "dataset") in named
    assert all(word.startswith(("-", "/", "dlm")) or word.replace("-", "").isalnum() for word in named)


@pytest.mark.parametrize("name", NAMES)
def test_how_a_corpus_is_fetched(name: str, tmp_path: Path) -> None:
    command = how_to_get(corpus_entry("meld"), tmp_path / name)
    assert shlex.split(command) == ["dlm-release", "corpora", "fetch", "meld", "--out", str(tmp_path / name)]
