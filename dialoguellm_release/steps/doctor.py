"""The step that examines this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dialoguellm_release.hub.doctor import Finding


def examine(sources: Path | None = None) -> list[Finding]:
    """What of this machine the commands need, and what of it is missing; works without a network.

    Args:
        sources: Folder of the corpora; None takes the one that `DLM_CORPORA` names, if any.
    """
    from dialoguellm_release.hub import doctor

    return doctor.examine(sources)
