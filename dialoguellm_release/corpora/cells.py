"""Cells of native files: texts on one line, broken characters, times, labels; and what is wrong in them."""

from __future__ import annotations

import difflib
import json
import re
import unicodedata
from collections import Counter
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

from dialoguellm_release.errors import DataError, Problem
from dialoguellm_release.schemas.corpus import CorpusEntry
from dialoguellm_release.schemas.labels import Label, Split
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
        self._problem = Problem("", what, expected, got, fix, code=code)

    def at(self, where: str) -> Problem:
        """The fault as a problem of a place."""
        return replace(self._problem, where=where)


@lru_cache(10_000)
def whole_number(cell: str, name: str) -> int:
    """A cell as a number from 0; `2.0`, as pandas writes it, is 2."""
    cell = cell.removesuffix(".0")
    if not (cell.isascii() and cell.isdigit() and len(cell) <= MAX_DIGITS):
        raise Fault(f"{name} is not a whole number", got=repr(cell), code="corpora.not_a_number")
    return int(cell)


MAX_PROBLEMS = 20


@dataclass
class Notes:
    """The files that were read, the counts in them, and everything that was mended or is wrong."""

    files: list[FileStamp] = field(default_factory=list)  # every file that was opened
    # Paths of those whose hash the registry does not know; none where it knows no file of the corpus.
    unknown_files: list[str] = field(default_factory=list)
    # Dialogues per split as they stand in the files, before any repair; the key None is a corpus
    # without a split.
    public_dialogues: Counter[Split | None] = field(default_factory=Counter)
    # Utterances per split, counted in the same way.
    public_utterances: Counter[Split | None] = field(default_factory=Counter)
    # How often each named rule mended or dropped something.
    repairs: Counter[str] = field(default_factory=Counter)
    # What makes the corpus unusable; `check` raises them together.
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


_C1 = re.compile("[\x80-\x9f]")
_CP1252 = {code: bytes([code]).decode("cp1252", errors="ignore") or chr(code) for code in range(0x80, 0xA0)}

_RUNS = re.compile("[\x00-\x20\x7f-\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+")
"""White space of any script, line and paragraph separators, and control characters."""

_NOT_ASCII = re.compile("[\x80-\xff]+")
_LOST_CAPITALS: tuple[dict[int, str], ...] = ({}, {ord("ã"): "Ã"}, {ord("ã"): "Ã", ord("â"): "Â"})


def one_line(text: str) -> str:
    r"""The text with every run of white space and control characters as one space, and none around it.

    >>> one_line(" First line\r\nsecond\x85 line ")
    'First line second line'
    """
    return _RUNS.sub(" ", text).strip()


def is_blank(text: str) -> bool:
    r"""Whether a text has nothing to read: white space, control and format characters alone.

    >>> is_blank(" \u200b\ufeff"), is_blank("\u200f!")
    (True, False)
    """
    return all(char.isspace() or unicodedata.category(char) in ("Cc", "Cf") for char in text)


