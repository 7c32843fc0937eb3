"""Errors are asserted by the stable codes of their problems."""

from __future__ import annotations

from typing import Any

import pytest

from dialoguellm_release.errors import ReleaseError


def codes(error: ReleaseError) -> set[str]:
    return {problem.code for problem in error.problems}


def refuses(code: str, where: str = "") -> Any:
    """A `ReleaseError` with a problem of this code, at a place that holds this text."""

    def has_it(error: ReleaseError) -> bool:
        return any(one.code == code and where in one.where for one in error.problems)

    return pytest.raises(ReleaseError, check=has_it)
