"""A server whose every answer a test chooses, and the score of the model behind it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from dialoguellm_release.retry import RetryPolicy
from dialoguellm_release.schemas.manifests import ScoreManifest
from dialoguellm_release.serve.client import ServedModel
from dialoguellm_release.steps.score import score_served

TOP = (("neutral", -0.1), ("happiness", -3.0), ("sadness", -4.0), ("anger", -4.5), ("fear", -5.0))
"""A model that is sure of `neutral`, whatever it is asked."""


@dataclass(frozen=True)
class Http:
    """An answer on the wire.

    Attributes:
        promised: Content-Length; None for the true one.
    """

    content: bytes
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    promised: int | None = None


Reply = dict[str, Any] | Http | None
"""The JSON of an answer, or anything else; None closes the connection."""


@dataclass
class Quirks:
    """The server; `reply` is called with the path, the request and its number."""

    reply: Callable[[str, dict[str, Any], int], Reply] = lambda _path, _body, _number: None
    url: str = ""
    asked: list[dict[str, Any]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    quirks: Quirks

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.quirks.lock:
            self.quirks.asked.append(body)
            number = len(self.quirks.asked)
        reply = self.quirks.reply(self.path, body, number)
        if reply is None:
            self.close_connection = True
            return
        sent = reply if isinstance(reply, Http) else Http(json.dumps(reply).encode())
        self.send_response(sent.status)
        headers = {"Content-Type": "application/json", "retry-after-ms": "1", **sent.headers}
        for name, value in headers.items():
            self.send_header(name, value)
        length = len(sent.content) if sent.promised is None else sent.promised
        self.send_header("Content-Length", str(length))
        self.end_headers()
        self.wfile.write(sent.content)
        self.close_connection = sent.promised is not None

    do_GET = do_POST

    def log_message(self, *_arguments: Any) -> None:
        """Prints nothing."""


@pytest.fixture
def quirks() -> Iterator[Quirks]:
    state = Quirks()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"quirks": state}))
    state.url = f"http://127.0.0.1:{server.server_port}/v1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield state
    server.shutdown()
    thread.join()
    server.server_close()


def completion(
    body: dict[str, Any], text: Any, top: Sequence[tuple[Any, Any]] | None = TOP, **choice: Any
) -> dict[str, Any]:
    """What a server of the protocol answers; log-probabilities only where they are asked for."""
    made: dict[str, Any] = {"index": 0, "finish_reason": "stop", "logprobs": None, **choice}
    wanted = top if body.get("logprobs") else None
    if "messages" in body:
        made.setdefault("message", {"role": "assistant", "content": text})
        if wanted is not None:
            tops = [{"token": token, "logprob": value} for token, value in wanted]
            made["logprobs"] = {"content": [{"token": "x", "logprob": 0.0, "top_logprobs": tops}]}
    else:
        made["text"] = text
        if wanted is not None:
            made["logprobs"] = {"tokens": ["x"], "top_logprobs": [dict(wanted)]}
    return {"id": "x", "object": "x", "model": "version-1", "choices": [made]}


@pytest.fixture
def score(quirks: Quirks, small_dataset: Path, tmp_path: Path) -> Callable[..., ScoreManifest]:
    """Scores the model behind the server on 15 records of MELD."""

    def scored(reply: Any = None, api: Any = "chat", *settings: str, **options: Any) -> ScoreManifest:
        quirks.reply = reply or quirks.reply
        served = ServedModel(
            quirks.url,
            "org/model",
            api,
            policy=RetryPolicy(3, first_wait_s=0.001, longest_asked_s=5.0),
            timeout_s=options.pop("timeout_s", 5.0),
        )
        result = score_served(
            "meld",
            served,
            small_dataset,
            tmp_path / "out",
            cache=tmp_path / "cache",
            overrides=["intervals.resamples=20", *settings],
            replace=True,
            **options,
        )
        return result.manifest

    return scored
