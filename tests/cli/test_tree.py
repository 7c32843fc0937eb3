"""The tree of commands as its user meets it: help that fits, examples that work, tables at 80 columns."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

from dialoguellm_release.cli.main import ORDER, app
from dialoguellm_release.recipes.catalogue import load_any

WIDTH = 80
EXAMPLES = {
    "adapter": "adapters/tiny",
    "dataset": "datasets/demo",
    "score": "scores/meld",
    "video": "videos/demo",
    "recipe": "datasets/demo",
}


def commands(group: Any = None, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    group = group or typer.main.get_command(app)
    yield path, group
    for name in getattr(group, "commands", {}):
        yield from commands(group.commands[name], (*path, name))


TREE = dict(commands())


@pytest.fixture(autouse=True)
def narrow_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(WIDTH))
    monkeypatch.setenv("TERMINAL_WIDTH", str(WIDTH))


@pytest.mark.parametrize("path", TREE, ids=" ".join)
def test_help_fits_the_terminal_and_no_summary_is_cut(path: tuple[str, ...], run: Any) -> None:
    shown = run(*path, "--help")
    assert shown.code == 0
    assert max(map(len, shown.out.splitlines())) <= WIDTH
    _, _, listed = shown.out.partition("Commands:")
    assert "..." not in listed


def test_commands_are_in_the_order_of_the_work(run: Any) -> None:
    listed = [line.split()[0] for line in run("--help").out.partition("Commands:")[2].splitlines() if line]
    assert listed == [name for name in ORDER if name in listed]
    assert len(listed) >= 11


@pytest.mark.parametrize(
    "path", [path for path, one in TREE.items() if any("--set" in p.opts for p in one.params)], ids=" ".join
)
def test_the_example_of_set_is_a_setting_of_the_command(path: tuple[str, ...]) -> None:
    (option,) = (one for one in TREE[path].params if "--set" in one.opts)
    match = re.search(r"as in (\S+?);", option.help)
    assert match
    assert load_any(EXAMPLES[path[0]], [match[1]]).recipe


def test_an_option_means_one_thing() -> None:
    meant: dict[str, set[str]] = {}
    for path, command in TREE.items():
        for option in command.params:
            for name in option.opts:
                if name in ("--from", "--to", "--at"):
                    meant.setdefault(name, set()).add(path[0])
    assert meant["--to"] == {"publish"}
    assert meant["--at"] == {"verify"}
    assert meant["--from"] <= {"publish", "score"}


@pytest.mark.parametrize(
    "arguments",
    [
        ("recipe", "list"),
        ("recipe", "list", "--all"),
        ("recipe", "show", "adapters/llama-2-7b", "--origin"),
        ("corpora", "list"),
        ("corpora", "list", "--all"),
        ("score", "table", "--claims"),
        ("score", "table", "--claims", "--all"),
        ("doctor",),
    ],
    ids=" ".join,
)
def test_tables_fit_80_columns_and_break_no_word(
    arguments: tuple[str, ...], run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    narrow = re.sub(r"\d", "0", run(*arguments).out)
    monkeypatch.setenv("COLUMNS", "1000")
    wide = re.sub(r"\d", "0", run(*arguments).out)
    words = set(narrow.split())
    if "list" not in arguments or "--all" in arguments:
        assert set(wide.split()) == words
    too_long = [line for line in narrow.splitlines() if len(line) > WIDTH]
    assert all(len(line.split()) <= 2 for line in too_long), too_long


def test_a_reader_that_stops_early_is_no_error() -> None:
    command = "import sys; sys.argv = ['dlm-release', 'recipe', 'schema', 'dataset']; "
    command += "from dialoguellm_release.cli.main import main; main()"
    shell = f'"{sys.executable}" -c "{command}" | head -c 1'
    done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, check=False)
    assert done.stdout == "{"
    assert done.stderr == ""


def test_completion_is_offered(run: Any) -> None:
    assert "--install-completion" in run("--help").out


@pytest.mark.parametrize(
    "arguments",
    [
        ("recipe", "new", "--extends", "tiny", "--data", "a.csv", "--out", "a", "--out=b"),
        ("score", "baseline", "meld", "majority", "--out", "a", "--out=b"),
        ("verify", "owner/name", "--sample", "1", "--sample", "1"),
    ],
    ids=lambda arguments: arguments[0],
)
def test_an_option_that_is_given_twice_is_refused(arguments: tuple[str, ...], run: Any) -> None:
    ended = run(*arguments)
    assert ended.code == 2
    assert "takes one value and was given 2 times" in ended.err
