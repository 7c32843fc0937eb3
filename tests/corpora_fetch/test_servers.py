"""Servers that send another file, ask to wait, redirect, or give nothing."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path
from typing import Any

import pytest

from dialoguellm_release.corpora.download import DownloadPolicy
from tests.corpora_fetch.faults import (
    CONTENT,
    NAME,
    OTHER,
    POLICY,
    answers,
    compressed,
    cut_at,
    failure,
    fetch,
    gives,
    hangs_up,
    in_chunks,
    never_ends,
    says_nothing,
    stalls,
)


@pytest.mark.parametrize("fault", [in_chunks, compressed])
def test_however_it_is_sent_the_file_is_right(offered: Any, site: Any, tmp_path: Path, fault: Any) -> None:
    entry = offered({NAME: CONTENT})
    site.faults["/" + NAME] = [fault]
    (path,) = fetch(entry, tmp_path)
    assert path.read_bytes() == CONTENT


def test_wrong_bytes_are_told_and_removed(offered: Any, site: Any, tmp_path: Path, tree: Any) -> None:
    entry = offered({NAME: CONTENT})
    site.faults["/" + NAME] = [gives(OTHER)]
    said = failure(entry, tmp_path)
    assert f"expected: 300000 bytes, sha256 {hashlib.sha256(CONTENT).hexdigest()}" in said
    assert f"sent another file: 300000 bytes, sha256 {hashlib.sha256(OTHER).hexdigest()}" in said
    assert len(site.log) == 1
    assert tree(tmp_path) == {}


def test_a_file_of_another_size_is_not_even_read(offered: Any, site: Any, tmp_path: Path, tree: Any) -> None:
    entry = offered({NAME: CONTENT})
    site.faults["/" + NAME] = [gives(OTHER + b"more")]
    assert "has a file of 300004 bytes" in failure(entry, tmp_path)
    assert tree(tmp_path) == {}


def test_a_server_that_asks_to_wait_is_waited_for(offered: Any, site: Any, tmp_path: Path) -> None:
    entry = offered({NAME: CONTENT})
    site.faults["/" + NAME] = [answers(429, Retry_After="1"), None]
    started = time.monotonic()
    fetch(entry, tmp_path)
    assert time.monotonic() - started >= 1
    assert len(site.log) == 2


def test_a_server_that_asks_to_wait_too_long_is_not(offered: Any, site: Any, tmp_path: Path) -> None:
    entry = offered({NAME: CONTENT})
    site.faults["/" + NAME] = [answers(429, Retry_After="3600")]
    assert "answered 429 Too Many Requests and asks to wait 3600 s" in failure(entry, tmp_path)
    assert len(site.log) == 1


@pytest.mark.parametrize("wait", ["soon", "Wed, 21 Oct 2015 07:28:00 GMT"])
def test_a_wait_that_says_nothing_is_not_kept(offered: Any, site: Any, tmp_path: Path, wait: str) -> None:
    entry = offered({NAME: CONTENT})
    site.faults["/" + NAME] = [answers(503, Retry_After=wait), None]
    assert fetch(entry, tmp_path)


def test_a_storm_of_503_is_outlasted_or_told(offered: Any, site: Any, tmp_path: Path) -> None:
    entry = offered({NAME: CONTENT})
    site.faults["/" + NAME] = [answers(503)]
    assert "answered 503 Service Unavailable" in failure(entry, tmp_path)
    assert len(site.log) == POLICY.attempts
    site.faults["/" + NAME] = [answers(503), answers(500), None]
    assert fetch(entry, tmp_path)


def test_a_redirect_is_followed(offered: Any, site: Any, tmp_path: Path) -> None:
    entry = offered({NAME: CONTENT})
    site.files["/moved/here"] = site.files.pop("/" + NAME)
    site.faults["/" + NAME] = [answers(302, Location="/moved/here")]
    site.faults["/moved/here"] = [cut_at(1000), None]
    (path,) = fetch(entry, tmp_path)
    assert path.read_bytes() == CONTENT
    assert site.log[-1] == ("/moved/here", 1000)


def test_redirects_in_a_circle_are_told(offered: Any, site: Any, tmp_path: Path) -> None:
    entry = offered({NAME: CONTENT})
    site.faults["/" + NAME] = [answers(302, Location="/" + NAME)]
    assert "redirects" in failure(entry, tmp_path)


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (hangs_up, "disconnected without sending a response"),
        (says_nothing, "did not answer within 0.2 s"),
        (stalls, "sent nothing for 0.2 s after 100000 bytes"),
        (never_ends, "sends more than 300000 bytes"),
        (answers(204), "answered 204 No Content"),
        (answers(206), "without saying which"),
        (
            answers(206, Content_Range="bytes 7-299999/300000"),
            "sent the bytes from 7, asked for those from 0",
        ),
        (answers(416), "has no more than what was there already"),
        (answers(200), "has a file of 0 bytes"),
    ],
)
def test_a_server_that_gives_nothing_is_told(
    offered: Any, site: Any, tmp_path: Path, tree: Any, fault: Any, said: str
) -> None:
    entry = offered({NAME: CONTENT})
    site.faults["/" + NAME] = [fault]
    assert said in failure(entry, tmp_path, DownloadPolicy(attempts=1, timeout_s=0.2))
    assert [path for path in tree(tmp_path) if not path.startswith(".meld.partial/")] == []
