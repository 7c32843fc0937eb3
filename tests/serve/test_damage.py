"""Answers that are damaged: an answer, a counted invalid, or an error that names the server; nothing else."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dialoguellm_release.errors import DataError
from dialoguellm_release.schemas.manifests import ScoreManifest
from dialoguellm_release.serve.protocol import MAX_BODY, Completion, read_completion
from tests.damage import damaged
from tests.serve.conftest import TOP, Http, Quirks, completion

Score = Callable[..., ScoreManifest]

CHAT = json.dumps(completion({"messages": [], "logprobs": True}, "neutral")).encode()
LEGACY = json.dumps(completion({"prompt": "", "logprobs": 5}, "neutral")).encode()
RESPONSES = json.dumps(
    {
        "model": "m",
        "status": "completed",
        "usage": {"input_tokens": 3, "output_tokens": 5},
        "output": [
            {"type": "reasoning", "summary": []},
            {"type": "message", "content": [{"type": "output_text", "text": "neutral"}]},
        ],
    }
).encode()
WRONG: tuple[Any, ...] = (
    None,
    0,
    -1,
    10**400,
    1e400,
    True,
    "",
    "x",
    "\ud800",
    [],
    [[]],
    [None],
    {},
    {"a": {}},
)


def check(found: Completion | None) -> None:
    """What is read can be stored and counted."""
    if found is None:
        return
    assert isinstance(found.text, str)
    found.text.encode()
    for token, value in found.first or ():
        token.encode()
        assert -math.inf < value <= 0
    for count in (found.input_tokens, found.output_tokens):
        assert count is None or 0 <= count < 2**53
    json.dumps(found.first)


@pytest.mark.parametrize("body", [CHAT, LEGACY, RESPONSES], ids=["chat", "completions", "responses"])
def test_a_damaged_body_is_read_or_is_no_completion(body: bytes) -> None:
    assert read_completion(body.decode()) is not None
    for _, content in damaged(body, range(300)):
        check(read_completion(content.decode("utf-8", "replace")))


def replaced(value: Any, number: list[int], wrong: Any) -> Any:
    """A JSON value with its so many-th part replaced."""
    number[0] -= 1
    if number[0] == 0:
        return wrong
    if isinstance(value, dict):
        return {name: replaced(part, number, wrong) for name, part in value.items()}
    if isinstance(value, list):
        return [replaced(part, number, wrong) for part in value]
    return value


@pytest.mark.parametrize("body", [CHAT, LEGACY, RESPONSES], ids=["chat", "completions", "responses"])
def test_a_part_of_another_type_is_read_or_is_no_completion(body: bytes) -> None:
    for place in range(1, 40):
        for wrong in WRONG:
            check(read_completion(json.dumps(replaced(json.loads(body), [place], wrong))))


@pytest.mark.parametrize(
    "body",
    ["[" * 100_000, '{"choices":' * 50_000, "9" * 5000, "x" * (MAX_BODY + 1), "\ufeff{}", "null", "NaN", ""],
    ids=lambda body: f"{body[:12]} {len(body)}",
)
def test_a_body_without_end_is_no_completion(body: str) -> None:
    assert read_completion(body) is None


def test_a_very_long_answer_is_an_answer() -> None:
    found = read_completion(json.dumps(completion({"messages": []}, "neutral\n" + "more " * 200_000)))
    assert found is not None
    assert found.text.startswith("neutral\n")


HTML = b"<html><body><h1>502 Bad Gateway</h1></body></html>"
WIRE: dict[str, Http | None] = {
    "closed": None,
    "cut": Http(CHAT[:100], promised=len(CHAT)),
    "half closed at once": Http(b"", promised=len(CHAT)),
    "html": Http(HTML, headers={"Content-Type": "text/html"}),
    "html 502": Http(HTML, 502, {"Content-Type": "text/html"}),
    "html 400": Http(HTML, 400, {"Content-Type": "text/html"}),
    "not gzip": Http(CHAT, headers={"Content-Encoding": "gzip"}),
    "not utf-8": Http(b"\xff\xfe" * 50),
    "events": Http(b"data: " + CHAT + b"\n\ndata: [DONE]\n\n", headers={"Content-Type": "text/event-stream"}),
    "error with 200": Http(b'{"error": {"message": "model is loading", "code": 503}}'),
    "no choices": Http(b'{"choices": []}'),
    "redirect to itself": Http(b"", 307, {"Location": "/v1/chat/completions"}),
    "redirect nowhere": Http(b"", 302, {"Location": "http://127.0.0.1:9/v1"}),
    "redirect to nonsense": Http(b"", 308, {"Location": "http://[::"}),
    "no content": Http(b"", 204),
    "odd status": Http(b"", 599),
    "a teapot": Http(b"I am a teapot", 418),
    "wait for a day": Http(b"{}", 429, {"Retry-After": "86400", "retry-after-ms": "86400000"}),
    "wait for nonsense": Http(b"{}", 429, {"Retry-After": "soon"}),
    "an unknown charset": Http(CHAT, headers={"Content-Type": "application/json; charset=klingon"}),
    "text/plain": Http(CHAT, headers={"Content-Type": "text/plain; charset=latin-1"}),
}
READ = {"an unknown charset", "text/plain"}
"""These are answers all the same."""


@pytest.mark.parametrize("name", WIRE)
def test_what_is_wrong_on_the_wire_is_an_error_that_names_the_server(
    name: str, score: Score, quirks: Quirks, tmp_path: Path
) -> None:
    def run() -> ScoreManifest:
        return score(lambda *_arguments: WIRE[name], "chat", "scorer=free_generation", timeout_s=2.0)

    if name in READ:
        assert run().figures.metrics["invalid"] == 0
        return
    with pytest.raises(DataError) as caught:
        run()
    (problem,) = caught.value.problems
    assert problem.where == quirks.url
    assert problem.code.startswith("serve.")
    assert "<html>" not in str(caught.value)
    assert ("model is loading" in str(caught.value)) == (name == "error with 200")
    assert {path.name for path in tmp_path.rglob("*")} <= {"cache", "answers.sqlite"}
    score(lambda _path, body, _number: completion(body, "neutral"), "chat", "scorer=free_generation")


@pytest.mark.parametrize("name", ["cut", "closed", "html 502", "not gzip", "no content", "events"])
def test_what_goes_wrong_twice_on_the_wire_is_asked_again(name: str, score: Score, quirks: Quirks) -> None:
    def reply(_path: str, body: Any, number: int) -> Any:
        return WIRE[name] if number in (5, 6) else completion(body, "neutral", TOP)

    assert score(reply).figures.metrics["invalid"] == 0
    assert len(quirks.asked) == 17


@pytest.mark.parametrize(
    "seed", [pytest.param(n, marks=pytest.mark.slow if n > 3 else ()) for n in range(40)]
)
def test_a_server_that_damages_every_third_answer(
    seed: int, score: Score, quirks: Quirks, tmp_path: Path
) -> None:
    bodies = [content for _, content in damaged(CHAT, range(100 * seed, 100 * seed + 60))]

    def reply(_path: str, body: Any, number: int) -> Any:
        return Http(bodies[number % len(bodies)]) if number % 3 == 0 else completion(body, "neutral")

    failure: DataError | None = None
    try:
        score(reply)
    except DataError as error:
        failure = error
    assert failure is None or [problem.where for problem in failure.problems] == [quirks.url]
    assert (tmp_path / "out").exists() == (failure is None)
