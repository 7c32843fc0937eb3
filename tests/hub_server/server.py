"""A Hub on this machine, over real HTTP: for clients that do not know that they are tested."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.hub_server.accounts import Accounts
from tests.hub_server.endpoints import find_endpoint
from tests.hub_server.faults import Fault, Faults
from tests.hub_server.store import Store
from tests.hub_server.wire import Answer, Hub, Refused, Request, refused


@dataclass(frozen=True)
class Seen:
    """A request that came, and how it was answered; status 0 where the connection was cut."""

    kind: str
    method: str
    path: str
    status: int
    body_bytes: int


class HubServer:
    """A running Hub.

    Args:
        page_size: Entries in one page of a listing.
        chunk_size: LFS files above this size are uploaded in parts; None for none.
    """

    def __init__(self, page_size: int = 1000, chunk_size: int | None = None) -> None:
        self.store, self.accounts, self.faults = Store(), Accounts(), Faults()
        self.seen: list[Seen] = []
        self._listener = _Listener(("127.0.0.1", 0), _Connection)
        port = self._listener.server_address[1]
        self.hub = Hub(
            f"http://127.0.0.1:{port}",
            f"http://localhost:{port}",
            self.store,
            self.accounts,
            page_size,
            chunk_size,
        )
        self._listener.hub_server = self

    @property
    def url(self) -> str:
        return self.hub.url

    def count(self, kind: str) -> int:
        """How many requests of a kind were answered with success."""
        return sum(one.kind == kind and 200 <= one.status < 400 for one in self.seen)

    @contextlib.contextmanager
    def running(self) -> Iterator[HubServer]:
        thread = threading.Thread(target=self._listener.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._listener.shutdown()
            self._listener.server_close()
            thread.join()


class _Listener(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    hub_server: HubServer

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no fault of the server."""


class _Cut(Exception):
    """The connection ends here."""


class _Connection(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Listener

    def do_GET(self) -> None:
        self._serve()

    do_HEAD = do_POST = do_PUT = do_DELETE = do_GET

    def log_message(self, format: str, *args: object) -> None:
        """The server keeps its own list."""

    def _serve(self) -> None:
        owner = self.server.hub_server
        path, _, query = self.path.partition("?")
        found = find_endpoint(self.command, path)
        kind = found[0].kind if found else "unknown"
        fault = owner.faults.hit(kind, path)
        status = size = 0
        try:
            try:
                if fault and fault.delay_s:
                    time.sleep(fault.delay_s)
                body = self._read_body(fault)
                size = len(body)
                if fault and fault.before:
                    fault.before()
                answer = self._faulty(fault) or self._answer(path, query, body)
                if fault and fault.after:
                    fault.after()
                if fault and fault.lose_answer:
                    raise _Cut
                status = answer.status
            finally:
                # Before the answer leaves: who has it may look at the list at once.
                owner.seen.append(Seen(kind, self.command, path, status, size))
            self._send(answer, fault.cut_answer_after if fault else None)
        except (_Cut, ConnectionError):
            self.close_connection = True
            with contextlib.suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)

    def _read_body(self, fault: Fault | None) -> bytes:
        limit = fault.cut_request_after if fault else None
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            body = b"".join(self._chunks())
        else:
            length = int(self.headers.get("Content-Length") or 0)
            body = self.rfile.read(length if limit is None else min(limit, length))
            if limit is None and len(body) < length:
                raise _Cut
        if limit is not None:
            raise _Cut
        return body

    def _chunks(self) -> Iterator[bytes]:
        while size := int(self.rfile.readline().split(b";")[0], 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()

    def _faulty(self, fault: Fault | None) -> Answer | None:
        if fault is None or fault.status is None:
            return None
        answer = refused(fault.status, f"fault {fault.status}", headers=fault.headers).answer
        return answer if fault.body is None else Answer(fault.status, fault.body, fault.headers)

    def _answer(self, path: str, query: str, body: bytes) -> Answer:
        owner = self.server.hub_server
        headers = {name.lower(): value for name, value in self.headers.items()}
        secret = headers.get("authorization", "").removeprefix("Bearer ")
        token = owner.accounts.valid(secret)
        try:
            if secret and token is None and not secret.startswith("xet-"):
                raise refused(401, "Invalid credentials in Authorization header")
            found = find_endpoint(self.command, path)
            if found is None:
                raise refused(404, f"no such endpoint: {self.command} {path}")
            endpoint, parts = found
            return endpoint.handler(
                owner.hub, Request(self.command, path, query, headers, body, token), *parts
            )
        except Refused as refusal:
            return refusal.answer

    def _send(self, answer: Answer, cut_after: int | None) -> None:
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        self.wfile.write(answer.body if cut_after is None else answer.body[:cut_after])
        if cut_after is not None:
            raise _Cut
