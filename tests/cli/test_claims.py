"""`score table --claims`: the paper's claims and tables on the command line."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

SUFFIXES = {"markdown": "md", "latex": "tex", "csv": "csv", "text": "txt"}


@pytest.mark.parametrize("form", SUFFIXES)
@pytest.mark.parametrize("number", ["3", "4"])
def test_the_papers_tables(
    number: str, form: str, run: Any, tmp_path: Path, golden: Callable[[str, str], None]
) -> None:
    ended = run("score", "table", "--claims", "--from", tmp_path, "--paper-table", number, "--format", form)
    assert ended.code == 0
    golden(f"claims/table-{number}.{SUFFIXES[form]}", ended.out)
    assert f"Table {number}" in ended.err


def test_the_claims_where_nothing_was_built(
    run: Any, tmp_path: Path, golden: Callable[[str, str], None]
) -> None:
    ended = run("score", "table", "--claims", "--from", tmp_path, "--format", "markdown")
    assert ended.code == 0
    golden("claims/claims.md", ended.out)


def test_on_a_terminal_claims_are_counted_and_listed_on_request(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    command = ("score", "table", "--claims", "--from", tmp_path)
    short, contradicted = run(*command), run(*command, "--status", "contradicted")
    everything = run(*command, "--all")
    assert "Table 1" in short.out
    assert len(short.out.splitlines()) < 60
    for ended in (short, contradicted, everything):
        assert ended.code == 0
        assert max(map(len, ended.out.splitlines())) <= 80
    assert "not yet testable" not in contradicted.out
    assert len(everything.out) > len(contradicted.out) > len(short.out)


def test_claims_as_data(run: Any, tmp_path: Path) -> None:
    ended = run("score", "table", "--claims", "--from", tmp_path, "--json")
    data = json.loads(ended.out)
    assert sum(data["counts"].values()) == len(data["claims"]) > 250
    assert data["counts"].keys() == {"reproduced", "contradicted", "not yet testable"}
    assert f"{data['counts']['contradicted']} contradicted" in ended.err
    by_id = {claim["id"]: claim for claim in data["claims"]}
    accuracy = by_id["table-3/DialogueLLM/meld/accuracy"]
    assert (accuracy["place"], accuracy["value"]) == ("Table 3", 71.91)
    assert accuracy["other_readings"] == {"Table 4": 71.81, "section 4.4": 71.81}
    assert accuracy["test"]["tolerance"] == 1
    assert set(data["tables"]) == {"3", "4"}


def test_csv_is_read_back(run: Any, tmp_path: Path) -> None:
    ended = run("score", "table", "--claims", "--from", tmp_path, "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(ended.out)))
    assert len(rows) > 250
    assert all(row["status"] and row["place"] for row in rows)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--claims", "--format", "html"), "'html' is not one of 'text', 'markdown'"),
        (("--claims", "--paper-table", "2"), "2 is none of 3, 4"),
        (("--claims", "scores"), "name no score folders"),
        ((), "name score folders, or --claims"),
        (("--claims", "--status", "false"), "false is none of reproduced, contradicted"),
        (("scores", "--all"), "need --claims"),
    ],
)
def test_what_cannot_be_meant_is_a_usage_error(
    arguments: tuple[str, ...], expected: str, run: Any, tmp_path: Path
) -> None:
    ended = run("score", "table", *arguments, "--from", tmp_path)
    assert ended.code == 2
    assert expected in " ".join(ended.err.split())


def test_a_folder_that_is_not_there_is_told(run: Any, tmp_path: Path) -> None:
    ended = run("score", "table", "--claims", "--from", tmp_path / "nowhere")
    assert ended.code == 1
    assert "no such folder" in ended.err
