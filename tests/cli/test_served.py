"""Scores of a model behind a server, over real HTTP: what it gives, and what it may do wrong."""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from dialoguellm_release.predict import files
from dialoguellm_release.prompts import load_prompt
from dialoguellm_release.records import read_records
from dialoguellm_release.retry import RetryPolicy
from dialoguellm_release.schemas.labels import LABELS
from dialoguellm_release.serve.client import ServedModel

SPACE = LABELS[:7]
WORDS = {"happy": "happiness", "angry": "anger", "afraid": "fear", "sad ": "sadness", "disgusted": "disgust"}
KEY = "sk-very-secret-0123456789"


def true_label(prompt: str) -> str:
    """What the last input of a prompt says; the fixture's records say it by a word."""
    said = prompt.rpartition("I am ")[2]
    return next((label for word, label in WORDS.items() if said.startswith(word)), "neutral")


@dataclass
class Served:
    """A server of OpenAI's protocol on this machine, which does to each request what a test says.

    Attributes:
        misdeeds: Taken one a request, in order: an HTTP status, a body, or `hang up`; then it answers.
        too_long: Part of the prompts that it calls too long; empty for none.
        log_probs: Whether it gives log-probabilities; `refuse` answers 400 to who asks for them.
    """

    url: str = ""
    misdeeds: list[int | str] = field(default_factory=list)
    log_probs: bool | str = True
    write: Callable[[str], str] = true_label
    asked: list[dict[str, Any]] = field(default_factory=list)
    keys: set[str] = field(default_factory=set)
    too_long: str = ""
    most_at_once: int = 0
    under_way: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def body(self, path: str, request: dict[str, Any]) -> Any:
        is_chat = path.endswith("/chat/completions")
        prompt = request["messages"][0]["content"] if is_chat else request["prompt"]
        text = self.write(prompt)
        first = {f" {text[:3]}": -0.1, "the": -3.0, "ang": -4.0}
        choice: dict[str, Any] = {"message": {"content": text}} if is_chat else {"text": f" {text}"}
        if self.log_probs and request.get("logprobs"):
            tops = [{"token": token, "logprob": value} for token, value in first.items()]
            choice["logprobs"] = (
                {"content": [{"token": text[:3], "logprob": -0.1, "top_logprobs": tops}]}
                if is_chat
                else {"tokens": [text[:3]], "top_logprobs": [first]}
            )
        return {"id": "x", "object": "x", "model": request["model"], "choices": [choice]}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    served: Served

    def do_POST(self) -> None:
        served = self.served
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with served.lock:
            served.asked.append(request)
            served.keys.add(self.headers["Authorization"])
            served.under_way += 1
            served.most_at_once = max(served.most_at_once, served.under_way)
            misdeed = served.misdeeds.pop(0) if served.misdeeds else None
        time.sleep(0.01)
        with served.lock:
            served.under_way -= 1
        if misdeed == "hang up":
            self.close_connection = True
            return
        if served.log_probs == "refuse" and "logprobs" in request:
            misdeed = 400
        if served.too_long and served.too_long in json.dumps(request):
            self.answer(400, json.dumps({"error": {"message": "the context length is exceeded"}}))
        elif isinstance(misdeed, int):
            self.answer(misdeed, json.dumps({"error": {"message": f"no, {self.headers['Authorization']}"}}))
        elif isinstance(misdeed, str):
            self.answer(200, misdeed)
        else:
            self.answer(200, json.dumps(served.body(self.path, request)))

    def answer(self, status: int, body: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("retry-after-ms", "10")
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_arguments: Any) -> None:
        """Says nothing."""


