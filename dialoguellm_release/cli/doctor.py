"""`dlm-release doctor`: what the commands need on this machine, and what is missing."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from dialoguellm_release.cli.options import Json
from dialoguellm_release.cli.output import say, show, show_json
from dialoguellm_release.render.tables import Table


def doctor(
    sources: Annotated[
        Path | None, typer.Option(help="Folder of the corpora. [default: the one that DLM_CORPORA names]")
    ] = None,
    json: Json = False,
) -> None:
    """Show what this machine has and lacks.

    Versions, extras, disk, GPU, endpoint, token and its rights, corpora.

    Ends with 1 where something is wrong; without what is missing, some commands do not work.

    Example: dlm-release doctor --sources corpora
    """
    from dialoguellm_release.errors import Problem, ReleaseError
    from dialoguellm_release.steps.doctor import examine

    findings = examine(sources)
    if json:
        show_json({"findings": [asdict(one) for one in findings]})
    else:
        show(Table(("", "state", ""), [(one.name, one.state, one.note) for one in findings]))
        for one in findings:
            if one.state == "missing" and one.fix:
                say(f"{one.name}: {one.fix}")
    wrong = [
        Problem(one.name, one.note, fix=one.fix, code="doctor.wrong")
        for one in findings
        if one.state == "wrong"
    ]
    if wrong:
        raise ReleaseError(wrong, outcome="nothing was changed")
