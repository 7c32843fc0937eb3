"""Failures of the Hub and of its Xet storage as problems, and requests that are tried again."""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from typing import TypeVar

import httpx2
from huggingface_hub import constants, get_token
from huggingface_hub.errors import (
    FileMetadataError,
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    LocalTokenNotFoundError,
    OfflineModeIsEnabled,
)
from huggingface_hub.utils import parse_ratelimit_headers

from dialoguellm_release.errors import Problem, PublishError
from dialoguellm_release.hub.store import UNCHANGED, UNFINISHED
from dialoguellm_release.retry import PASSING_STATUS, RetryPolicy, retry_after_s

Result = TypeVar("Result")

POLICY = RetryPolicy(attempts=6, first_wait_s=1.0, longest_backoff_s=8.0, longest_asked_s=600.0)
_PASSING_STATUS = PASSING_STATUS - {409, 425}
FAILURES = (HfHubHTTPError, httpx2.TransportError, json.JSONDecodeError)
"""What a request to the Hub may raise. The page of a proxy in trouble is not JSON, and `huggingface_hub`
reads some answers before their status."""

NOT_SUPPORTED = (404, 405, 501)
"""The status of an endpoint that a Hub does not have."""

_REFUSALS_AS_VALUE_ERRORS = ("Invalid metadata in README.md", "LFS batch API returned errors")
_QUERY = re.compile(r"(?<=[\w/])\?[^\s'\"<>]+")
_TOKEN = re.compile(r"\bhf_\w+")
_QUOTA = re.compile(r"storage (limit|quota)|quota|billing|payment required", re.IGNORECASE)
_XET_STATUS = re.compile(r"\((\d{3}) [A-Z]")
_RUN_AGAIN = "run the same command again"

logger = logging.getLogger(__name__)


def retry(call: Callable[[], Result]) -> Result:
    """The result of a repeatable call, tried up to six times where the failure may pass.

    Why: `huggingface_hub` retries uploads and listings itself, but not requests that create or change
    something.
    """

    def pause_or_raise(error: Exception, wait_s: float) -> None:
        if not is_transient(error):
            raise error
        pause(error, wait_s)

    return POLICY.call(call, FAILURES, pause_or_raise)


def is_transient(error: Exception) -> bool:
    """Whether the same request may succeed a little later."""
    if isinstance(error, HfHubHTTPError):
        return error.response.status_code in _PASSING_STATUS
    return isinstance(error, FAILURES)


def status_of(error: BaseException | None) -> int | None:
    """The HTTP status of a failure; None where there is none."""
    return error.response.status_code if isinstance(error, HfHubHTTPError) else None


def pause(error: Exception, wait_s: float) -> None:
    """Waits as long as the Hub asks for, up to ten minutes, else for `wait_s` seconds."""
    asked_s = _asked_wait_s(error)
    if asked_s is not None and asked_s > POLICY.longest_asked_s:
        what = f"asks to wait for {asked_s:.0f} s"
        problem = Problem("the Hub", what, fix=f"{_RUN_AGAIN} then", code="hub.asks_to_wait")
        raise PublishError(problem, UNFINISHED) from error
    wait_s = wait_s if asked_s is None else asked_s
    logger.warning("%s; trying again in %.0f s", _first_line(error), wait_s)
    time.sleep(wait_s)


def _asked_wait_s(error: Exception) -> float | None:
    if not isinstance(error, HfHubHTTPError):
        return None
    limit = parse_ratelimit_headers(error.response.headers)
    if error.response.status_code == 429 and limit and limit.remaining == 0:
        return float(limit.reset_in_seconds)
    return retry_after_s(error.response.headers)


@contextmanager
def hub_errors(where: str, *, writing: bool = False) -> Iterator[None]:
    """Turns failures of the Hub, its Xet storage, the connection and the token into a `PublishError`."""
    try:
        yield
    except (OSError, RuntimeError, ValueError, LookupError, TypeError, httpx2.HTTPError) as error:
        problem = _problem(error, where, writing=writing)
        if problem is None:
            raise
        raise PublishError(problem, UNFINISHED if writing else UNCHANGED) from error


