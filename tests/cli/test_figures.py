from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest


def test_a_build_without_the_extra_says_so_on_stderr(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_figures = run("dataset", "build", "demo", "--out", tmp_path / "with", "--json")
    assert "figures" not in with_figures.err
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    without = run("dataset", "build", "demo", "--out", tmp_path / "without", "--json")
    assert without.code == 0
    assert "note: no figures" in without.err
    assert "pip install 'dialoguellm-release[figures]'" in without.err
    assert without.out == with_figures.out
