"""What is wrong with one line of a corpus, said where it is found and placed where the line is known."""

from __future__ import annotations

from dialoguellm_release.errors import Problem

MAX_DIGITS = 9
"""A number of more digits is a fault of the file, and Python refuses to read one of thousands."""


class Fault(Exception):
    """A fault of one row or line; the loop that knows file and line makes it a problem and reads on."""

    def __init__(
        self,
        what: str,
        expected: str | None = None,
        got: str | None = None,
        fix: str | None = None,
        code: str = "corpora.wrong_value",
    ) -> None:
        super().__init__(what)
        self.what = what
        self.expected = expected
        self.got = got
        self.fix = fix
        self.code = code

    def at(self, where: str) -> Problem:
        """The fault as a problem of a place."""
        return Problem(where, self.what, self.expected, self.got, self.fix, code=self.code)


def whole_number(cell: str, name: str) -> int:
    """A cell as a number from 0.

    Raises:
        Fault: It is none.
    """
    if not (cell.isascii() and cell.isdigit() and len(cell) <= MAX_DIGITS):
        raise Fault(f"{name} is not a whole number", got=repr(cell))
    return int(cell)
