"""One file from the first of several servers that gives it whole: resumed, tried again, checked."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from dialoguellm_release.corpora.files import Identity
from dialoguellm_release.errors import DataError, Problem
from dialoguellm_release.progress import progress
from dialoguellm_release.retry import PASSING_STATUS, RetryPolicy, retry_after_s

if TYPE_CHECKING:
    from httpx2 import Response

MAX_BYTES = 64 * 2**20
"""What is read of a file whose size is not known: several times the largest file of the registry."""


@dataclass(frozen=True)
class DownloadPolicy(RetryPolicy):
    """How often every address is tried before a file is given up, and how long to wait in between."""

    attempts: int = 5
    longest_backoff_s: float = 60.0
    longest_asked_s: float = 60.0
    timeout_s: float = 30.0  # how long a server may send nothing


class _Failed(Exception):
    """An address did not give the file."""

    def __init__(self, what: str, *, is_final: bool = False, wait_s: float = 0.0) -> None:
        super().__init__(what)
        self.is_final = is_final
        self.wait_s = wait_s


def download(
    addresses: Sequence[str], path: Path, wanted: Identity | None, policy: DownloadPolicy, *, where: str
) -> None:
    """Downloads a file to a path where there is none, from the first address that gives it."""
    open_addresses = list(addresses)
    failures: dict[str, str] = {}
    with progress(f"fetching {path.name}", wanted.size if wanted else None, in_bytes=True) as advance:
        attempt = _Attempt(path, wanted, policy.timeout_s, advance)
        for backoff_s in (*policy.waits(), None):
            asked_s = 0.0
            for url in tuple(open_addresses):
                try:
                    attempt.fetch(url)
                    return
                except _Failed as failure:
                    failures[url] = str(failure)
                    asked_s = max(asked_s, failure.wait_s)
                    if failure.is_final or failure.wait_s > policy.longest_asked_s:
                        open_addresses.remove(url)
            if not open_addresses:
                break
            if backoff_s is not None:
                time.sleep(max(backoff_s, min(asked_s, policy.longest_asked_s)))
    said = "\n       ".join(f"{url}: {failure}" for url, failure in failures.items())
    fix = "run the same command again later: it goes on where it stopped"
    expected = str(wanted) if wanted else None
    raise DataError(Problem(where, "could not be fetched", expected, said, fix, code="corpora.fetch_failed"))


class _Attempt:
    """One attempt at one address after the other to complete the same partial file."""

    def __init__(
        self, path: Path, wanted: Identity | None, timeout_s: float, advance: Callable[[int], None]
    ) -> None:
        self.path = path
        self.partial = path.with_name(f"{path.name}.partial")
        self.wanted = wanted
        self.size = wanted.size if wanted else None
        self.timeout_s = timeout_s
        self.advance = advance
        self.shown = 0

    def fetch(self, url: str) -> None:
        """Completes the partial file, and gives it its name when it is right."""
        begun = self.partial.stat().st_size if self.partial.exists() else 0
        if self.size is None or begun < self.size:
            self._append(url, begun)
        self._check(was_resumed=begun > 0)
        self.partial.replace(self.path)

    def _append(self, url: str, begun: int) -> None:
        import httpx2

        headers = {
            "Accept-Encoding": "identity",
            "User-Agent": f"dialoguellm-release/{version('dialoguellm-release')}",
            **({"Range": f"bytes={begun}-"} if begun else {}),
        }
        hopeless = (httpx2.InvalidURL, httpx2.UnsupportedProtocol, httpx2.TooManyRedirects)
        try:
            with httpx2.stream(
                "GET", url, headers=headers, timeout=self.timeout_s, follow_redirects=True
            ) as response:
                self._write(response, begun)
        except httpx2.TimeoutException as error:
            raise _Failed(f"did not answer within {self.timeout_s:g} s") from error
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            what = str(error) or type(error).__name__
            raise _Failed(what, is_final=isinstance(error, hopeless)) from error

    def _write(self, response: Response, begun: int) -> None:
        """Appends what a server sends, or starts again where the server does not resume."""
        if response.status_code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            self.partial.unlink(missing_ok=True)
            raise _Failed("has no more than what was there already", is_final=not begun)
        _refuse_status(response)
        start, total = _extent(response)
        if start not in (0, begun):
            raise _Failed(f"sent the bytes from {start}, asked for those from {begun}", is_final=True)
        limit = MAX_BYTES if self.size is None else self.size
        if total is not None and (total > limit or self.size not in (None, total)):
            raise _Failed(f"has a file of {total} bytes", is_final=True)
        try:
            self._copy(response, start, limit)
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self.partial)) from error
        if total is not None and self.shown < total:
            raise _Failed(f"sent {self.shown} of {total} bytes")

    def _copy(self, response: Response, start: int, limit: int) -> None:
        """Writes what arrives as it arrives, so that nothing is lost when the connection breaks."""
        import httpx2

        with self.partial.open("ab" if start else "wb") as file:
            self._show(start)
            try:
                for chunk in response.iter_bytes():
                    file.write(chunk)
                    self._show(self.shown + len(chunk))
                    if self.shown > limit:
                        break
            except httpx2.TimeoutException as error:
                raise _Failed(f"sent nothing for {self.timeout_s:g} s after {self.shown} bytes") from error
            except httpx2.HTTPError as error:
                raise _Failed(f"cut the connection after {self.shown} bytes") from error
        if self.shown > limit:
            self.partial.unlink()
            raise _Failed(f"sends more than {limit} bytes", is_final=True)

    def _show(self, size: int) -> None:
        self.advance(size - self.shown)
        self.shown = size

    def _check(self, *, was_resumed: bool) -> None:
        """Removes what has another hash; a file of two halves may be wrong because the first one is old."""
        content = self.partial.read_bytes()
        if self.wanted is None or self.wanted.fits(content):
            return
        if self.size is not None and len(content) < self.size:
            raise _Failed(f"sent {len(content)} of {self.size} bytes")
        self.partial.unlink()
        raise _Failed(f"sent another file: {self.wanted.of(content)}", is_final=not was_resumed)


def _refuse_status(response: Response) -> None:
    status = response.status_code
    if status in (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT):
        return
    what = f"answered {status} {response.reason_phrase}"
    if status not in PASSING_STATUS:
        raise _Failed(what, is_final=True)
    wait_s = retry_after_s(response.headers) or 0.0
    raise _Failed(what + (f" and asks to wait {wait_s:.0f} s" if wait_s else ""), wait_s=wait_s)


def _extent(response: Response) -> tuple[int, int | None]:
    """Where the content of a response begins in the file, and the size of the file, if stated."""
    if response.status_code == HTTPStatus.PARTIAL_CONTENT:
        match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
        if match is None:
            raise _Failed("sent a part of the file without saying which", is_final=True)
        return int(match[1]), None if match[2] == "*" else int(match[2])
    length = response.headers.get("Content-Length", "")
    is_plain = length.isdigit() and "Content-Encoding" not in response.headers
    return 0, int(length) if is_plain else None
