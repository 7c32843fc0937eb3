"""A server on 127.0.0.1 that does what servers do to those who fetch from them, and keeps a log."""

from __future__ import annotations

import hashlib
import re
import socket
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from dialoguellm_release.corpora.registry import corpus_entry
from dialoguellm_release.schemas.corpus import CorpusEntry, Download, KnownFile


class Asked(NamedTuple):
    """A request: its path, and the byte from which it asks (None: no Range)."""

    path: str
    begin: int | None


class Handler(BaseHTTPRequestHandler):
    site: Site

    def do_GET(self) -> None:
        range_ = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        begin = int(range_[1]) if range_ else None
        self.site.log.append(Asked(self.path, begin))
        content = self.site.files.get(self.path)
        faults = self.site.faults[self.path]
        fault = faults.pop(0) if len(faults) > 1 else faults[0] if faults else None
        if fault is not None:
            fault(self, content or b"", begin)
        elif content is None:
            self.answer(404)
        else:
            self.give(content, begin)

    def answer(self, status: int, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def give(self, content: bytes, begin: int | None, until: int | None = None) -> None:
        """Sends a file from a byte on; with `until`, hangs up before that byte, whatever was announced."""
        first = begin or 0
        if first >= len(content) and begin is not None:
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(content)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(200 if begin is None else 206)
        if begin is not None:
            self.send_header("Content-Range", f"bytes {begin}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - first))
        self.end_headers()
        sent = content[first:until]
        self.site.sent += len(sent)
        self.wfile.write(sent)
        if until is not None:
            self.hang_up()

    def hang_up(self) -> None:
        self.wfile.flush()
        self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing."""


Fault = Callable[[Handler, bytes, int | None], None]


class Site:
    """What the server holds, what goes wrong with it, and what it was asked.

    Attributes:
        files: Content by path.
        faults: What happens to the requests for a path, one after the other; the last one stays.
        log: Every request, in order.
        sent: Bytes of content that left the server.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.faults: defaultdict[str, list[Fault | None]] = defaultdict(list)
        self.log: list[Asked] = []
        self.sent = 0
        self.address = ""


class Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Says nothing of those who hang up."""


@contextmanager
def served() -> Iterator[Site]:
    site = Site()
    handler = type("BoundHandler", (Handler,), {"site": site})
    server = Server(("127.0.0.1", 0), handler)
    site.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def site() -> Iterator[Site]:
    """The server."""
    with served() as site:
        yield site


@pytest.fixture
def dead_address() -> str:
    """An address on which nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}/train_sent_emo.csv"


def known(path: str, content: bytes) -> KnownFile:
    return KnownFile(path=path, bytes=len(content), sha256=hashlib.sha256(content).hexdigest())


@pytest.fixture
def entry_of() -> Callable[[Mapping[str, bytes], tuple[Download, ...]], CorpusEntry]:
    """The registry's entry of MELD, with other files and addresses."""

    def make(contents: Mapping[str, bytes], downloads: tuple[Download, ...]) -> CorpusEntry:
        files = tuple(known(path, content) for path, content in contents.items())
        return corpus_entry("meld").model_copy(update={"files": files, "downloads": downloads})

    return make


@pytest.fixture
def offered(site: Site, entry_of: Any) -> Callable[[Mapping[str, bytes]], CorpusEntry]:
    """Puts files on the server; gives the entry whose addresses lead there."""

    def put(contents: Mapping[str, bytes]) -> CorpusEntry:
        site.files |= {f"/{path}": content for path, content in contents.items()}
        downloads = tuple(
            Download(path=path, addresses=(f"{site.address}/{path}",), verified=True) for path in contents
        )
        entry: CorpusEntry = entry_of(contents, downloads)
        return entry

    return put


@pytest.fixture
def tree() -> Callable[[Path], dict[str, bytes]]:
    """Every file below a folder, hidden ones too."""

    def look(folder: Path) -> dict[str, bytes]:
        files = (path for path in folder.rglob("*") if path.is_file())
        return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}

    return look
