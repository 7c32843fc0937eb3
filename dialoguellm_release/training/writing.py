"""A disk that is full, told the same by every writer of weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dialoguellm_release.errors import DataError, Problem


@contextmanager
def writing_weights(place: Path) -> Iterator[None]:
    """Tells what safetensors and torch raise where a file cannot be written as a problem of the user.

    Raises:
        DataError: Something could not be written.
    """
    from safetensors import SafetensorError

    try:
        yield
    except SafetensorError as error:
        raise DataError(_not_written(place, error)) from error
    except RuntimeError as error:
        # torch has no exception of its own for this: its zip writer fails an assertion.
        if "inline_container" not in str(error) and "PytorchStreamWriter" not in str(error):
            raise
        raise DataError(_not_written(place, error)) from error


def _not_written(place: Path, error: Exception) -> Problem:
    return Problem(
        str(place),
        f"cannot be written: {error}",
        fix="free some space and run the same command again (with --resume, if the recipe has save_steps)",
    )