def check_unicode(text: str, name: str) -> str:
    """The text, which UTF-8 can encode; JSON can hold half of a surrogate pair, which is no character."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        what = f"{name} has half of a surrogate pair, which is no character"
        got, fix = f"{text[error.start]!a} at character {error.start + 1:,}", "write whole characters"
        raise Fault(what, "Unicode text", got, fix, "corpora.not_unicode") from error
    return text


def table_cell(value: Any, column: str, may_be_list: bool = False) -> str:
    """A JSON or Parquet value as the text that a CSV cell would have."""
    if isinstance(value, str):
        return value if value.isascii() else check_unicode(value, column)
    if value is None or value != value:  # NaN is what pandas writes for an empty cell
        return ""
    if isinstance(value, (bytes, dict)) or (isinstance(value, list) and not may_be_list):
        kind = "bytes" if isinstance(value, bytes) else "an object" if isinstance(value, dict) else "a list"
        fix, code = "write one text in each cell", "corpora.not_a_text"
        raise Fault(f"{column} is {kind}", "text or a number", repr(value)[:80], fix, code)
    return json.dumps(value, default=str, ensure_ascii=False)


def c1_as_cp1252(text: str) -> str:
    r"""The text with C1 control characters read as the cp1252 characters that they once were.

    Why: some files of public corpora hold cp1252 bytes read as latin-1 (`must\x92ve`). The five codes
    that cp1252 leaves open stay as they are.

    >>> c1_as_cp1252("must\x92ve")
    'must’ve'
    """
    return text if text.isascii() or not _C1.search(text) else text.translate(_CP1252)


def utf8_as_utf8(text: str) -> str:
    r"""The text with UTF-8 that was read as latin-1, once or several times, read as UTF-8.

    Why: some files hold such text, lower-cased afterwards, so that the lead bytes `Ã` and `Â` stand
    there as `ã` and `â`. A run of characters that makes no UTF-8 in any of these readings is left alone.

    >>> utf8_as_utf8("rã\x83â©sumã©")
    'résumé'
    """
    return text if text.isascii() else _NOT_ASCII.sub(_reread, text)


def _reread(run: re.Match[str]) -> str:
    for capitals in _LOST_CAPITALS:
        try:
            text = run.group().translate(capitals).encode("latin-1").decode("utf-8")
        except UnicodeDecodeError:
            continue
        return utf8_as_utf8(text)
    return run.group()


_CLOCK = re.compile(r"(\d{1,2}):([0-5]?\d):([0-5]?\d)[,.:](\d{1,3})", re.ASCII)


def seconds(clock: str) -> float:
    """Seconds of a clock time; what follows the last mark is a decimal fraction (`,82` is 0.82 s).

    >>> seconds("0:16:31,240"), seconds("00:02:27:589"), seconds("00:00:02.877")
    (991.24, 147.589, 2.877)
    """
    match = _CLOCK.fullmatch(clock)
    if match is None:
        expected = "hours:minutes:seconds,thousandths"
        raise Fault("not a time", expected, repr(clock), code="corpora.wrong_time")
    hours, minutes, whole, fraction = match.groups()
    return float(f"{int(hours) * 3600 + int(minutes) * 60 + int(whole)}.{fraction}")


NativeLabel = tuple[str, Label]


class NativeLabels:
    """Reads native labels, counts what it mends or drops, and refuses what no table knows."""

    def __init__(
        self, entry: CorpusEntry, notes: Notes, *, ignores_case: bool = False, may_be_empty: bool = False
    ) -> None:
        self._entry = entry
        self._repairs = notes.repairs
        self._ignores_case = ignores_case
        self._may_be_empty = may_be_empty

    def read_any(self, cell: str) -> NativeLabel | tuple[None, None]:
        """As `read_or_drop`; nothing also for an empty cell where it may be empty, which is counted."""
        if self._may_be_empty and not cell.strip():
            self._repairs[f"{self._entry.name}.no_label"] += 1
            return None, None
        return self.read_or_drop(cell) or (None, None)

    def read(self, cell: str) -> NativeLabel:
        """The native label, mended, and its canonical one."""
        found = self.read_or_drop(cell)
        if found is None:
            what, fix = "a label that names no emotion", "correct the label"
            raise Fault(what, got=repr(cell), fix=fix, code="corpora.dropped_label")
        return found

    def read_or_drop(self, cell: str) -> NativeLabel | None:
        """The native label, mended, and its canonical one; None for a dropped one, which is counted."""
        entry = self._entry
        native = cell
        if native not in entry.native_labels:
            native = self._mended(cell)
        if native in entry.dropped_labels:
            self._repairs[f"{entry.name}.dropped_label_{native}"] += 1
            return None
        label = entry.native_labels.get(native)
        if label is None:
            known, code = ", ".join(entry.native_labels), "corpora.unknown_label"
            raise Fault("unknown label", known, repr(cell), self._hint(native), code)
        return native, label

    def _mended(self, cell: str) -> str:
        name = self._entry.name
        native = cell.strip().lower() if self._ignores_case else cell
        if native != cell:
            self._repairs[f"{name}.label_case_or_space"] += 1
        if native in self._entry.spellings:
            self._repairs[f"{name}.label_respelled"] += 1
            return self._entry.spellings[native]
        return native

    def _hint(self, native: str) -> str:
        known = {label.lower(): label for label in self._entry.native_labels}
        nearest = difflib.get_close_matches(native.strip().lower(), known, n=1, cutoff=0.0)
        return f"did you mean {known[nearest[0]]}?"
