"""What became of each check of a release: passed, failed with problems, or not made and why."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from dialoguellm_release.errors import Problem

Outcome = Literal["pass", "fail", "not checked"]


@dataclass(frozen=True)
class Verdict:
    """One check.

    Attributes:
        name: What was checked, in one or two words.
        note: What was looked at, or why it was not.
        problems: What is wrong; empty unless it failed.
    """

    name: str
    outcome: Outcome
    note: str = ""
    problems: tuple[Problem, ...] = ()


def verdict_on(name: str, problems: Iterable[Problem], note: str = "") -> Verdict:
    """A verdict that passes where there is no problem."""
    found = tuple(problems)
    return Verdict(name, "fail" if found else "pass", note, found)


def not_checked(name: str, why: str) -> Verdict:
    """A verdict on what could not be looked at."""
    return Verdict(name, "not checked", why)


def problems_of(verdicts: Sequence[Verdict]) -> list[Problem]:
    """Everything that is wrong, in the order of the checks."""
    return [problem for verdict in verdicts for problem in verdict.problems]


def counted(count: int, thing: str) -> str:
    """A number of things in words.

    >>> counted(1, "file"), counted(2_000, "file")
    ('1 file', '2,000 files')
    """
    return f"{count:,} {thing}" + ("" if count == 1 else "s")
