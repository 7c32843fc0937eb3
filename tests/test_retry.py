"""When a request is sent again, and what servers say in `Retry-After`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from dialoguellm_release.retry import RetryPolicy, retry_after_s


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"Retry-After": "37"}, 37.0),
        ({"retry-after": " 0.5 "}, 0.5),
        ({"Retry-After-Ms": "20"}, 0.02),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after-ms": "soon", "retry-after": "9"}, 9.0),
        ({"Retry-After": "Thu, 01 Jan 1970 00:00:00 GMT"}, 0.0),
        ({"Retry-After": "0"}, 0.0),
        ({}, None),
        *(({"Retry-After": value}, None) for value in ("", "soon", "-5", "nan", "inf", "1e999", "1;2")),
    ],
)
def test_what_a_server_asks_for(headers: dict[str, str], expected: float | None) -> None:
    assert retry_after_s(headers) == expected


@pytest.mark.parametrize("zone", ["GMT", "-0000"])
def test_a_date_is_a_wait(zone: str) -> None:
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=90)).replace("+0000", zone)
    found = retry_after_s({"Retry-After": later})
    assert found is not None
    assert 85 < found <= 90


def test_waits_double_up_to_a_limit() -> None:
    assert list(RetryPolicy(attempts=6).waits()) == [1.0, 2.0, 4.0, 8.0, 8.0]
    assert RetryPolicy().wait_s(3, asked_s=0.25) == 0.25
    assert RetryPolicy().wait_s(100_000) == 8.0
    drawn = [RetryPolicy(jitter=0.5).wait_s(3) for _ in range(100)]
    assert 2.0 <= min(drawn) < max(drawn) <= 4.0


@pytest.mark.parametrize("failing", [0, 2, 3])
def test_a_request_is_repeated_until_it_succeeds_or_the_attempts_are_used_up(failing: int) -> None:
    sent: list[int] = []
    waited: list[float] = []

    def request() -> str:
        sent.append(1)
        if len(sent) <= failing:
            raise ConnectionError
        return "answer"

    policy = RetryPolicy(attempts=3)
    if failing == 3:
        with pytest.raises(ConnectionError):
            policy.call(request, (ConnectionError,), lambda _error, wait_s: waited.append(wait_s))
    else:
        assert policy.call(request, (ConnectionError,), lambda _, wait_s: waited.append(wait_s)) == "answer"
    assert len(sent) == min(failing + 1, 3)
    assert waited == [1.0, 2.0][:failing]
