"""The import table of the house: imports run downwards only, and parts of one floor do not see each other."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "dialoguellm_release"

FLOORS = (
    {"cli"},
    {"steps"},
    {"step"},
    {"claims", "hub", "predict"},
    {"cards", "hydration", "scoring", "training", "video"},
    {"dataset"},
    {"leakage"},
    {"serve"},
    {"corpora", "prompts", "backbones", "encoding", "records"},
    {"recipes"},
    {"folders", "layout", "progress", "record_columns", "render", "tabular"},
    {"processes"},
    {"schemas"},
    {"errors", "resources", "retry", "text"},
)
HEAVY = {
    "accelerate",
    "av",
    "datasets",
    "evaluate",
    "matplotlib",
    "numpy",
    "openai",
    "pandas",
    "peft",
    "sklearn",
    "torch",
    "trl",
}
NEIGHBOURS = {
    ("records", "prompts"),
    ("encoding", "prompts"),
}


def imported_parts(path: Path) -> set[str]:
    """The parts of the package that a module imports, at its top or later."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module == "dialoguellm_release":
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    split = (name.split(".") for name in names)
    return {parts[1] for parts in split if parts[0] == "dialoguellm_release" and len(parts) > 1}


def part_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def floor_of(part: str) -> int:
    return next(number for number, parts in enumerate(FLOORS) if part in parts)


def modules() -> list[Path]:
    return [path for path in sorted(PACKAGE.rglob("*.py")) if part_of(path) not in ("__init__", "bundled")]


def test_every_part_of_the_house_is_in_the_table() -> None:
    assert {part_of(path) for path in modules()} == set().union(*FLOORS)


def test_imports_run_downwards() -> None:
    wrong = [
        f"{path.relative_to(PACKAGE)} imports {other}"
        for path in modules()
        for other in imported_parts(path)
        if other != part_of(path)
        and (part_of(path), other) not in NEIGHBOURS
        and floor_of(other) <= floor_of(part_of(path))
    ]
    assert len(modules()) > 40
    assert not wrong


def test_the_command_line_comes_in_by_the_one_door() -> None:
    allowed = {"cli", "steps", "render", "schemas", "errors"}
    wrong = {
        str(path.relative_to(PACKAGE)): sorted(others)
        for path in modules()
        if part_of(path) == "cli" and (others := imported_parts(path) - allowed)
    }
    assert not wrong


def test_public_names_exist() -> None:
    import dialoguellm_release

    assert len(dialoguellm_release.__all__) > 5
    for name in dialoguellm_release.__all__:
        assert getattr(dialoguellm_release, name).__name__ == name


def test_importing_the_package_and_its_steps_is_light() -> None:
    steps = [f"dialoguellm_release.steps.{path.stem}" for path in sorted((PACKAGE / "steps").glob("*.py"))]
    assert len(steps) > 10
    code = (
        f"import sys, importlib\nfor name in {steps}: importlib.import_module(name)\n"
        f"print(sorted(set(sys.modules) & {HEAVY!r}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
