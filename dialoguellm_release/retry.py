"""Retries: how often and how long after a failure, and what a server says in `Retry-After`.

Why no library: `tenacity` brings the loop, of which there are ten lines here, but reads no `Retry-After`.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TypeVar

Result = TypeVar("Result")

PASSING_STATUS = frozenset({408, 409, 425, 429, 500, 502, 503, 504})
"""HTTP status codes after which the same request may succeed a little later."""


@dataclass(frozen=True)
class RetryPolicy:
    """How often a request is sent and how long to wait between two attempts."""

    attempts: int = 6  # including the first one
    first_wait_s: float = 1.0  # after the first failure; doubles with each further one
    longest_backoff_s: float = 8.0  # the doubling stops here
    longest_asked_s: float = 600.0  # a server that asks for a longer wait is not asked again
    jitter: float = 0.0  # share of a wait that is drawn at random, so that many clients do not return at once

    def wait_s(self, failures: int, asked_s: float | None = None) -> float:
        """How long to wait after so many failures: what the server asks for, else exponential back-off."""
        if asked_s is not None:
            return asked_s
        backoff_s = min(self.longest_backoff_s, self.first_wait_s * 2.0 ** (min(failures, 64) - 1))
        return backoff_s * (1 - self.jitter * random.random())

    def waits(self) -> Iterator[float]:
        """The waits between the attempts, where no server asks for another."""
        return (self.wait_s(failures) for failures in range(1, self.attempts))

    def call(
        self,
        request: Callable[[], Result],
        failures: tuple[type[Exception], ...],
        pause: Callable[[Exception, float], None],
    ) -> Result:
        """The result of a repeatable request; `pause` raises where another attempt is of no use."""
        for wait_s in self.waits():
            try:
                return request()
            except failures as error:
                pause(error, wait_s)
        return request()


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Seconds that a server asks to wait; None where it does not say, or not in a form that is known.

    `retry-after-ms` (as OpenAI sends it) is preferred; `Retry-After` may be seconds, a fraction, or a date
    (RFC 9110, section 10.2.3). A date that has passed is 0.

    >>> retry_after_s({"Retry-After": "1.5"}), retry_after_s({"retry-after-ms": "20"})
    (1.5, 0.02)
    >>> date = "Thu, 01 Jan 1970 00:00:00 GMT"
    >>> retry_after_s({"Retry-After": date}), retry_after_s({"Retry-After": "soon"})
    (0.0, None)
    """
    named = {name.lower(): value.strip() for name, value in headers.items()}
    for name, unit_s in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        with suppress(KeyError, ValueError):
            value = float(named[name]) * unit_s
            if math.isfinite(value) and value >= 0:
                return value
    with suppress(KeyError, ValueError, TypeError, OverflowError):
        until = parsedate_to_datetime(named["retry-after"])
        until = until if until.tzinfo else until.replace(tzinfo=UTC)
        return max(0.0, (until - datetime.now(UTC)).total_seconds())
    return None
