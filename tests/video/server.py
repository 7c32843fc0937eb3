"""A server on 127.0.0.1 that speaks what a describing client needs of the OpenAI API, and keeps a log.

    python tests/video/server.py [--answer-ms 50] [--seed 1] [--faults '{"429": 0.1}'] [--key sk-test]

Responses and chat completions, over HTTP/1.1. It prints its address as its first line. An
answer tells which frames it saw, so that a test can hold a description against its clip. Faults are shares
of the requests: 429, 500, hang_up (before an answer is made), lost (the answer is made, counted, and not
sent), slow (the answer comes late), malformed (not what the schema asks for), no_json (the body is none),
refusal, told (refused in a field of the answer), filtered (cut off by a filter). GET /log gives every request
that came, POST /mode changes how it behaves: {"fail": {"status": 401, "code": "invalid_api_key"}} or null.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import random
from typing import Any

RETRY_AFTER_S = "0.05"
SLOW_S = 3.0
VERSION = "test-vlm-2026-01-01"


class Api:
    """What the server knows; one instance a run."""

    def __init__(self, answer_s: float, seed: int, faults: dict[str, float], key: str | None) -> None:
        self.answer_s = answer_s
        self.draw = random.Random(seed)
        self.faults = faults
        self.key = key
        self.requests: list[dict[str, Any]] = []
        self.mode: dict[str, Any] = {}
        self.active = self.most_active = 0

    def fault(self) -> str | None:
        """What happens to this request: one draw over the shares."""
        point = self.draw.random()
        for name, share in self.faults.items():
            if point < share:
                return name
            point -= share
        return None

    async def describe(
        self, path: str, body: dict[str, Any], request_id: str
    ) -> tuple[int, Any, dict[str, str]]:
        """Status, body and headers of an answer; a body of None hangs up."""
        entry: dict[str, Any] = {
            "id": request_id,
            "path": path,
            "question": question_of(path, body),
            "status": None,
            "input_tokens": 0,
            "output_tokens": 0,
        }
        self.requests.append(entry)
        if fail := self.mode.get("fail"):
            entry["status"] = fail["status"]
            headers = {"retry-after": str(fail["retry_after"])} if "retry_after" in fail else {}
            return fail["status"], error(fail.get("code"), fail.get("message", "no")), headers
        fault = self.fault()
        if fault == "429" or self.active > self.mode.get("capacity", 10**6):
            entry["status"] = 429
            return 429, error("rate_limit_exceeded", "slow down"), {"retry-after": RETRY_AFTER_S}
        if fault == "500":
            entry["status"] = 500
            return 500, error("server_error", "it broke"), {}
        if fault == "hang_up":
            return 0, None, {}
        await asyncio.sleep(SLOW_S if fault == "slow" else self.answer_s)
        answer = answer_to(path, body, fault)
        usage = answer["usage"]
        entry["status"] = 200
        entry["input_tokens"] = usage.get("input_tokens", usage.get("prompt_tokens"))
        entry["output_tokens"] = usage.get("output_tokens", usage.get("completion_tokens"))
        if fault == "lost":
            return 0, None, {}
        return 200, "{not json" if fault == "no_json" else answer, {}

    async def route(
        self, method: str, path: str, headers: dict[str, str], body: bytes
    ) -> tuple[int, Any, dict[str, str]]:
        if path == "/log":
            return 200, {"requests": self.requests, "most_active": self.most_active}, {}
        if path == "/mode":
            self.mode = json.loads(body) or {}
            return 200, {}, {}
        if self.key and headers.get("authorization") != f"Bearer {self.key}":
            return 401, error("invalid_api_key", f"wrong key: {headers.get('authorization')}"), {}
        path = path.partition("?")[0].removeprefix("/v1")
        match method, path.strip("/").split("/"):
            case "POST", ["responses"] | ["chat", "completions"]:
                self.active += 1
                self.most_active = max(self.active, self.most_active)
                try:
                    request_id = headers.get("x-client-request-id", "")
                    return await self.describe(f"/v1{path}", json.loads(body), request_id)
                finally:
                    self.active -= 1
        return 404, error("not_found", path), {}

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                first, *rest = head.decode().rstrip().split("\r\n")
                headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in rest)}
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                method, path, _ = first.split()
                status, answer, more = await self.route(method, path, headers, body)
                if answer is None:
                    break
                content = answer if isinstance(answer, bytes) else as_bytes(answer)
                lines = [f"HTTP/1.1 {status} .", "content-type: application/json"]
                lines += [f"content-length: {len(content)}", *(f"{k}: {v}" for k, v in more.items())]
                writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + content)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


def as_bytes(answer: Any) -> bytes:
    return (answer if isinstance(answer, str) else json.dumps(answer)).encode()


def error(code: str | None, message: str) -> dict[str, Any]:
    return {"error": {"message": message, "type": code, "param": None, "code": code}}


def images_of(path: str, body: dict[str, Any]) -> list[str]:
    if path.endswith("/responses"):
        parts = [part for message in body["input"] for part in message["content"]]
        return [part["image_url"] for part in parts if part["type"] == "input_image"]
    parts = [part for message in body["messages"] if message["role"] == "user" for part in message["content"]]
    return [part["image_url"]["url"] for part in parts if part["type"] == "image_url"]


def question_of(path: str, body: dict[str, Any]) -> str:
    """A name for what is asked: equal for equal frames of an equal model."""
    return hashlib.sha256("".join([body["model"], *images_of(path, body)]).encode()).hexdigest()[:16]


def answer_to(path: str, body: dict[str, Any], fault: str | None) -> dict[str, Any]:
    seen = question_of(path, body)
    description = {
        "description": f"Someone is seen, frames {seen}.",
        "people": [{"appearance": "a person at a table", "expression": "a slight smile"}],
        "refusal": "cannot say" if fault == "told" else None,
    }
    text = json.dumps(description)[: 20 if fault in ("malformed", "filtered") else None]
    tokens = 50 + 100 * len(images_of(path, body)), 20 + int(seen[:1], 16)
    if path.endswith("/responses"):
        part = (
            {"type": "refusal", "refusal": "I cannot help with that."}
            if fault == "refusal"
            else {"type": "output_text", "text": text, "annotations": []}
        )
        return {
            "id": "resp",
            "object": "response",
            "created_at": 0,
            "model": VERSION,
            "status": "incomplete" if fault == "filtered" else "completed",
            "incomplete_details": {"reason": "content_filter"} if fault == "filtered" else None,
            "output": [
                {"type": "message", "id": "m", "role": "assistant", "status": "completed", "content": [part]}
            ],
            "usage": {"input_tokens": tokens[0], "output_tokens": tokens[1], "total_tokens": sum(tokens)},
        }
    refusal = "I cannot help with that." if fault == "refusal" else None
    return {
        "id": "chat",
        "object": "chat.completion",
        "created": 0,
        "model": VERSION,
        "choices": [
            {
                "index": 0,
                "finish_reason": "content_filter" if fault == "filtered" else "stop",
                "message": {"role": "assistant", "content": None if refusal else text, "refusal": refusal},
            }
        ],
        "usage": {"prompt_tokens": tokens[0], "completion_tokens": tokens[1], "total_tokens": sum(tokens)},
    }


async def run(arguments: argparse.Namespace) -> None:
    api = Api(arguments.answer_ms / 1000, arguments.seed, json.loads(arguments.faults), arguments.key)
    server = await asyncio.start_server(api.serve, "127.0.0.1", 0, limit=2**26, backlog=1024)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--answer-ms", type=float, default=0.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--faults", default="{}")
    parser.add_argument("--key", help="Any other key is refused.")
    asyncio.run(run(parser.parse_args()))
