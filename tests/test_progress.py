from __future__ import annotations

import sys
import time

import pytest

from dialoguellm_release import progress as module
from dialoguellm_release.progress import progress


def test_off_a_terminal_a_line_tells_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("train", 1250) as advance:
        advance(1000)
        advance(250, "loss 1.234, 5,000 tokens/s")
    line = capsys.readouterr().err
    assert line.startswith("train: 1,250 of 1,250, ")
    assert line.endswith(" in all, loss 1.234, 5,000 tokens/s\n")
    assert line.count("\n") == 1


def test_lines_come_while_nothing_advances(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LINE_EVERY_S", 0.02)
    with progress("score", 40) as advance:
        advance(10)
        time.sleep(0.15)
    *lines, last = capsys.readouterr().err.splitlines()
    assert len(lines) >= 2
    assert all(line.startswith("score: 10 of 40, ") and " left" in line for line in lines)
    assert " in all" in last


def test_what_was_done_before_does_not_count_as_speed(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("train", 100, start=90) as advance:
        time.sleep(0.05)
        advance(1)
    done, rate, _ = capsys.readouterr().err.split(", ")
    assert done == "train: 91 of 100"
    assert float(rate.removesuffix("/s")) <= 20


def test_a_failure_still_tells_how_far_it_came(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ZeroDivisionError), progress("fit", None) as advance:
        advance(3)
        raise ZeroDivisionError
    assert capsys.readouterr().err.startswith("fit: 3, ")


def test_bytes_are_told_as_megabytes(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("fetching a", 2_000_000, in_bytes=True) as advance:
        advance(1_500_000)
    assert capsys.readouterr().err.startswith("fetching a: 1.5 MB of 2.0 MB, ")


def test_other_processes_of_a_training_are_silent(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "1")
    with progress("train", 10) as advance:
        advance(10)
    assert capsys.readouterr().err == ""


def test_a_terminal_gets_a_bar(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with progress("train", 10) as advance:
        advance(10, "loss 1.0")
    assert " in all" not in capsys.readouterr().err
