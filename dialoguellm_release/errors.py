"""The errors that a user can mend.

ReleaseError
├── RecipeError         a recipe is wrong
├── DataError           a corpus, a dataset folder or a record is wrong
├── CardError           a card cannot be rendered or is not accepted
├── PublishError        a target refuses, or a gate does
└── MissingExtraError   a library of an extra is not installed

A broken invariant of this package is an ordinary exception, with its traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from pydantic import ValidationError

Name = TypeVar("Name")
LONGEST_SHOWN = 2_000
"""Characters of an expected or found value that a message shows."""

MAX_SHOWN = 25
"""So many problems of an error are shown; it holds them all."""


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong: where, what, what was expected, what was found, what to do.

    Args:
        code: Stable name of the kind of problem, `room.kind`; the wording may change, the code does not.
        where: A file with line and column where there is one, else the place in the user's terms.
        what: The fault in one clause.
        expected: What would have been right; None where there is nothing to add to `what`.
        got: What was found instead, in full; None likewise.
        fix: The next step for the user; None where `what` already says it.
    """

    where: str
    what: str
    expected: str | None = None
    got: str | None = None
    fix: str | None = None
    code: str = field(kw_only=True)

    def __str__(self) -> str:
        lines = [f"{self.where}: {visible(self.what)}"]
        for name, value in (("expected", self.expected), ("got", self.got), ("to do", self.fix)):
            if value is not None:
                rest = f" ... ({len(value):,} characters)" if len(value) > LONGEST_SHOWN else ""
                lines.append(f"  {name}: {visible(value[:LONGEST_SHOWN])}{rest}")
        return "\n".join(lines)


def visible(text: str) -> str:
    r"""The text with characters that cannot be seen by their names; line breaks and plain spaces stay.

    >>> visible("\ufeffid"), visible("a\xa0b")
    ('<U+FEFF ZERO WIDTH NO-BREAK SPACE>id', 'a<U+00A0 NO-BREAK SPACE>b')
    """
    return text if text.isascii() and text.isprintable() else "".join(map(_visible, text))


def _visible(character: str) -> str:
    import unicodedata

    if character.isprintable() or character == "\n":
        return character
    name = unicodedata.name(character, "")
    return f"<U+{ord(character):04X}{f' {name}' if name else ''}>"


def problems_of(
    error: ValidationError, where: str, what: str, *, code: str, fix: str | None = None
) -> tuple[Problem, ...]:
    """One problem for each value that pydantic refused; `what` is as in "not a manifest of a dataset"."""
    found = ((".".join(map(str, one["loc"])), one["msg"]) for one in error.errors(include_url=False))
    return tuple(
        Problem(where, ": ".join(filter(None, (what, path, message))), fix=fix, code=code)
        for path, message in found
    )


class ReleaseError(Exception):
    """A mistake that the user can mend, with every problem that could be found at once.

    Args:
        problems: One problem or several, in the order in which they are shown.
        outcome: What became of the step.
        table: The problems in their surroundings, as lines of text; empty for none.
    """

    def __init__(
        self, problems: Problem | Sequence[Problem], outcome: str = "nothing was written", table: str = ""
    ) -> None:
        self.problems = (problems,) if isinstance(problems, Problem) else tuple(problems)
        if not self.problems:
            raise ValueError("a ReleaseError needs at least one problem")
        self.outcome = outcome
        self.table = table
        super().__init__(str(self))

    def __str__(self) -> str:
        count = len(self.problems)
        total = f"{count:,} problem{'s' if count > 1 else ''}; {self.outcome}."
        more = f"and {count - MAX_SHOWN:,} more" if count > MAX_SHOWN else ""
        return "\n".join([*map(str, self.problems[:MAX_SHOWN]), *filter(None, [more, self.table]), total])


class RecipeError(ReleaseError):
    """A recipe cannot be found, read or accepted."""


class DataError(ReleaseError):
    """A corpus, a dataset folder or a record is not what it should be."""


class CardError(ReleaseError):
    """A card cannot be rendered, or the Hub would not accept it."""


class PublishError(ReleaseError):
    """A release may not or cannot be published."""


class MissingExtraError(ReleaseError):
    """A library that the step needs is not installed.

    Args:
        extra: The extra of this package that brings the library.
        library: The name of the module that could not be imported.
    """

    def __init__(self, extra: str, library: str) -> None:
        what, fix = f"this step needs the extra '{extra}'", f"pip install 'dialoguellm-release[{extra}]'"
        super().__init__(Problem(f"import {library}", what, fix=fix, code="extra.missing"))


@contextmanager
def needing(extra: str) -> Iterator[None]:
    """Imports of what an extra of this package brings; a `MissingExtraError` where it is not installed."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise MissingExtraError(extra, str(error.name)) from error


def one_of(argument: str, value: Name | str, known: Iterable[Name]) -> Name:
    """A value that is one of some known names; a DataError with what the caller calls it where it is none."""
    names = list(known)
    for name in names:
        if name == value:
            return name
    near = difflib.get_close_matches(str(value), map(str, names), n=1)
    what = f"{value!r} is not known" + (f"; did you mean {near[0]}?" if near else "")
    raise DataError(Problem(argument, what, ", ".join(map(str, names)), code="argument.unknown_name"))
