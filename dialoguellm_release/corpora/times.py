"""Clock times of subtitles, in every form that the corpora have."""

from __future__ import annotations

import re

from dialoguellm_release.corpora.faults import Fault

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
        raise Fault("not a time", expected="hours:minutes:seconds,thousandths", got=repr(clock))
    hours, minutes, whole, fraction = match.groups()
    return float(f"{int(hours) * 3600 + int(minutes) * 60 + int(whole)}.{fraction}")
