"""Describing by a server that answers at once: what is asked, what it costs, when it stops, what it tells."""

from __future__ import annotations

import json
import logging
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from dialoguellm_release.errors import DataError
from dialoguellm_release.recipes.catalogue import load_recipe
from dialoguellm_release.schemas.video import VideoRecipe
from dialoguellm_release.steps.video import Limits, describe_clips, survey_clips, video_failures, video_status
from dialoguellm_release.video.ledger import read_descriptions


def describe(filmed: Any, out: Path, settings: list[str], **options: Any) -> str | None:
    return describe_clips("openai", filmed.videos, filmed.dataset, out, overrides=settings, **options)


def test_every_record_gets_the_description_of_its_own_frames(
    filmed: Any, serve: Any, settings: Any, tmp_path: Path
) -> None:
    server = serve()
    assert describe(filmed, tmp_path, settings(server)) is None
    texts = read_descriptions(tmp_path).texts
    assert set(texts) == set(filmed.ids)
    assert len(set(texts.values())) == len(filmed.ids)
    asked = {entry["question"] for entry in server.log()}
    assert {text.rpartition(" ")[2].rstrip(".") for text in texts.values()} == asked
    status = video_status(tmp_path)
    assert status.models == {"test-vlm-2026-01-01": len(filmed.ids)}
    assert status.spending.input_tokens == sum(entry["input_tokens"] for entry in server.log())
    assert status.spending.output_tokens == sum(entry["output_tokens"] for entry in server.log())
    assert status.spending.spent_usd == pytest.approx(
        (status.spending.input_tokens * 0.75 + status.spending.output_tokens * 4.5) / 1e6
    )
    assert status.spending.to_come_usd == 0
    before = len(server.log())
    assert describe(filmed, tmp_path, settings(server)) is None
    assert len(server.log()) == before


@pytest.mark.parametrize("api", ["responses", "chat"])
def test_either_api_with_every_fault(
    filmed: Any, serve: Any, settings: Any, tmp_path: Path, api: str
) -> None:
    faults = {"429": 0.1, "500": 0.05, "hang_up": 0.03, "lost": 0.08, "malformed": 0.05, "no_json": 0.05}
    server = serve({**faults, "refusal": 0.05, "told": 0.05, "filtered": 0.05}, "--seed", "3")
    describe(filmed, tmp_path, settings(server, f"describer.type={api}"))
    status = video_status(tmp_path)
    records, log = status.records, server.log()
    assert records.described + records.refused + sum(records.failed.values()) == len(filmed.ids)
    assert set(records.failed) == {"malformed", "no_json"}
    assert records.refused > 2
    assert {entry["path"] for entry in log} == {
        "/v1/responses" if api == "responses" else "/v1/chat/completions"
    }
    statuses = Counter(entry["status"] for entry in log)
    assert status.requests.declined == {
        "HTTP 429 rate_limit_exceeded": statuses[429],
        "HTTP 500 server_error": statuses[500],
    }
    lost = statuses[200] - status.requests.answered
    assert status.requests.unknown == lost + statuses[None]
    assert lost > 0
    answered = Counter(entry["question"] for entry in log if entry["status"] == 200)
    assert sum(answered.values()) - len(answered) == lost
    failures = video_failures(tmp_path)
    assert len(failures) == records.refused + sum(records.failed.values())
    assert "failed: malformed" in failures.values()
    assert "refused: I cannot help with that." in failures.values()


def test_what_failed_is_asked_again_when_asked_to(
    filmed: Any, serve: Any, settings: Any, tmp_path: Path
) -> None:
    broken = serve({"malformed": 1.0})
    describe(filmed, tmp_path, settings(broken), limits=Limits(10))
    assert video_status(tmp_path).records.failed == {"malformed": 10}
    server = serve()
    describe(filmed, tmp_path, settings(server), limits=Limits(5))
    assert video_status(tmp_path).records.described == 5
    describe(filmed, tmp_path, settings(server), retry_failed=True)
    status = video_status(tmp_path)
    assert status.records.described == len(filmed.ids)
    assert status.requests.answered == len(filmed.ids) + 10


def test_equal_frames_are_asked_once(filmed_of: Any, serve: Any, settings: Any, tmp_path: Path) -> None:
    filmed = filmed_of(tmp_path, 12)
    for record_id in filmed.ids[6:]:
        filmed.clip_of(record_id).write_bytes(filmed.clip_of(filmed.ids[0]).read_bytes())
    server = serve()
    describe(filmed, tmp_path / "out", settings(server))
    assert len(server.log()) == 6
    texts = read_descriptions(tmp_path / "out").texts
    assert len(texts) == 12
    assert len(set(texts.values())) == 6


