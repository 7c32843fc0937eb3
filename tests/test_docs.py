"""The documents say what is so: their code runs, their commands and files exist, their versions agree."""

from __future__ import annotations

import doctest
import importlib
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from dialoguellm_release.steps.dataset import build_dataset

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def test_the_documents_were_found() -> None:
    assert {path.name for path in DOCUMENTS} >= {
        "README.md",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "corpora.md",
        "scores.md",
    }


def test_the_python_of_the_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build_dataset("demo", out=tmp_path / "build" / "dataset")
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, Any] = {}
    found = blocks((ROOT / "README.md").read_text(encoding="utf-8"), "python")
    assert len(found) == 2
    for block in found:
        exec(block, namespace)
    turns = sum(len(dialogue) for dialogue in namespace["dialogues"])
    assert turns == len(namespace["test"]) > 100
    for dialogue in namespace["dialogues"]:
        assert len({(record["corpus"], record["split"], record["dialogue_id"]) for record in dialogue}) == 1
        numbers = [record["utterance_index"] for record in dialogue]
        assert numbers == sorted(numbers)


MODULES_WITH_EXAMPLES = sorted(
    path for path in (ROOT / "dialoguellm_release").rglob("*.py") if ">>>" in path.read_text(encoding="utf-8")
)


def test_modules_with_examples_were_found() -> None:
    assert len(MODULES_WITH_EXAMPLES) >= 10


@pytest.mark.parametrize("path", MODULES_WITH_EXAMPLES, ids=lambda path: path.stem)
def test_the_examples_in_docstrings_are_true(path: Path) -> None:
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    module = importlib.import_module(name)
    outcome = doctest.testmod(module)
    examples = [one for test in doctest.DocTestFinder().find(module) for one in test.examples]
    assert outcome.attempted > 0 or all(one.options.get(doctest.SKIP) for one in examples)
    assert outcome.failed == 0


def test_every_command_in_the_documents_exists() -> None:
    written = {
        match
        for path in DOCUMENTS
        for match in re.findall(r"dlm-release ((?:[a-z]+ ?){1,2})", path.read_text(encoding="utf-8"))
    }
    groups = {"recipe", "corpora", "dataset", "adapter", "score", "video", "card"}
    commands = {" ".join(words.split()[: 2 if words.split()[0] in groups else 1]) for words in written}
    assert {"dataset build", "adapter train", "score run", "publish"} <= commands
    for command in commands:
        done = subprocess.run(
            [sys.executable, "-m", "dialoguellm_release.cli.main", *command.split(), "--help"],
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, command


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", path.read_text(encoding="utf-8")):
        if "://" not in target and "*" not in target:
            assert (path.parent / target).exists(), target


def test_versions_agree() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == version
    assert re.search(r"^## ([\d.]+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE).group(1) == version  # type: ignore[union-attr]


def test_make_has_the_targets_that_the_readme_names() -> None:
    named = set(re.findall(r"^make ([a-z-]+)$", (ROOT / "README.md").read_text(), re.MULTILINE))
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert named == {"demo", "test"}
    assert {"setup", "demo", "test", "test-slow", "lint", "bench"} <= targets


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git to list the tracked files")
def test_no_tracked_file_names_a_path_of_some_machine() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    checks_for_paths = {"tests/cards/test_check.py", "tests/hub/test_secrets.py"}
    files = [ROOT / name for name in listed.splitlines() if name not in checks_for_paths]
    assert len(files) > 100
    home_like = re.compile(rb"/(?:home|root|Users|work)/[a-z]")
    assert not [path for path in files if path.is_file() and home_like.search(path.read_bytes())]
