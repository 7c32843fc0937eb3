"""Requests to the Hub that are tried again where that helps, and failures in the words of a problem."""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import httpx2
from huggingface_hub import get_token
from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError, OfflineModeIsEnabled
from huggingface_hub.utils import parse_ratelimit_headers

from dialoguellm_release.errors import Problem, PublishError
from dialoguellm_release.hub.targets import UNFINISHED
from dialoguellm_release.retry import PASSING_STATUS, RetryPolicy, retry_after_s

Result = TypeVar("Result")

_POLICY = RetryPolicy(attempts=6, first_wait_s=1.0, longest_backoff_s=8.0, longest_asked_s=600.0)
_PASSING_STATUS = PASSING_STATUS - {409, 425}
FAILURES = (HfHubHTTPError, httpx2.TransportError, json.JSONDecodeError)
"""What a request to the Hub may end in. The answer of a proxy in trouble is no JSON, and some answers are
read by `huggingface_hub` before their status."""

_REFUSALS_AS_VALUE_ERRORS = ("Invalid metadata in README.md", "LFS batch API returned errors")
_QUERY = re.compile(r"(?<=[\w/])\?[^\s'\"<>]+")
_TOKEN = re.compile(r"\bhf_\w+")

logger = logging.getLogger(__name__)


def patiently(call: Callable[[], Result]) -> Result:
    """What a call gives, tried up to six times where the failure may pass; `Retry-After` is honoured.

    Why: `huggingface_hub` does the same by itself for uploads and listings, but not for requests that make
    or change something. The call must do no harm when it is made twice.
    """

    def pause_or_raise(error: Exception, wait_s: float) -> None:
        if not may_pass(error):
            raise error
        pause(error, wait_s)

    return _POLICY.call(call, FAILURES, pause_or_raise)


def waits() -> Iterator[float]:
    """How long to wait after each failure, in seconds."""
    return _POLICY.waits()


def may_pass(error: Exception) -> bool:
    """Whether the same request may succeed a little later."""
    if isinstance(error, HfHubHTTPError):
        return error.response.status_code in _PASSING_STATUS
    return isinstance(error, FAILURES)


def is_stale(error: Exception) -> bool:
    """Whether a commit was refused because there is another one on top of its parent."""
    return isinstance(error, HfHubHTTPError) and error.response.status_code == 412


def pause(error: Exception, wait_s: float) -> None:
    """Waits as long as the Hub asks for, else for `wait_s` seconds.

    Raises:
        PublishError: The Hub asks for more than ten minutes.
    """
    asked_s = _asked_wait_s(error)
    if asked_s is not None and asked_s > _POLICY.longest_asked_s:
        problem = Problem(
            "the Hub", f"asks to wait for {asked_s:.0f} s", fix="run the same command again then"
        )
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
def told(where: str) -> Iterator[None]:
    """Turns failures of the Hub, the line and the token into a `PublishError`; others pass.

    Args:
        where: The repository that it is about.
    """
    try:
        yield
    except HfHubHTTPError as error:
        raise PublishError(_refusal(error, where), UNFINISHED) from error
    except LocalTokenNotFoundError as error:
        raise PublishError(no_token(), "nothing was changed") from error
    except (httpx2.TransportError, OfflineModeIsEnabled) as error:
        raise PublishError(_broken_line(error, where), UNFINISHED) from error
    except json.JSONDecodeError as error:
        problem = Problem(where, "the Hub's answer cannot be read", fix="run the same command again later")
        raise PublishError(problem, UNFINISHED) from error
    except ValueError as error:
        if not str(error).startswith(_REFUSALS_AS_VALUE_ERRORS):
            raise
        got = without_secrets(str(error))
        raise PublishError(Problem(where, "the Hub refused", got=got), UNFINISHED) from error
    except RuntimeError as error:
        # An upload that failed is wrapped by huggingface_hub, with its cause.
        if error.__cause__ is None or not str(error).startswith("Error while uploading"):
            raise
        with told(f"{where}: {_first_line(error)}"):
            raise error.__cause__ from None


def no_token() -> Problem:
    """There is no token on this machine."""
    return Problem("HF_TOKEN", "no token was found", fix="hf auth login, with a token that may write")


def _refusal(error: HfHubHTTPError, where: str) -> Problem:
    status = error.response.status_code
    got = f"{status}: {without_secrets(error.server_message or str(error))}"
    if status == 401:
        fix = "hf auth login, or put a valid token into HF_TOKEN"
        return Problem(
            where, "the Hub does not accept the token: it is wrong or has expired", got=got, fix=fix
        )
    if status == 403:
        return Problem(where, "the token may not do this", got=got, fix="use a token that may write there")
    if status == 404:
        return Problem(where, "is not there, or may not be seen with this token", got=got)
    if status in _PASSING_STATUS:
        return Problem(
            where, "the Hub fails again and again", got=got, fix="run the same command again later"
        )
    return Problem(where, "the Hub refused", got=got)


def _broken_line(error: Exception, where: str) -> Problem:
    got = f"{type(error).__name__}: {without_secrets(str(error))}"
    return Problem(where, "the Hub cannot be reached", got=got, fix="run the same command again")


def without_secrets(text: str) -> str:
    """A text without tokens, and without what signs an address."""
    token = get_token()
    text = text.replace(token, "...") if token else text
    return _TOKEN.sub("hf_...", _QUERY.sub("", text))


def _first_line(error: Exception) -> str:
    return without_secrets(str(error).strip().partition("\n")[0] or type(error).__name__)