def test_clips_that_give_no_frames_are_named_and_looked_at_again(
    filmed_of: Any, serve: Any, settings: Any, tmp_path: Path
) -> None:
    filmed = filmed_of(tmp_path, 5)
    good = filmed.clip_of(filmed.ids[0]).read_bytes()
    filmed.clip_of(filmed.ids[0]).write_bytes(b"")
    filmed.clip_of(filmed.ids[1]).unlink()
    out, changes = tmp_path / "out", settings(serve(), f"wrong_clips={{{filmed.ids[2]}: shows a cat}}")
    describe(filmed, out, changes)
    records = video_status(out).records
    assert (records.described, records.failed, records.missing, records.left_out) == (2, {"empty": 1}, 1, 1)
    assert video_failures(out) == {filmed.ids[0]: "failed: empty"}
    for record_id in filmed.ids[:2]:
        filmed.clip_of(record_id).write_bytes(good)
    describe(filmed, out, changes)
    records = video_status(out).records
    assert (records.described, records.failed, records.missing, records.left_out) == (4, {}, 0, 1)


def test_the_limit_and_the_cost_stop_in_time(filmed: Any, serve: Any, settings: Any, tmp_path: Path) -> None:
    server = serve({"lost": 0.05}, "--seed", "2")
    assert describe(filmed, tmp_path, settings(server), limits=Limits(7)) == "--limit 7 is reached"
    assert video_status(tmp_path).records.described == 7
    stopped = describe(filmed, tmp_path, settings(server), limits=Limits(cost_usd=0.012))
    assert stopped == "--max-cost 0.012 leaves no room for another request"
    spending = video_status(tmp_path).spending
    assert spending.spent_usd is not None
    assert spending.unknown_usd is not None
    assert 0.008 < spending.spent_usd + spending.unknown_usd <= 0.012
    before = len(server.log())
    assert describe(filmed, tmp_path, settings(server), limits=Limits(cost_usd=0.012)) == stopped
    assert len(server.log()) == before
    with pytest.raises(DataError) as caught:
        describe(filmed, tmp_path / "other", settings(server, "prices=null"), limits=Limits(cost_usd=1.0))
    assert caught.value.problems[0].code == "serve.no_prices"


def test_a_dry_run_asks_nobody_and_tells_what_it_would_cost(
    filmed: Any, serve: Any, settings: Any, tmp_path: Path
) -> None:
    server = serve()
    describe(filmed, tmp_path / "out", settings(server), limits=Limits(10))
    before = len(server.log())
    survey = survey_clips(
        "openai", filmed.videos, filmed.dataset, tmp_path / "out", overrides=settings(server)
    )
    assert (survey.answered, survey.questions) == (10, 50)
    each = (400 + 2 * 308) * 0.75e-6 + 300 * 4.5e-6
    assert survey.cost_usd == pytest.approx(50 * each)
    assert len(server.log()) == before
    fresh = tmp_path / "fresh"
    survey_clips("openai", filmed.videos, filmed.dataset, fresh, overrides=settings(server))
    assert not fresh.exists()


HOPELESS = (
    (
        {"status": 401, "code": "invalid_api_key", "message": "wrong key sk-test-0123456789"},
        "serve.unauthorized",
    ),
    ({"status": 429, "code": "insufficient_quota"}, "serve.quota"),
    ({"status": 404, "code": "model_not_found"}, "serve.not_found"),
    ({"status": 429, "code": "rate_limit_exceeded", "retry_after": 3600}, "serve.long_wait"),
)


@pytest.mark.parametrize(("fail", "code"), HOPELESS, ids=lambda value: str(value)[:40])
def test_what_concerns_every_request_is_said_once(
    filmed: Any, serve: Any, settings: Any, tmp_path: Path, fail: dict[str, Any], code: str
) -> None:
    server = serve()
    server.mode(fail=fail)
    with pytest.raises(DataError) as caught:
        describe(filmed, tmp_path, settings(server, "describer.concurrency=8"))
    assert caught.value.problems[0].code == code
    assert len(caught.value.problems) == 1
    assert len(server.log()) <= 8
    assert "sk-test" not in str(caught.value)
    server.mode()
    assert describe(filmed, tmp_path, settings(server)) is None
    assert video_status(tmp_path).records.described == len(filmed.ids)


