"""`dlm-release verify`: check a published repository, or a whole release."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dialoguellm_release.cli.options import Json
from dialoguellm_release.cli.output import say, show, show_json, table

if TYPE_CHECKING:
    from dialoguellm_release.steps.release import Check, Verified


def verify(
    what: Annotated[
        str, typer.Argument(help="owner/name@v1.0.0, a folder, or a release recipe for all of it.")
    ],
    at: Annotated[str, typer.Option(help="Where it was published: hub, or the folder.")] = "hub",
    release: Annotated[
        Path | None, typer.Option(help="A release.json that was saved before, to compare with.")
    ] = None,
    sample: Annotated[
        int, typer.Option(min=0, help="How many records of each score are scored again; 0 for none.")
    ] = 32,
    json: Json = False,
) -> None:
    """Verify a published repository, or a whole release.

    Hashes, records, card, licences, links, loading, and a sample of the scores.

    Example: dlm-release verify dialoguellm/instructions@v1.0.0
    """
    from dialoguellm_release.errors import PublishError
    from dialoguellm_release.steps.release import verify_release

    found = verify_release(what, at, sample=sample, saved=release)
    if json:
        show_json({"repositories": [_data(one) for one in found]})
    else:
        show("\n\n".join(map(as_text, found)))
    problems = [problem for one in found for problem in one.problems]
    if problems:
        raise PublishError(problems, outcome="nothing was changed")
    say(f"{what}: nothing is wrong in what was checked.")


def as_text(verified: Verified) -> str:
    """The checks on a repository as a table."""
    at = f" at {verified.revision} ({verified.commit})" if verified.revision else ""
    return f"{verified.where}{at}\n{check_table(verified.checks)}"


def check_table(checks: Sequence[Check]) -> str:
    """Checks as a table: the item, its outcome, and what was checked or why not."""
    return table([("item", "verdict", ""), *((one.name, one.outcome, one.note) for one in checks)])


def check_data(check: Check) -> dict[str, Any]:
    """A check as data."""
    return {
        "name": check.name,
        "outcome": check.outcome,
        "note": check.note,
        "problems": [asdict(problem) for problem in check.problems],
    }


def _data(verified: Verified) -> dict[str, Any]:
    return {
        "repository": verified.where,
        "revision": verified.revision,
        "commit": verified.commit,
        "checks": [check_data(one) for one in verified.checks],
    }
