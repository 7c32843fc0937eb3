"""What a server may do to a download, and downloads that are fetched or fail."""

from __future__ import annotations

import gzip
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dialoguellm_release.corpora.download import DownloadPolicy
from dialoguellm_release.corpora.fetch import fetch_corpora
from dialoguellm_release.errors import DataError
from dialoguellm_release.schemas.corpus import CorpusEntry

POLICY = DownloadPolicy(attempts=3, first_wait_s=0.01, longest_asked_s=5, timeout_s=2)
NAME = "train_sent_emo.csv"
CONTENT = random.Random(7).randbytes(300_000)
OTHER = random.Random(8).randbytes(300_000)


def cut_at(byte: int) -> Callable[..., None]:
    return lambda handler, content, begin: handler.give(content, begin, until=byte)


def answers(status: int, **headers: str) -> Callable[..., None]:
    return lambda handler, _content, _begin: handler.answer(status, **headers)


def gives(content: bytes) -> Callable[..., None]:
    return lambda handler, _content, begin: handler.give(content, begin)


def ignores_the_range(handler: Any, content: bytes, _begin: int | None) -> None:
    handler.give(content, None)


def hangs_up(handler: Any, _content: bytes, _begin: int | None) -> None:
    handler.hang_up()


def says_nothing(_handler: Any, _content: bytes, _begin: int | None) -> None:
    time.sleep(0.6)


def stalls(handler: Any, content: bytes, _begin: int | None) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(content)))
    handler.end_headers()
    handler.wfile.write(content[:100_000])
    time.sleep(0.6)


def never_ends(handler: Any, content: bytes, _begin: int | None) -> None:
    handler.send_response(200)
    handler.end_headers()
    for _ in range(100):
        handler.wfile.write(content)


def in_chunks(handler: Any, content: bytes, _begin: int | None) -> None:
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    handler.wfile.write(b"%x\r\n%s\r\n0\r\n\r\n" % (len(content), content))


def in_cut_chunks(handler: Any, content: bytes, _begin: int | None) -> None:
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    handler.wfile.write(b"%x\r\n%s" % (len(content), content[:50_000]))


def compressed(handler: Any, content: bytes, _begin: int | None) -> None:
    packed = gzip.compress(content)
    handler.send_response(200)
    handler.send_header("Content-Encoding", "gzip")
    handler.send_header("Content-Length", str(len(packed)))
    handler.end_headers()
    handler.wfile.write(packed)


def fetch(entry: CorpusEntry, to: Path, policy: DownloadPolicy = POLICY, **options: Any) -> list[Path]:
    return [file.path for file in fetch_corpora([entry], to, policy=policy, **options) if not file.was_there]


def failure(entry: CorpusEntry, to: Path, policy: DownloadPolicy = POLICY) -> str:
    with pytest.raises(DataError) as caught:
        fetch_corpora([entry], to, policy=policy)
    return str(caught.value)
