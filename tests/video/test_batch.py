"""The Batch API: submitted, polled and collected in separate runs, killed anywhere, nothing asked twice."""

from __future__ import annotations

import sqlite3
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from dialoguellm_release.errors import DataError
from dialoguellm_release.recipes.catalogue import load_recipe
from dialoguellm_release.schemas.recipes.video import VideoRecipe
from dialoguellm_release.steps.video import describe_clips, video_status
from dialoguellm_release.video.batch import BatchLimits
from dialoguellm_release.video.descriptions import read_descriptions
from dialoguellm_release.video.run import Job, Shard, describe_by_batch


def batch(
    filmed: Any,
    out: Path,
    settings: list[str],
    *,
    wait: bool = True,
    limits: BatchLimits | None = None,
    limit: int | None = None,
    max_cost_usd: float | None = None,
) -> str | None:
    loaded = load_recipe("openai", "video", VideoRecipe, settings)
    job = Job(loaded, filmed.dataset, filmed.videos, out, Shard(), limit, max_cost_usd, retry_failed=False)
    return describe_by_batch(job, limits or BatchLimits(poll_s=0.02), wait=wait).stopped


@pytest.mark.parametrize("api", ["responses", "chat"])
def test_a_batch_describes_every_record_at_half_the_price(
    filmed: Any, serve: Any, settings: Any, tmp_path: Path, api: str
) -> None:
    server = serve()
    assert batch(filmed, tmp_path, settings(server, f"describer.type={api}")) is None
    status = video_status(tmp_path)
    assert status.records.described == len(filmed.ids)
    assert status.batches == {"completed": 1}
    full = (status.spending.input_tokens * 0.75 + status.spending.output_tokens * 4.5) / 1e6
    assert status.spending.spent_usd == pytest.approx(full / 2)
    assert not list(tmp_path.rglob("*.jsonl*"))


def test_runs_apart_submit_and_collect(filmed: Any, serve: Any, settings: Any, tmp_path: Path) -> None:
    server = serve()
    server.mode(hold=True)
    batch(filmed, tmp_path, settings(server), wait=False, limit=20)
    assert video_status(tmp_path).requests.open == 20
    batch(filmed, tmp_path, settings(server), wait=False)
    status = video_status(tmp_path)
    assert (status.requests.open, status.batches) == (60, {"submitted": 2})
    describe_clips("openai", filmed.videos, filmed.dataset, tmp_path, overrides=settings(server))
    assert not server.log(), "what is inside a batch is not asked beside it"
    server.mode()
    for _ in range(4):
        batch(filmed, tmp_path, settings(server), wait=False)
    assert video_status(tmp_path).records.described == 60
    assert max(Counter(entry["question"] for entry in server.log()).values()) == 1


def test_batches_keep_to_the_limits(filmed: Any, serve: Any, settings: Any, tmp_path: Path) -> None:
    server = serve()
    batch(filmed, tmp_path / "a", settings(server), limits=BatchLimits(requests=25, poll_s=0.02))
    assert video_status(tmp_path / "a").batches == {"completed": 3}
    batch(filmed, tmp_path / "b", settings(server), limits=BatchLimits(bytes=20_000, poll_s=0.02))
    assert video_status(tmp_path / "b").batches["completed"] > 3
    stopped = batch(filmed, tmp_path / "c", settings(server), max_cost_usd=0.02)
    assert stopped == "--max-cost 0.02 leaves no room for another request"
    assert 10 < video_status(tmp_path / "c").records.described < 20


def test_faults_inside_a_batch_are_asked_again_or_named(
    filmed: Any, serve: Any, settings: Any, tmp_path: Path
) -> None:
    server = serve({"429": 0.2, "500": 0.1, "malformed": 0.1, "refusal": 0.1})
    batch(filmed, tmp_path, settings(server))
    first = video_status(tmp_path)
    assert first.records.waiting == sum(first.requests.declined.values()) > 5
    for _ in range(8):
        batch(filmed, tmp_path, settings(server))
    last = video_status(tmp_path)
    assert last.records.waiting == 0
    assert last.records.refused > 0
    assert set(last.records.failed) == {"malformed"}
    assert last.requests.unknown == 0
    answered = Counter(entry["question"] for entry in server.log() if entry["status"] == 200)
    assert max(answered.values()) == 1


def test_a_batch_that_expires_keeps_what_came(filmed: Any, serve: Any, settings: Any, tmp_path: Path) -> None:
    server = serve()
    server.mode(expire=True)
    batch(filmed, tmp_path, settings(server))
    status = video_status(tmp_path)
    assert (status.records.described, status.records.waiting) == (30, 30)
    assert status.requests.declined == {"batch_expired": 30}
    server.mode()
    batch(filmed, tmp_path, settings(server))
    assert video_status(tmp_path).records.described == 60
    assert len(server.log()) == 60


def test_a_batch_that_the_server_does_not_accept_is_told(
    filmed: Any, serve: Any, settings: Any, tmp_path: Path
) -> None:
    server = serve()
    server.mode(batch_fails="token_limit_exceeded")
    assert batch(filmed, tmp_path, settings(server)) == "batch failed token_limit_exceeded"
    assert video_status(tmp_path).requests.declined == {"batch failed token_limit_exceeded": 60}
    server.mode()
    assert batch(filmed, tmp_path, settings(server)) is None
    assert video_status(tmp_path).records.described == 60


def test_a_batch_that_the_server_has_is_found_in_its_list(
    filmed: Any, serve: Any, settings: Any, tmp_path: Path
) -> None:
    """As after a kill between the server's answer and the ledger."""
    server = serve()
    server.mode(hold=True)
    batch(filmed, tmp_path, settings(server), wait=False)
    with sqlite3.connect(tmp_path / "ledger.sqlite") as db:
        db.execute("UPDATE batch SET state = 'planned', remote_id = NULL")
    server.mode()
    batch(filmed, tmp_path, settings(server))
    status = video_status(tmp_path)
    assert (status.records.described, status.batches) == (60, {"completed": 1})
    assert len(server.log()) == 60


def test_a_server_that_refuses_the_key_or_has_no_batches_is_told(
    filmed: Any, serve: Any, settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve()
    monkeypatch.setenv("OPENAI_API_KEY", "sk-wrong")
    with pytest.raises(DataError, match="is not accepted") as caught:
        batch(filmed, tmp_path, settings(server))
    assert "sk-wrong" not in str(caught.value)
    with pytest.raises(DataError, match="asks no server"):
        describe_clips("demo", filmed.videos, filmed.dataset, tmp_path / "demo", batch=True)


@pytest.mark.slow
def test_killed_runs_leave_no_request_of_unknown_fate(
    filmed_of: Any, serve: Any, settings: Any, command: Any, tmp_path: Path
) -> None:
    filmed = filmed_of(tmp_path, 400)
    server = serve({"500": 0.05}, "--answer-ms", "1")
    out = tmp_path / "out"
    for seconds in (1.2, 1.5, 1.8, 2.1, 2.4, 2.7, 3.0, 3.3):
        process = command(filmed, out, settings(server), "--batch", "--no-wait", "--limit", "60")
        time.sleep(seconds)
        process.kill()
        process.communicate()
    for _ in range(12):
        process = command(filmed, out, settings(server), "--batch", "--no-wait")
        _, told = process.communicate()
        assert process.returncode == 0, told
    status = video_status(out)
    assert status.records.described == 400
    assert (status.requests.unknown, status.requests.open) == (0, 0)
    answered = Counter(entry["question"] for entry in server.log() if entry["status"] == 200)
    assert max(answered.values()) == 1
    assert len(read_descriptions(out).texts) == 400
