"""The command line as a whole: help, output, exit codes."""

from __future__ import annotations

import ast
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from dialoguellm_release.cli.main import main
from dialoguellm_release.errors import ReleaseError
from dialoguellm_release.recipes.load import bundled

COMMANDS = (
    (),
    ("recipe",),
    ("recipe", "list"),
    ("recipe", "show"),
    ("recipe", "validate"),
    ("recipe", "schema"),
    ("recipe", "new"),
    ("corpora",),
    ("corpora", "list"),
    ("corpora", "fetch"),
    ("corpora", "check"),
    ("dataset",),
    ("dataset", "build"),
    ("dataset", "hydrate"),
    ("dataset", "audit"),
    ("dataset", "check"),
    ("adapter",),
    ("adapter", "check"),
    ("adapter", "export"),
    ("adapter", "merge"),
    ("adapter", "train"),
    ("score",),
    ("score", "run"),
    ("score", "baseline"),
    ("score", "served"),
    ("score", "predictions"),
    ("score", "calibrate"),
    ("score", "compare"),
    ("score", "table"),
    ("video",),
    ("video", "check"),
    ("video", "describe"),
    ("video", "status"),
    ("card",),
    ("card", "check"),
    ("card", "render"),
    ("predict",),
    ("publish",),
    ("verify",),
    ("doctor",),
    ("demo",),
)
HEAVY = (
    "torch",
    "transformers",
    "trl",
    "peft",
    "datasets",
    "evaluate",
    "sklearn",
    "numpy",
    "pyarrow",
    "matplotlib",
    "av",
    "openai",
)


def commands_below(app: Any, path: tuple[str, ...] = ()) -> set[tuple[str, ...]]:
    """Every command and group of a Typer app, by its words."""
    found = {path}
    for group in app.registered_groups:
        found |= commands_below(group.typer_instance, (*path, group.name))
    return found | {(*path, command.name or command.callback.__name__) for command in app.registered_commands}


def test_no_command_is_forgotten_here() -> None:
    from dialoguellm_release.cli.main import app

    assert commands_below(app) == set(COMMANDS)


ASK_EACH = """
import contextlib, io, json, sys
from dialoguellm_release.cli.main import main
commands, heavy = map(json.loads, sys.argv[1:])
for command in commands:
    sys.argv = ["dlm-release", *command, "--help"]
    code = 0
    with contextlib.redirect_stdout(io.StringIO()) as said:
        try:
            main()
        except SystemExit as ended:
            code = ended.code or 0
    imported = [name for name in heavy if name in sys.modules]
    print(json.dumps([" ".join(command), code, said.getvalue(), imported]))
"""


