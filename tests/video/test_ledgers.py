"""Many ledgers in one folder: parts that add up, folders of another prompt, damaged and full ones."""

from __future__ import annotations

import sqlite3
import time
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from dialoguellm_release.errors import DataError
from dialoguellm_release.steps.video import Limits, describe_clips, survey_clips, video_status
from dialoguellm_release.video.clips import Shard, read_shard
from dialoguellm_release.video.ledger import read_descriptions


def describe(filmed: Any, out: Path, settings: list[str], **options: Any) -> str | None:
    return describe_clips("openai", filmed.videos, filmed.dataset, out, overrides=settings, **options)


def test_parts_add_up_to_the_whole(filmed: Any, serve: Any, settings: Any, tmp_path: Path) -> None:
    server = serve()
    whole = tmp_path / "whole"
    describe(filmed, whole, settings(server))
    parts = tmp_path / "parts"
    for number in (1, 2, 3):
        describe(filmed, parts, settings(server), shard=f"{number}/3")
    assert video_status(parts).ledgers == tuple(f"ledger-{number}-of-3.sqlite" for number in (1, 2, 3))
    first, second = video_status(whole), video_status(parts)
    assert first.records == second.records
    assert first.spending.model_dump() == pytest.approx(second.spending.model_dump())
    assert read_descriptions(whole) == read_descriptions(parts)
    assert len(server.log()) == 120


def test_another_division_goes_on_where_the_first_stopped(
    filmed: Any, serve: Any, settings: Any, tmp_path: Path
) -> None:
    server = serve()
    describe(filmed, tmp_path, settings(server), shard="1/3")
    survey = survey_clips("openai", filmed.videos, filmed.dataset, tmp_path, overrides=settings(server))
    assert survey.answered == len(server.log())
    assert survey.questions == 60 - survey.answered
    describe(filmed, tmp_path, settings(server), shard="2/2")
    describe(filmed, tmp_path, settings(server))
    assert max(Counter(entry["question"] for entry in server.log()).values()) == 1
    assert video_status(tmp_path).records.described == 60


@given(names=st.lists(st.text(), unique=True, max_size=20), count=st.integers(1, 20))
@hypothesis_settings(max_examples=30)
def test_every_clip_is_in_exactly_one_part(names: list[str], count: int) -> None:
    parts = [read_shard(f"{number}/{count}") for number in range(1, count + 1)]
    assert all(sum(part.has(name) for part in parts) == 1 for name in names)


@pytest.mark.parametrize("text", ["0/3", "4/3", "1", "1/0", "a/b", "-1/3", "1/3/5", ""])
def test_a_part_that_is_none_is_told(text: str) -> None:
    with pytest.raises(DataError, match="--shard"):
        read_shard(text)
    assert read_shard("3/3") == Shard(3, 3)


def test_a_folder_holds_answers_to_one_way_of_asking(
    filmed: Any, serve: Any, settings: Any, tmp_path: Path
) -> None:
    server = serve()
    describe(filmed, tmp_path, settings(server), limits=Limits(3))
    others = ("describer.model=gpt-x", "frames.count=3", "prompt.question=What?", "describer.detail=high")
    for change in others:
        with pytest.raises(DataError, match="another prompt, model or choice of frames"):
            describe(filmed, tmp_path, settings(server, change))
        with pytest.raises(DataError, match="another prompt, model or choice of frames"):
            describe(filmed, tmp_path, settings(server, change), shard="1/2")
    assert len(server.log()) == 3
    for change in ("describer.concurrency=2", "prices=null", "frames.longest_s=50"):
        assert describe(filmed, tmp_path, settings(server, change), limits=Limits(1))


def test_a_folder_without_ledger_and_a_damaged_one_are_told(
    filmed: Any, serve: Any, settings: Any, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match="no ledger of video descriptions here"):
        video_status(tmp_path)
    (tmp_path / "ledger.sqlite").write_bytes(b"no ledger at all" * 1000)
    with pytest.raises(DataError, match="the answers cannot be used: file is not a database"):
        video_status(tmp_path)
    with pytest.raises(DataError, match="the answers cannot be used"):
        describe(filmed, tmp_path, settings(serve()))


def test_a_ledger_is_written_by_one_run_and_read_by_many(
    filmed: Any, serve: Any, settings: Any, command: Any, tmp_path: Path
) -> None:
    server = serve({}, "--answer-ms", "100")
    changes = settings(server, "describer.concurrency=2")
    process = command(filmed, tmp_path, changes)
    seen = set()
    while process.poll() is None:
        if server.log():
            seen.add(video_status(tmp_path).records.described)
        if len(server.log()) == 10:
            with pytest.raises(DataError, match="another run is writing here"):
                describe(filmed, tmp_path, changes)
        time.sleep(0.1)
    process.communicate()
    assert process.returncode == 0
    assert len(seen) > 3
    assert video_status(tmp_path).records.described == 60


def test_a_full_disk_ends_the_run_and_loses_nothing(
    filmed: Any, serve: Any, settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve()
    describe(filmed, tmp_path, settings(server), limits=Limits(10))
    with closing(sqlite3.connect(tmp_path / "ledger.sqlite")) as db:
        (pages,) = db.execute("PRAGMA page_count").fetchone()
    connect = sqlite3.connect

    def small(*arguments: Any, **options: Any) -> sqlite3.Connection:
        made: sqlite3.Connection = connect(*arguments, **options)
        made.execute(f"PRAGMA max_page_count = {pages + 4}")
        return made

    monkeypatch.setattr(sqlite3, "connect", small)
    with pytest.raises(DataError, match="database or disk is full") as caught:
        describe(filmed, tmp_path, settings(server))
    assert "free some space" in str(caught.value)
    monkeypatch.undo()
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test-0123456789")
    before = video_status(tmp_path)
    assert before.records.described >= 10
    describe(filmed, tmp_path, settings(server))
    after = video_status(tmp_path)
    assert after.records.described == 60
    assert after.requests.unknown >= len(server.log()) - 60
