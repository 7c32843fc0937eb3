"""Faults that a test asks for: which request goes wrong, and how."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Fault:
    """What happens to requests of one kind (`Endpoint.kind`, such as `commit` or `lfs_upload`).

    Attributes:
        first: The first request that it happens to, counted from 1 since the fault was added.
        times: How many requests in a row.
        containing: Only requests whose path holds this text are counted.
        status: The answer; the request then has no effect. None for the true answer.
        headers: Of that answer, such as `Retry-After`.
        body: Of that answer; None is the Hub's JSON with an error.
        cut_request_after: The connection ends after so many bytes of the request's body; no effect.
        cut_answer_after: The connection ends after so many bytes of the answer's body; the effect stays.
        lose_answer: The connection ends without an answer; the effect stays.
        delay_s: How long the server waits first.
        before: Called before the request has its effect.
        after: Called once it has it, before the answer.
    """

    kind: str
    first: int = 1
    times: int = 1
    containing: str = ""
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    cut_request_after: int | None = None
    cut_answer_after: int | None = None
    lose_answer: bool = False
    delay_s: float = 0.0
    before: Callable[[], object] | None = None
    after: Callable[[], object] | None = None


class Faults:
    """The faults of a server; each counts the requests of its kind."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counted: list[tuple[Fault, list[int]]] = []

    def add(self, fault: Fault) -> None:
        with self._lock:
            self._counted.append((fault, [0]))

    def clear(self) -> None:
        with self._lock:
            self._counted.clear()

    def hit(self, kind: str, path: str) -> Fault | None:
        """The fault that a request runs into, if any; the one that was added first."""
        found = None
        with self._lock:
            for fault, count in self._counted:
                if fault.kind != kind or fault.containing not in path:
                    continue
                count[0] += 1
                if found is None and fault.first <= count[0] < fault.first + fault.times:
                    found = fault
        return found