def _is_unexpected_answer(error: BaseException) -> bool:
    """Whether `huggingface_hub` failed on an answer that lacks what it reads, as that of a redirect."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    module = trace.tb_frame.f_globals.get("__name__", "") if trace is not None else ""
    return isinstance(error, KeyError | IndexError | TypeError) and module.startswith("huggingface_hub")


def _problem(error: BaseException, where: str, *, writing: bool) -> Problem | None:
    """A failure as a problem; None where it is of another kind, such as a full disk."""
    cause = error.__cause__
    if isinstance(error, LocalEntryNotFoundError | RuntimeError) and cause is not None:
        # What huggingface_hub wraps: a download whose metadata did not arrive, an upload that failed.
        inner = f"{where}: {_first_line(error)}" if isinstance(error, RuntimeError) else where
        found = _problem(cause, inner, writing=writing)
        if found is not None or isinstance(error, RuntimeError):
            return found
    if isinstance(error, HfHubHTTPError):
        return _refusal(error, where, writing=writing)
    if isinstance(error, LocalTokenNotFoundError):
        return no_token(writing=writing)
    if isinstance(error, (httpx2.TransportError, OfflineModeIsEnabled, LocalEntryNotFoundError)):
        got = f"{type(error).__name__}: {without_secrets(str(error))}"
        return Problem(where, "the Hub cannot be reached", got=got, fix=_RUN_AGAIN, code="hub.unreachable")
    if isinstance(error, json.JSONDecodeError | FileMetadataError) or _is_unexpected_answer(error):
        what = "the Hub's answer cannot be read"
        got = f"{type(error).__name__}: {_first_line(error)}"
        return Problem(where, what, got=got, fix=f"{_RUN_AGAIN} later", code="hub.unreadable")
    if isinstance(error, ValueError) and str(error).startswith(_REFUSALS_AS_VALUE_ERRORS):
        got = without_secrets(str(error))
        return Problem(where, "the Hub refused", got=got, code="hub.refused")
    if uses_xet() and _is_of_xet(error):
        return _xet_problem(where, without_secrets(str(error)))
    return None


def no_token(*, writing: bool = True) -> Problem:
    """There is no token on this machine."""
    fix = "hf auth login, with a token that may write" if writing else "hf auth login"
    return Problem("HF_TOKEN", "no token was found", fix=fix, code="hub.no_token")


def _refusal(error: HfHubHTTPError, where: str, *, writing: bool) -> Problem:
    status = error.response.status_code
    said = without_secrets(error.server_message or str(error))
    if "/xet-" in _url_of(error):
        return _xet_problem(where, f"({status} {error.response.reason_phrase}) {said}", status)
    what, fix, code = "the Hub refused", None, "hub.refused"
    if isinstance(error, GatedRepoError):
        what, code = "is gated, and this token has no access", "hub.gated"
        fix = f"ask for access at {where}, then log in as the account that has it (hf auth login)"
    elif status in (402, 403, 413) and _QUOTA.search(said):
        what, code = "the storage of its owner is full", "hub.storage_full"
        fix = "free storage of the owner of the repository, or raise its limit"
    elif status == 401:
        what, code = "the Hub does not accept the token: it is wrong or has expired", "hub.bad_token"
        fix = "hf auth login, or put a valid token into HF_TOKEN"
    elif status == 403:
        right = "write there" if writing else "read it"
        what, fix, code = f"the token may not {right}", f"use a token that may {right}", "hub.no_permission"
    elif status == 404:
        what, code = "was not found, or this token may not see it", "hub.not_found"
    elif status in _PASSING_STATUS:
        what, fix, code = "the Hub keeps failing", f"{_RUN_AGAIN} later", "hub.keeps_failing"
    return Problem(where, what, got=f"{status}: {said}", fix=fix, code=code)


def _url_of(error: HfHubHTTPError) -> str:
    with suppress(RuntimeError):  # Where the response was made without a request.
        return str(error.response.url)
    return ""


def uses_xet() -> bool:
    """Whether `huggingface_hub` transfers large files by Xet, and not by LFS."""
    return not constants.HF_HUB_DISABLE_XET and find_spec("hf_xet") is not None


def _is_of_xet(error: BaseException) -> bool:
    """Whether `hf_xet` raised it: like the system's errors, but without a number."""
    if str(error).startswith("Xet headers"):
        return True
    if isinstance(error, RuntimeError):
        return str(error).startswith(("Internal error: ", "Task error: "))
    return isinstance(error, OSError) and error.errno is None and not str(error).startswith("I/O error")


def _xet_problem(where: str, said: str, status: int | None = None) -> Problem:
    found = _XET_STATUS.search(said)
    status = status or (int(found[1]) if found else None)
    what, code = "failed", "hub.xet_failed"
    without = "set HF_HUB_DISABLE_XET=1 to transfer files without Xet"
    fix = f"{_RUN_AGAIN}; if it keeps failing, {without}"
    if status in (401, 403):
        what, code = "does not accept the token", "hub.xet_refused"
        fix = f"hf auth login, then {_RUN_AGAIN}; or {without}"
    elif status == 404:
        what, code = "was not found; not every Hub has one", "hub.xet_not_found"
        fix = f"{without}, and {_RUN_AGAIN}"
    return Problem(f"Xet storage of {where}", what, got=said, fix=fix, code=code)


def without_secrets(text: str) -> str:
    """A text without tokens and without signatures of addresses."""
    token = get_token()
    text = text.replace(token, "...") if token else text
    return _TOKEN.sub("hf_...", _QUERY.sub("", text))


def _first_line(error: BaseException) -> str:
    return without_secrets(str(error).strip().partition("\n")[0] or type(error).__name__)
