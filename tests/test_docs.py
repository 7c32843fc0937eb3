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
from typer.main import get_command

import dialoguellm_release as release
from dialoguellm_release.cli.main import app
from dialoguellm_release.steps.dataset import build_dataset
from tests.test_imports import FLOORS

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


@pytest.fixture(scope="module")
def workspace(tiny_adapter: Path, tiny_backbone: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with the folders that the documents name."""
    folder = tmp_path_factory.mktemp("workspace")
    build_dataset("demo", out=folder / "build" / "demo" / "dataset")
    for path, target in (("adapters", tiny_adapter), ("backbones", tiny_backbone)):
        (folder / "build" / "demo" / path).mkdir()
        (folder / "build" / "demo" / path / "tiny").symlink_to(target)
    return folder


@pytest.mark.parametrize(("name", "count"), [("README.md", 2), ("docs/use.md", 3)])
def test_the_python_of_a_document_runs(
    name: str, count: int, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(workspace)
    names: dict[str, Any] = {}
    found = blocks((ROOT / name).read_text(encoding="utf-8"), "python")
    assert len(found) == count
    for block in found:
        exec(block, names)
    assert 0 < len(names["clean_test"]) < len(names["test"])
    assert len(names["predictor"](names["conversation"])) == 2
    for dialogue in names.get("dialogues", ()):
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


def test_every_command_and_option_in_the_documents_exists() -> None:
    root, found, wrong = get_command(app), set[str](), []
    for path in DOCUMENTS:
        text = path.read_text(encoding="utf-8").replace("\\\n", " ")
        for line in re.findall(r"dlm-release ([a-z][^`\n#|]*)", text):
            command, names = root, list[str]()
            words = [word.strip(".,;:)") for word in line.split()]
            while words and words[0] in getattr(command, "commands", ()):
                names.append(words.pop(0))
                command = command.commands[names[-1]]  # type: ignore[attr-defined]
            is_unknown = hasattr(command, "commands") and words and re.fullmatch("[a-z]+", words[0])
            known = {
                "--help",
                *(one for param in command.params for one in (*param.opts, *param.secondary_opts)),
            }
            options = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", line))
            if is_unknown or options - known:
                wrong.append((path.name, line, sorted(options - known)))
            found.add(" ".join(names))
    assert wrong == []
    assert {"dataset build", "adapter train", "score run", "publish"} <= found


def anchors(path: Path) -> set[str]:
    """Those of the headings of a document, as GitHub and the site make them."""
    text = re.sub(r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_and_pictures_lead_somewhere(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    found = re.findall(r"\]\(([^)\s]*)\)", text) + re.findall(r'src="([^"]+)"', text)
    for target in found:
        if "://" not in target and "*" not in target:
            file, _, anchor = target.partition("#")
            led = path.parent / file if file else path
            assert led.exists(), target
            assert not anchor or anchor in anchors(led), target


def test_every_page_is_in_the_navigation_of_the_site() -> None:
    listed = set(re.findall(r"[\w/-]+\.md", (ROOT / "mkdocs.yml").read_text(encoding="utf-8")))
    kinds = {f"reference/recipes/{path.name.split('.')[0]}.md" for path in ROOT.glob("recipes/*.schema.json")}
    made = {"index.md", "contributing.md", "reference/command-line.md", "reference/python.md", *kinds}
    assert listed == made | {path.name for path in (ROOT / "docs").glob("*.md")}


def test_the_layers_of_the_architecture_are_those_of_the_import_table() -> None:
    (*_, table) = re.findall(r"^```\n(.*?)^```", (ROOT / "docs" / "architecture.md").read_text(), re.M | re.S)
    assert tuple(set(line.split()) for line in table.splitlines()) == FLOORS


def test_pictures_are_small() -> None:
    sizes = {path.name: path.stat().st_size for path in (ROOT / "docs" / "images").iterdir()}
    assert {name for name, size in sizes.items() if size > 200_000} == set()


@pytest.mark.slow
def test_the_site_is_built_and_reads_nothing_from_others(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs", reason="`make docs` installs it")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    pages = {path.relative_to(tmp_path).as_posix(): path.read_text() for path in tmp_path.rglob("*.html")}
    assert 'id="dlm-release-dataset-build"' in pages["reference/command-line.html"]
    assert "per_device_train_batch_size" in pages["reference/recipes/adapter.html"]
    python = pages["reference/python.html"]
    assert all(f'.{name}"' in python for name in release.__all__)
    loads = re.compile(r'<(?:script|link|img|iframe)[^>]*(?:src|href)="?https?://')
    assert not [name for name, text in pages.items() if loads.search(text)]


def test_versions_agree() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == version
    assert re.search(r"^## ([\d.]+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE).group(1) == version  # type: ignore[union-attr]


def test_make_has_the_targets_that_the_readme_names() -> None:
    named = set(re.findall(r"^make ([a-z-]+)$", (ROOT / "README.md").read_text(), re.MULTILINE))
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert named == {"demo", "test"}
    assert {"setup", "demo", "test", "test-slow", "lint", "bench", "docs"} <= targets


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git to list the tracked files")
def test_no_tracked_file_names_a_path_of_some_machine() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    checks_for_paths = {"tests/cards/test_check.py", "tests/hub/test_secrets.py"}
    files = [ROOT / name for name in listed.splitlines() if name not in checks_for_paths]
    assert len(files) > 100
    home_like = re.compile(rb"/(?:home|root|Users|work)/[a-z]")
    assert not [path for path in files if path.is_file() and home_like.search(path.read_bytes())]
