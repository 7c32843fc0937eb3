"""Numbers as a reader expects them; a dash for what was not measured."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dialoguellm_release.schemas.audit import ExpectedSizes, Sizes

MISSING = "-"
"""Stands for a value that was not measured or is not defined."""

_SIZES = ("bytes", "kB", "MB", "GB", "TB")


def count(value: int | None) -> str:
    """A count with separators.

    >>> count(13517), count(None)
    ('13,517', '-')
    """
    return MISSING if value is None else f"{value:,}"


def sizes(value: Sizes | ExpectedSizes | None) -> str:
    """Dialogues and utterances of a split.

    >>> sizes(None)
    '-'
    """
    if value is None:
        return MISSING
    return f"{value.dialogues:,} / {'as drawn' if value.utterances is None else count(value.utterances)}"


def decimal(value: float | None, digits: int = 2) -> str:
    """A number with a fixed count of digits after the point.

    >>> decimal(1234.5), decimal(0.5, 4)
    ('1,234.50', '0.5000')
    """
    return MISSING if value is None else f"{value:,.{digits}f}"


def percent(share: float | None, digits: int = 1) -> str:
    """A share, where 1 is the whole, in percent.

    >>> percent(0.1349), percent(0.5, 2), percent(None)
    ('13.5 %', '50.00 %', '-')
    """
    return MISSING if share is None else f"{100 * share:.{digits}f} %"


def percent_of(part: int, whole: int, digits: int = 1) -> str:
    """A part in percent of a whole; a dash where the whole is empty.

    >>> percent_of(1, 8), percent_of(0, 0)
    ('12.5 %', '-')
    """
    return percent(part / whole if whole else None, digits)


def abbreviated(value: object, most: int) -> str:
    """A value of a manifest on one line: hashes are cut, and lists of more than `most` values counted.

    >>> abbreviated("0123456789abcdef" * 4, 3), abbreviated(("anger", "fear"), 3), abbreviated([], 3)
    ('0123456789ab...', 'anger, fear', 'none')
    """
    if isinstance(value, list | tuple):
        return f"{count(len(value))} of them" if len(value) > most else ", ".join(map(str, value)) or "none"
    text = str(value)
    return f"{text[:12]}..." if len(text) == 64 else text


def points(share: float | None) -> str:
    """A metric as papers print it: percent without the sign.

    >>> points(0.41974)
    '41.97'
    """
    return MISSING if share is None else f"{100 * share:.2f}"


def points_range(bounds: Sequence[float] | None) -> str:
    """An interval of a metric as papers print it.

    >>> points_range((0.539, 0.5891))
    '53.90 to 58.91'
    """
    return MISSING if bounds is None else f"{points(bounds[0])} to {points(bounds[1])}"


def interval(bounds: Sequence[float]) -> str:
    """The two bounds of an interval.

    >>> interval((0.61, 0.65))
    '[0.6100, 0.6500]'
    """
    return f"[{bounds[0]:.4f}, {bounds[1]:.4f}]"


def size(in_bytes: int | None) -> str:
    """A size on disk or in memory, in powers of 1,000 as disks and the Hub count.

    >>> size(999), size(13_531_000), size(26_000_000_000)
    ('999 bytes', '13.5 MB', '26.0 GB')
    """
    if in_bytes is None:
        return MISSING
    if in_bytes == 1:
        return "1 byte"
    value, unit = float(in_bytes), 0
    while value >= 999.95 and unit < len(_SIZES) - 1:
        value, unit = value / 1000, unit + 1
    return f"{value:.1f} {_SIZES[unit]}" if unit else f"{in_bytes} bytes"


def duration(seconds: float | None) -> str:
    """A time in the unit that suits it.

    >>> duration(0.25), duration(75), duration(5400), duration(200000)
    ('0.2 s', '1 min 15 s', '1 h 30 min', '55 h 33 min')
    """
    if seconds is None:
        return MISSING
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def dollars(usd: float | None) -> str:
    """Dollars with four digits after the point, because a request costs less than a cent.

    >>> dollars(12.5)
    '$12.5000'
    """
    return MISSING if usd is None else f"${usd:,.4f}"
