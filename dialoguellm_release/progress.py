"""A progress bar on stderr, with a rate and the time left; none where stderr is no terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol


class Advance(Protocol):
    """Moves a bar forward by so many; `note` stands at its end until the next one."""

    def __call__(self, count: int, note: str | None = None, /) -> None:
        """Moves it."""


@contextmanager
def progress(description: str, total: int | None, *, in_bytes: bool = False) -> Iterator[Advance]:
    """A function that moves the bar forward; `total` is None where it is not known beforehand.

    Of several processes that train together the first alone shows a bar.
    """
    if not sys.stderr.isatty() or os.environ.get("RANK", "0") != "0":
        yield _stand_still
        return

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
        task = bar.add_task(description, total=total, note="")

        def advance(count: int, note: str | None = None, /) -> None:
            bar.advance(task, count)
            if note is not None:
                bar.update(task, note=note)

        yield advance


def say(text: str) -> None:
    """A line on stderr, from the first process alone."""
    if os.environ.get("RANK", "0") == "0":
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()


def _stand_still(_count: int, _note: str | None = None) -> None:
    """Moves no bar."""


def silence_transformers() -> None:
    """Turns off the progress bars and the hints of transformers and datasets; ours stand in their place."""
    import datasets
    from transformers.utils import logging

    datasets.disable_progress_bars()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
