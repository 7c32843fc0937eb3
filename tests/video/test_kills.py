"""Killed in the middle, twice: nothing answered is asked again, and the ledger's sums are the server's."""

from __future__ import annotations

import sqlite3
import time
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from dialoguellm_release.steps.video import video_failures, video_status
from dialoguellm_release.video.ledger import read_descriptions

FAULTS = {
    "429": 0.10,
    "500": 0.05,
    "hang_up": 0.01,
    "lost": 0.01,
    "slow": 0.002,
    "malformed": 0.01,
    "no_json": 0.005,
    "refusal": 0.01,
    "told": 0.005,
    "filtered": 0.005,
}


def requests_in(ledger: Path) -> dict[str, tuple[str, int | None]]:
    """Fate and tokens of each request."""
    with closing(sqlite3.connect(ledger)) as db:
        rows = db.execute("SELECT id, fate, input_tokens, output_tokens FROM request")
        return {name: (fate, None if asked is None else asked + given) for name, fate, asked, given in rows}


def kill_twice_and_end(
    filmed: Any, server: Any, settings: list[str], command: Any, out: Path, shares: tuple[float, float]
) -> None:
    """Kills a run when so much of the work is done, and the next one, and lets the third end."""
    for share in shares:
        process = command(filmed, out, settings)
        while len(server.log()) < share * len(filmed.ids) and process.poll() is None:
            time.sleep(0.05)
        assert process.poll() is None
        process.kill()
        process.communicate()
    process = command(filmed, out, settings)
    process.communicate()
    assert process.returncode == 0


def check_against_the_server(filmed: Any, server: Any, out: Path, slots: int) -> None:
    status, log = video_status(out), server.log()
    records = status.records
    assert records.described + records.refused + sum(records.failed.values()) == len(filmed.ids)
    assert records.waiting == 0
    assert len(read_descriptions(out).texts) == records.described
    assert len(video_failures(out)) == records.refused + sum(records.failed.values())

    requests = requests_in(out / "ledger.sqlite")
    sent = {entry["id"]: entry for entry in log}
    assert set(sent) <= set(requests)
    for name, (fate, _) in requests.items():
        came = sent[name]["status"] if name in sent else "never came"
        if fate == "answered":
            assert came == 200
        elif fate == "declined":
            assert came in (429, 500)
        else:
            assert fate == "unknown"
    killed = [name for name in requests if name not in sent]
    assert len(killed) <= 2 * slots

    tokens = {entry["id"]: entry["input_tokens"] + entry["output_tokens"] for entry in log}
    metered = {
        name: count for name, (fate, count) in requests.items() if fate == "answered" and count is not None
    }
    assert all(tokens[name] == count for name, count in metered.items())
    untold = [
        name
        for name, (fate, count) in requests.items()
        if fate == "unknown" or (fate, count) == ("answered", None)
    ]
    assert sum(tokens.values()) == sum(metered.values()) + sum(tokens.get(name, 0) for name in untold)
    assert sum(metered.values()) == status.spending.input_tokens + status.spending.output_tokens

    answers = Counter(sent[name]["question"] for name, (fate, _) in requests.items() if fate == "answered")
    assert set(answers.values()) == {1}
    order = {entry["id"]: place for place, entry in enumerate(log)}
    answered_at = {sent[n]["question"]: order[n] for n, (fate, _) in requests.items() if fate == "answered"}
    assert all(order[entry["id"]] <= answered_at[entry["question"]] for entry in log)


def test_two_kills(filmed_of: Any, serve: Any, settings: Any, command: Any, tmp_path: Path) -> None:
    filmed = filmed_of(tmp_path, 150)
    server = serve(FAULTS, "--answer-ms", "15")
    changes = settings(server, "describer.concurrency=8", "describer.timeout_s=2")
    kill_twice_and_end(filmed, server, changes, command, tmp_path / "out", (0.3, 0.7))
    check_against_the_server(filmed, server, tmp_path / "out", 8)


@pytest.mark.slow
def test_five_thousand_records_and_two_kills(
    filmed_of: Any, serve: Any, settings: Any, command: Any, tmp_path: Path
) -> None:
    filmed = filmed_of(tmp_path, 5000)
    server = serve(FAULTS, "--answer-ms", "20")
    changes = settings(server, "describer.timeout_s=2")
    kill_twice_and_end(filmed, server, changes, command, tmp_path / "out", (0.3, 0.7))
    check_against_the_server(filmed, server, tmp_path / "out", 32)
    assert video_status(tmp_path / "out").requests.unknown > 20
