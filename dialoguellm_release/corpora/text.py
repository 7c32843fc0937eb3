"""Texts and times of native files: one line, characters that an older conversion broke, clock times."""

from __future__ import annotations

import re
import unicodedata

from dialoguellm_release.corpora.notes import Fault

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
    """The text, which UTF-8 can encode; JSON can hold half of a surrogate pair, which is no character.

    Raises:
        Fault: It has such a half.
    """
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise Fault(
            f"{name} has half of a surrogate pair, which is no character",
            expected="Unicode text",
            got=f"{text[error.start]!a} at character {error.start + 1:,}",
            fix="write the file again with whole characters",
            code="corpora.not_unicode",
        ) from error
    return text


def c1_as_cp1252(text: str) -> str:
    r"""The text with C1 control characters read as the cp1252 characters that they once were.

    Why: the older MELD files and MEISD hold cp1252 bytes read as latin-1 (`must\x92ve`). The five codes
    that cp1252 leaves open stay as they are.

    >>> c1_as_cp1252("must\x92ve")
    'must’ve'
    """
    return text if text.isascii() or not _C1.search(text) else text.translate(_CP1252)


def utf8_as_utf8(text: str) -> str:
    r"""The text with UTF-8 that was read as latin-1, once or several times, read as UTF-8.

    Why: MEISD holds some such text, lower-cased afterwards, so that the lead bytes `Ã` and `Â` stand
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

    Raises:
        Fault: It is no clock time.
    """
    match = _CLOCK.fullmatch(clock)
    if match is None:
        raise Fault(
            "not a time",
            expected="hours:minutes:seconds,thousandths",
            got=repr(clock),
            code="corpora.wrong_time",
        )
    hours, minutes, whole, fraction = match.groups()
    return float(f"{int(hours) * 3600 + int(minutes) * 60 + int(whole)}.{fraction}")
