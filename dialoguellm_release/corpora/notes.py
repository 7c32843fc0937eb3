"""What readers note while they read: faults of lines, files, counts and repairs."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from dialoguellm_release.errors import DataError, Problem
from dialoguellm_release.schemas.labels import Split
from dialoguellm_release.schemas.manifests import FileStamp

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
    """A cell as a number from 0."""
    if not (cell.isascii() and cell.isdigit() and len(cell) <= MAX_DIGITS):
        raise Fault(f"{name} is not a whole number", got=repr(cell), code="corpora.not_a_number")
    return int(cell)


MAX_PROBLEMS = 20


@dataclass
class Notes:
    """The files that were read, the counts in them, and everything that was mended or is wrong.

    Attributes:
        files: Every file that was opened.
        unknown_files: Paths of those whose hash the registry does not know; none where it knows no file
            of the corpus.
        public_dialogues: Dialogues per split as they stand in the files, before any repair;
            the key None is a corpus without a split.
        public_utterances: Utterances per split, counted in the same way.
        repairs: How often each named rule mended or dropped something.
        problems: What makes the corpus unusable; `check` raises them together.
    """

    files: list[FileStamp] = field(default_factory=list)
    unknown_files: list[str] = field(default_factory=list)
    public_dialogues: Counter[Split | None] = field(default_factory=Counter)
    public_utterances: Counter[Split | None] = field(default_factory=Counter)
    repairs: Counter[str] = field(default_factory=Counter)
    problems: list[Problem] = field(default_factory=list)

    def check(self) -> None:
        """Raises what was found so far."""
        if not self.problems:
            return
        more = len(self.problems) - MAX_PROBLEMS
        shown = self.problems[:MAX_PROBLEMS]
        if more > 0:
            shown = [*shown, Problem("and so on", f"{more} more problems like these", code="corpora.more")]
        raise DataError(shown)