def test_requests_that_are_refused_one_by_one_end_the_run_when_nothing_else_comes(
    filmed: Any, serve: Any, settings: Any, tmp_path: Path
) -> None:
    server = serve()
    server.mode(fail={"status": 400, "code": "invalid_value", "message": "at most 1 image"})
    with pytest.raises(DataError) as caught:
        describe(filmed, tmp_path, settings(server, "describer.concurrency=4"))
    assert caught.value.problems[0].code == "serve.refuses"
    assert caught.value.problems[0].got == "HTTP 400 invalid_value: at most 1 image"
    assert len(server.log()) < 30
    assert video_failures(tmp_path)[filmed.ids[0]] == "failed: HTTP 400 invalid_value: at most 1 image"


def test_without_a_key_nothing_is_begun(filmed: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(DataError) as caught:
        describe(filmed, tmp_path / "out", ["corpora=[meld]"])
    assert caught.value.problems[0].code == "serve.no_key"
    assert not (tmp_path / "out").exists()


def test_a_server_that_is_not_there_ends_the_run(
    filmed: Any, tmp_path: Path, settings: Any, serve: Any
) -> None:
    server = serve()
    server.stop()
    with pytest.raises(DataError) as caught:
        describe(filmed, tmp_path, settings(server, "describer.attempts=2"))
    assert caught.value.problems[0].code == "serve.no_answer"
    requests = video_status(tmp_path).requests
    assert set(requests.declined) == {"the server cannot be reached"}
    assert requests.unknown == 0


def test_open_requests_are_as_many_as_the_server_bears(
    filmed_of: Any, serve: Any, settings: Any, tmp_path: Path
) -> None:
    filmed = filmed_of(tmp_path, 150)
    server = serve({}, "--answer-ms", "15")
    server.mode(capacity=6)
    describe(filmed, tmp_path / "out", settings(server, "describer.attempts=30"))
    status = video_status(tmp_path / "out")
    assert status.records.described == 150
    assert 6 < server.most_active() <= 32
    second_half = server.log()[-75:]
    assert sum(entry["status"] == 429 for entry in second_half) < 35


def test_an_answer_that_comes_too_late_is_of_unknown_fate(
    filmed: Any, serve: Any, settings: Any, tmp_path: Path
) -> None:
    server = serve({"slow": 0.1}, "--seed", "5")
    describe(filmed, tmp_path, settings(server, "describer.timeout_s=0.7"))
    status = video_status(tmp_path)
    assert status.records.described == len(filmed.ids)
    assert status.requests.unknown > 0


def test_no_key_no_frame_and_no_prompt_in_what_is_written_out(
    filmed: Any, serve: Any, settings: Any, tmp_path: Path, run: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """On stderr and in logs, while the server quotes all of it in what it says."""
    prompt = load_recipe("openai", "video", VideoRecipe).recipe.prompt
    quoted = f"bad: {prompt.question[:60]} data:image/jpeg;base64,/9j/4AAQ sk-test-0123456789"
    server = serve()
    written = ""
    for status in (400, 401, 404, 500):
        server.mode(fail={"status": status, "code": "x", "message": quoted})
        changes = settings(server, "describer.attempts=1")
        if status in (400, 401):
            sets = [part for one in changes for part in ("--set", one)]
            places = (
                "--videos",
                filmed.videos,
                "--dataset",
                filmed.dataset,
                "--out",
                tmp_path / f"{status} run",
            )
            ended = run("video", "describe", "openai", *places, *sets, "--json")
            assert ended.code == 1
            written += ended.out + ended.err
        with caplog.at_level(logging.INFO), pytest.raises(DataError) as caught:
            describe(filmed, tmp_path / str(status), changes)
        written += str(caught.value) + caplog.text
        written += json.dumps(video_failures(tmp_path / str(status)))
    assert "HTTP 400" in written
    for secret in (
        os.environ["OPENAI_API_KEY"],
        "base64",
        "/9j/",
        prompt.question[:25],
        prompt.instructions[:25],
    ):
        assert secret not in written


def test_the_synthetic_describer_says_on_every_row_that_it_is_one(filmed: Any, tmp_path: Path) -> None:
    describe_clips("demo", filmed.videos, filmed.dataset, tmp_path, overrides=["corpora=[meld]"])
    found = read_descriptions(tmp_path)
    assert len(found.texts) == len(filmed.ids)
    assert all(text.startswith("Synthetic description") for text in found.texts.values())
    assert found.provenance.model_versions == {"synthetic": len(filmed.ids)}
    assert video_status(tmp_path).spending.spent_usd is None