@pytest.fixture
def served() -> Iterator[Served]:
    state = Served()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"served": state}))
    state.url = f"http://127.0.0.1:{server.server_port}/v1"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield state
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def score(run: Any, served: Served, small_dataset: Path, tmp_path: Path) -> Callable[..., Any]:
    """Scores the server's model on MELD into `tmp_path/out`, with options."""

    def scored(*options: str, url: str | None = None) -> Any:
        fixed = (
            "--dataset",
            small_dataset,
            "--out",
            tmp_path / "out",
            "--cache",
            tmp_path / "cache",
            "--json",
            "--replace",
        )
        few = ("--set", "intervals.resamples=50")
        return run(
            "score",
            "served",
            "meld",
            "org/model",
            "--base-url",
            url or served.url,
            *fixed,
            *few,
            *options,
        )

    return scored


def columns(tmp_path: Path) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = pq.read_table(tmp_path / "out" / "predictions.parquet").to_pydict()
    return found


@pytest.mark.parametrize("api", ["chat", "completions"])
def test_labels_by_first_tokens(
    api: str, score: Any, served: Served, tmp_path: Path, small_dataset: Path
) -> None:
    ended = score("--api", api)
    assert ended.code == 0, ended.err
    scored = json.loads(ended.out)
    assert scored["protocol"]["scorer"] == "first_token"
    assert scored["system"] | {"name": "model", "base": "org/model", "server_api": api} == scored["system"]
    written = columns(tmp_path)
    prompts = [load_prompt("dialogue-v1").prompt(one) for one in read_records(small_dataset, "meld", "test")]
    assert written["prediction"] == [true_label(prompt) for prompt in prompts]
    shares = [written[f"score_{label}"][0] for label in SPACE]
    assert sum(shares) == pytest.approx(1)
    other, anger = math.exp(-0.1), math.exp(-4.0)
    assert shares[SPACE.index(written["prediction"][0])] == pytest.approx(other / (other + anger))
    assert {request["model"] for request in served.asked} == {"org/model"}
    assert {request["temperature"] for request in served.asked} == {0}


@pytest.mark.parametrize("log_probs", [False, "refuse"])
def test_without_log_probabilities_what_is_written_counts(
    log_probs: bool | str, score: Any, served: Served, tmp_path: Path
) -> None:
    served.log_probs = log_probs
    served.write = lambda prompt: "Anger." if "happy" in prompt else "I would say anger"
    ended = score()
    assert ended.code == 0, ended.err
    scored = json.loads(ended.out)
    assert scored["protocol"]["scorer"] == "free_generation"
    written = columns(tmp_path)
    assert set(written["prediction"]) == {"anger", "invalid"}
    assert scored["invalid"] == written["prediction"].count("invalid") / 15
    assert set(written["text"]) == {"Anger.", "I would say anger"}


def test_an_answer_that_names_no_label_is_invalid(score: Any, served: Served, tmp_path: Path) -> None:
    served.write = lambda _prompt: "what?"
    body = served.body
    served.body = lambda path, request: _without_ang(body(path, request))  # type: ignore[method-assign]
    assert json.loads(score().out)["invalid"] == 1
    assert set(columns(tmp_path)["prediction"]) == {"invalid"}


