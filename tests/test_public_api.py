"""The public names: each does what its docstring shows, with strings as paths."""

from __future__ import annotations

import ast
import doctest
import inspect
from pathlib import Path

import pytest

import dialoguellm_release as release

STUB = Path(release.__file__).with_suffix(".pyi")
FUNCTIONS = [name for name in release.__all__ if inspect.isfunction(getattr(release, name))]


def test_the_stub_lists_each_name_once_and_each_exists() -> None:
    tree = ast.parse(STUB.read_text(encoding="utf-8"))
    names = [alias.name for node in tree.body if isinstance(node, ast.ImportFrom) for alias in node.names]
    assert len(names) == len(set(names))
    assert set(names) == set(release.__all__)
    assert set(names) <= set(dir(release))
    for name in names:
        assert getattr(release, name).__name__ == name
    assert release.__version__


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_public_function_takes_strings_as_paths(name: str) -> None:
    for parameter in inspect.signature(getattr(release, name)).parameters.values():
        kinds = str(parameter.annotation)
        assert "Path" not in kinds or "PathLike" in kinds or "StrPath" in kinds, parameter


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_public_function_is_not_wide(name: str) -> None:
    parameters = inspect.signature(getattr(release, name)).parameters.values()
    assert len(parameters) <= 8
    assert sum(parameter.annotation == "bool" for parameter in parameters) <= 2


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_public_function_is_documented_with_an_example(name: str) -> None:
    text = inspect.getdoc(getattr(release, name)) or ""
    sections = {line.strip() for line in text.splitlines()}
    assert "Returns:" in sections or inspect.signature(getattr(release, name)).return_annotation == "None"
    assert "Raises:" in sections or name == "examine", "what cannot be examined is a finding"
    assert inspect.signature(getattr(release, name)).parameters.keys() == set() or "Args:" in sections
    examples = doctest.DocTestParser().get_examples(text)
    assert any(name in example.source for example in examples), "an example that calls it"