@pytest.fixture(scope="module")
def helps() -> dict[str, tuple[int, str, list[str]]]:
    """What one process says to `--help` of each command in turn, and the heavy libraries it has by then."""
    asked = [sys.executable, "-c", ASK_EACH, json.dumps(COMMANDS), json.dumps(HEAVY)]
    done = subprocess.run(asked, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return {command: tuple(said) for command, *said in map(json.loads, done.stdout.splitlines())}


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_says_something_and_imports_nothing_heavy(
    helps: dict[str, tuple[int, str, list[str]]], command: tuple[str, ...]
) -> None:
    code, said, imported = helps[" ".join(command)]
    assert code == 0
    assert said.startswith("Usage: dlm-release")
    is_group = len(command) < 2 and command not in (("publish",), ("verify",), ("doctor",), ("demo",))
    assert is_group or "Example: dlm-release" in " ".join(said.split())
    assert imported == []


def test_the_command_line_alone_brings_no_part_of_the_house() -> None:
    code = (
        "import sys, dialoguellm_release.cli.main\n"
        "print(sorted(name for name in sys.modules if name.startswith(('dialoguellm_release.', 'pydantic'))))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = [name for name in ast.literal_eval(done.stdout) if ".cli" not in name]
    assert loaded == [
        f"dialoguellm_release.{name}"
        for name in ("errors", "render", "render.numbers", "render.predictions", "render.tables", "steps")
    ]


@pytest.mark.slow
def test_help_answers_in_a_third_of_a_second() -> None:
    def seconds() -> float:
        start = time.perf_counter()
        subprocess.run(
            [Path(sys.executable).with_name("dlm-release"), "--help"], capture_output=True, check=True
        )
        return time.perf_counter() - start

    assert statistics.median(seconds() for _ in range(15)) < 0.35


def test_a_word_too_many_is_a_usage_error(run: Any) -> None:
    assert run("recipe", "lst").code == 2
    assert run("dataset", "build").code == 2
    ended = run("dataset", "build", "demo", "--jsn")
    assert ended.code == 2
    assert "--json" in ended.err


def test_recipes_are_listed_as_text_and_as_data(run: Any) -> None:
    listed = json.loads(run("recipe", "list", "--json").out)["recipes"]
    assert [one["name"] for one in listed] == list(bundled())
    text = run("recipe", "list", "--all").out
    assert all(one["name"] in text and " ".join(one["description"].split()) in text for one in listed)
    adapters = run("recipe", "list", "adapter").out.splitlines()[1:]
    assert len(adapters) == sum(one["kind"] == "adapter" for one in listed)
    assert all(line.startswith("adapters/") for line in adapters)


def test_a_recipe_is_shown_resolved(run: Any) -> None:
    shown = run("recipe", "show", "datasets/demo", "--set", "context_k=4")
    assert yaml.safe_load(shown.out)["context_k"] == 4
    as_data = json.loads(run("recipe", "show", "datasets/demo", "--json").out)
    assert as_data["recipe"]["label_space"] == "corpus"
    origins = run("recipe", "show", "datasets/paper", "--origin").out
    assert "paper.yaml:15:1" in next(line for line in origins.splitlines() if line.startswith("context_k"))
    assert next(line for line in origins.splitlines() if line.startswith("synthetic")).endswith("default")


def test_recipes_are_validated(run: Any) -> None:
    ended = run("recipe", "validate")
    assert ended.code == 0
    assert ended.out == ""
    assert f"{len(bundled())} recipes are valid." in ended.err
    assert json.loads(run("recipe", "validate", "datasets/demo", "--json").out) == {
        "valid": ["datasets/demo"]
    }


def test_a_schema_is_printed(run: Any) -> None:
    assert json.loads(run("recipe", "schema", "adapter").out)["title"] == "AdapterRecipe"
    ended = run("recipe", "schema", "adapters")
    assert ended.code == 1
    assert "adapters: not a kind of recipe" in ended.err


def test_the_dataset_is_built_with_data_on_stdout_alone(run: Any, tmp_path: Path) -> None:
    ended = run("dataset", "build", "demo", "--out", tmp_path / "out", "--json")
    assert ended.code == 0
    built = json.loads(ended.out)
    assert set(built["corpora"]) == {"meld", "emorynlp", "dailydialog", "meisd", "iemocap"}
    assert built["dialogues"]["train"] == sum(one["train"]["dialogues"] for one in built["corpora"].values())
    assert built["records"]["test"] == sum(one["test"]["utterances"] for one in built["corpora"].values())
    assert "is built." in ended.err
    again = run("dataset", "build", "demo", "--out", tmp_path / "out", "--json")
    assert json.loads(again.out) == built
    assert "is current; nothing was done." in again.err
    assert built["content_sha256"] in run("dataset", "build", "demo", "--out", tmp_path / "out").out


def test_a_dataset_is_checked(run: Any, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run("dataset", "build", "demo", "--out", out)
    ended = run("dataset", "check", out)
    assert (ended.code, ended.out) == (0, "")
    assert "nothing is wrong" in ended.err
    assert json.loads(run("dataset", "check", out, "--json").out) == {"problems": []}
    (out / "README.md").unlink()
    wrong = run("dataset", "check", out, "--json")
    assert wrong.code == 1
    assert json.loads(wrong.out)["problems"][0]["where"] == str(out / "README.md")
    assert "README.md: is missing, but the manifest lists it" in wrong.err


def test_files_that_are_not_the_public_ones_are_named(run: Any, tmp_path: Path, synthetic_dir: Path) -> None:
    ended = run(
        "dataset",
        "build",
        "demo",
        "--sources",
        synthetic_dir,
        "--set",
        "synthetic=false",
        "--out",
        tmp_path / "out",
    )
    assert ended.code == 0
    assert "warning: meld/train_sent_emo.csv is not the public file" in ended.err
    assert ended.err.count("warning:") == len(json.loads(run_json(run, tmp_path))["unknown_files"])


def run_json(run: Any, tmp_path: Path) -> str:
    text: str = run("dataset", "build", "demo", "--out", tmp_path / "other", "--json").out
    return text


def test_debug_shows_the_traceback(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = ["dataset", "build", "paper", "--out", str(tmp_path / "out")]
    short = run(*wrong)
    assert short.code == 1
    assert "Traceback" not in short.err
    assert short.err.startswith("--sources: the recipe paper needs")
    command = [sys.executable, "-m", "dialoguellm_release.cli.main", "--debug", *wrong]
    long = subprocess.run(command, capture_output=True, text=True, check=False)
    assert long.returncode == 1
    assert "Traceback" in long.stderr
    monkeypatch.setenv("DLM_DEBUG", "1")
    monkeypatch.setattr(sys, "argv", ["dlm-release", *wrong])
    with pytest.raises(ReleaseError):
        main()