def _without_ang(body: Any) -> Any:
    tops = body["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
    tops[:] = [one for one in tops if one["token"] != "ang"]
    return body


def test_first_tokens_that_begin_two_labels_do_not_decide(score: Any, served: Served) -> None:
    served.write = lambda _prompt: "s"
    ended = score()
    assert json.loads(ended.out)["protocol"]["scorer"] == "free_generation"
    demanded = score("--set", "scorer=first_token")
    assert demanded.code == 1
    assert "got: 0 of 15; log-probabilities for 15" in demanded.err


def test_a_scorer_that_no_server_has(score: Any, served: Served) -> None:
    ended = score("--set", "scorer=full_likelihood")
    assert ended.code == 1
    assert "not possible with a server" in ended.err
    assert not served.asked


def test_what_is_known_is_not_asked_again(score: Any, served: Served, tmp_path: Path) -> None:
    first = score()
    asked = len(served.asked)
    assert asked == 15
    assert json.loads(score().out) == json.loads(first.out)
    assert "is current" in score().err
    (tmp_path / "out" / "manifest.json").unlink()
    (tmp_path / "out").rename(tmp_path / "moved")
    assert json.loads(score().out) == json.loads(first.out)
    assert len(served.asked) == asked
    score("--again")
    assert len(served.asked) == 2 * asked


def test_no_more_requests_are_under_way_than_allowed(score: Any, served: Served) -> None:
    assert score("--concurrency", "3").code == 0
    assert 1 < served.most_at_once <= 3


@pytest.mark.parametrize("misdeed", [429, 500, 503, "", "<html>", '{"choices": []}', "[1]", "hang up"])
def test_a_server_that_stumbles_is_asked_again(
    misdeed: int | str, score: Any, served: Served, tmp_path: Path
) -> None:
    served.misdeeds = [misdeed, misdeed]
    ended = score()
    assert ended.code == 0, ended.err
    assert len(served.asked) == 17
    assert len(columns(tmp_path)["id"]) == 15


@pytest.fixture
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """One retry, so that a server that never recovers is soon given up."""
    defaults = ("chat", "OPENAI_API_KEY", 8, 5.0, RetryPolicy(2, first_wait_s=0.01), False, "served")
    monkeypatch.setattr(ServedModel.__init__, "__defaults__", defaults)


@pytest.mark.usefixtures("_impatient")
@pytest.mark.parametrize(
    ("misdeed", "expected"),
    [
        (401, "export OPENAI_API_KEY"),
        (403, "export OPENAI_API_KEY"),
        (404, "has no model org/model"),
        (429, "gave no answer to 2 requests\n  got: HTTP 429"),
        (500, "gave no answer to 2 requests\n  got: HTTP 500"),
        ("<html>", "the answer is no completion"),
        ("hang up", "the connection broke"),
        (400, "refuses one request after the other\n  got: HTTP 400"),
    ],
)
def test_a_server_that_does_not_recover_is_told_and_nothing_is_lost(
    misdeed: int | str,
    expected: str,
    score: Any,
    served: Served,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    assert score("--set", "max_records=4").code == 0
    served.misdeeds = [misdeed] * 500
    ended = score()
    assert ended.code == 1
    assert expected in ended.err
    assert served.url in ended.err
    assert "what was answered is kept" in ended.err
    assert KEY not in ended.err + ended.out
    served.misdeeds = []
    before = len(served.asked)
    assert score().code == 0
    assert len(served.asked) - before == 11


def test_the_key_is_sent_and_stands_nowhere(
    score: Any, served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    url = served.url.replace("//", "//user:hidden@")
    ended = score("--key-variable", "MY_KEY", url=url)
    assert ended.code == 0, ended.err
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) > 4
    for needle in (KEY.encode(), b"user:hidden", b"127.0.0.1"):
        assert not [path for path in files if needle in path.read_bytes()]


def test_without_a_key_none_is_sent(score: Any, served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    assert score().code == 0
    assert served.keys == {"Bearer none"}


def test_examples_stand_in_what_is_sent(score: Any, served: Served, tmp_path: Path) -> None:
    assert score("--set", "few_shot.shots=2", "--set", "few_shot.choose=balanced").code == 0
    assert {request["messages"][0]["content"].count("Response:") for request in served.asked} == {3}
    assert all(len(ids) == 2 for ids in columns(tmp_path)["examples"])


@pytest.mark.usefixtures("_impatient")
def test_nobody_listens(score: Any) -> None:
    ended = score(url="http://127.0.0.1:9/v1")
    assert ended.code == 1
    assert "http://127.0.0.1:9/v1: gave no answer to 2 requests" in ended.err


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--api", "batch"), "batch is none of chat, completions"),
        (("--scorers", "all"), "No such option: --scorers"),
        (("--concurrency", "0"), "greater than or equal to 1"),
    ],
)
def test_what_cannot_be_meant_is_a_usage_error(options: tuple[str, ...], expected: str, score: Any) -> None:
    ended = score(*options)
    assert ended.code == 2
    assert expected in " ".join(ended.err.split())


@pytest.mark.parametrize("log_probs", [True, False])
def test_predict_asks_a_server_as_score_does(
    log_probs: bool,
    score: Any,
    run: Any,
    served: Served,
    small_dataset: Path,
    tiny_adapter: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    served.log_probs = log_probs
    assert score().code == 0
    scored, talk = columns(tmp_path), tmp_path / "talk.jsonl"
    records = list(read_records(small_dataset, "meld", "test"))
    lines = [
        {"dialogue": one.dialogue_id, "speaker": name or one.speaker, "text": text}
        for one in records
        for name, _, text in (*(line.partition(": ") for line in one.context), ("", "", one.input))
    ]
    talk.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    model = ("--served", "org/model", "--base-url", served.url, "--adapter", tiny_adapter)
    ended = run("predict", talk, *model, "--out", "out.jsonl", "--json")
    assert ended.code == 0, ended.err
    assert json.loads(ended.out)["turns"] == len(lines)
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()]
    last = list({row["conversation"]: row for row in rows}.values())
    assert [row["label"] for row in last] == scored["prediction"]
    for label in SPACE if log_probs else ():
        assert [row[f"p_{label}"] for row in last] == pytest.approx(scored[f"score_{label}"], abs=1e-6)
    assert all((row["p_anger"] is None) == (not log_probs) for row in rows)


@pytest.fixture
def ask(
    run: Any, served: Served, tiny_adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Any]:
    """Predicts ten turns by the server, three at once, with options."""
    monkeypatch.setattr(files, "AT_ONCE", 3)
    monkeypatch.chdir(tmp_path)
    Path("talk.txt").write_text("".join(f"I am happy{'!' * at}\n" for at in range(10)), encoding="utf-8")
    model = ("--served", "org/model", "--base-url", served.url, "--adapter", tiny_adapter)
    return lambda *options: run("predict", "talk.txt", *model, *options)


@pytest.mark.usefixtures("_impatient")
@pytest.mark.parametrize("misdeed", ["hang up", 503])
def test_a_server_that_is_lost_while_it_predicts(misdeed: int | str, ask: Any, served: Served) -> None:
    def lost_after_five(prompt: str) -> str:
        if len(served.asked) >= 5 and not served.misdeeds:
            served.misdeeds += [misdeed] * 500
        return true_label(prompt)

    served.write = lost_after_five
    ended = ask("--out", "out.csv", "--concurrency", "1")
    assert ended.code == 1
    assert "gave no answer to" in ended.err
    assert "3 predictions are kept; go on with the same command and --resume" in ended.err
    assert not Path("out.csv").exists()
    served.misdeeds, served.write = [misdeed], true_label
    assert ask("--out", "out.csv").code == 1
    before = len(served.asked)
    ended = ask("--out", "out.csv", "--resume")
    assert ended.code == 0, ended.err
    assert len(served.asked) - before == 1 + 7 - 2  # the misdeed, and the turns but two that were answered
    assert ask("--out", "whole.csv").code == 0
    assert Path("out.csv").read_bytes() == Path("whole.csv").read_bytes()


def test_predict_takes_the_options_of_a_server_that_score_takes(
    ask: Any, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANOTHER_KEY", KEY)
    ended = ask("--key-variable", "ANOTHER_KEY", "--concurrency", "1", "--cache", "kept")
    assert ended.code == 0, ended.err
    assert served.keys == {f"Bearer {KEY}"}
    assert served.most_at_once == 1
    assert Path("kept", "answers.sqlite").is_file()
    assert not Path("build").exists()


def test_one_prompt_that_is_refused_is_a_row_with_a_reason(ask: Any, served: Served) -> None:
    served.too_long = "!" * 9
    ended = ask("--out", "out.jsonl")
    assert ended.code == 0, ended.err
    rows = [json.loads(line) for line in Path("out.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [row["label"] for row in rows] == ["happiness"] * 9 + [None]
    assert "prompt too long" in rows[-1]["reason"]
