"""Progress on stderr: a bar on a terminal, else a line every half minute and one at the end."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Protocol

from dialoguellm_release.processes import rank

LINE_EVERY_S = 30.0
"""Off a terminal, the seconds between two lines: a job under a scheduler is watched by its log."""


class Advance(Protocol):
    """Counts work that is done; `note` is shown behind it until the next one ("loss 1.234")."""

    def __call__(self, count: int, note: str | None = None, /) -> None:
        """Counts `count` more."""


@contextmanager
def progress(
    description: str, total: int | None, *, start: int = 0, in_bytes: bool = False
) -> Iterator[Advance]:
    """Shows how far some work is, with its rate and the time left; `start` was done before, by another run.

    Of several processes of one run the first alone shows it.
    """
    if rank():
        yield lambda _count, _note=None: None
    elif sys.stderr.isatty():
        with _bar(description, total, start, in_bytes=in_bytes) as advance:
            yield advance
    else:
        lines = _Lines(description, total, start, in_bytes=in_bytes)
        with lines.written():
            yield lines.advance


def say(text: str) -> None:
    """Writes a line to stderr, from the first process alone."""
    if not rank():
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()


def silence_transformers() -> None:
    """Turns off the progress bars and hints of transformers and datasets; ours are shown instead."""
    import datasets
    from transformers.utils import logging

    datasets.disable_progress_bars()
    logging.disable_progress_bar()
    logging.set_verbosity_error()


@contextmanager
def _bar(description: str, total: int | None, start: int, *, in_bytes: bool) -> Iterator[Advance]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        Task,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )
    from rich.text import Text

    class RateColumn(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(f"{task.speed or 0:.1f}/s")

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn() if in_bytes else MofNCompleteColumn(),
        TransferSpeedColumn() if in_bytes else RateColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(description, total=total, completed=start, note="")

        def advance(count: int, note: str | None = None, /) -> None:
            bar.advance(task, count)
            if note is not None:
                bar.update(task, note=note)

        yield advance


class _Lines:
    """Progress as lines, also while nothing advances: one long batch must not look like a dead job."""

    def __init__(self, description: str, total: int | None, start: int, *, in_bytes: bool) -> None:
        self._description, self._total, self._start = description, total, start
        self._in_bytes = in_bytes
        self._done, self._note = start, ""
        self._began = time.monotonic()

    def advance(self, count: int, note: str | None = None, /) -> None:
        """Counts more work."""
        self._done += count
        self._note = self._note if note is None else note

    @contextmanager
    def written(self) -> Iterator[None]:
        """Writes the lines while the block runs, and one when it ends."""
        ended = threading.Event()
        writer = threading.Thread(target=self._write_until, args=(ended,), daemon=True)
        writer.start()
        try:
            yield
        finally:
            ended.set()
            writer.join()
            say(self._line(time.monotonic() - self._began, is_last=True))

    def _write_until(self, ended: threading.Event) -> None:
        while not ended.wait(LINE_EVERY_S):
            say(self._line(time.monotonic() - self._began, is_last=False))

    def _line(self, seconds: float, *, is_last: bool) -> str:
        rate = (self._done - self._start) / seconds if seconds else 0.0
        of_total = "" if self._total is None else f" of {self._size(self._total)}"
        parts = [f"{self._size(self._done)}{of_total}", f"{self._size(rate)}/s"]
        if is_last:
            parts.append(f"{_clock(seconds)} in all")
        elif self._total is not None and rate:
            parts.append(f"{_clock((self._total - self._done) / rate)} left")
        return f"{self._description}: {', '.join([*parts, *filter(None, [self._note])])}"

    def _size(self, value: float) -> str:
        if self._in_bytes:
            return f"{value / 1e6:,.1f} MB"
        return f"{value:,}" if isinstance(value, int) else f"{value:,.1f}"


def _clock(seconds: float) -> str:
    return str(timedelta(seconds=round(max(seconds, 0))))
