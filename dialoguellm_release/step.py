"""What a step makes, and whether it is there already."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic

from dialoguellm_release.folders import AnyManifest, clear_left_over, is_current, read_manifest

BUILD = Path("build")


@dataclass(frozen=True)
class StepResult(Generic[AnyManifest]):
    """What a step made: its folder, its manifest, and whether it was there already."""

    folder: Path
    manifest: AnyManifest
    was_current: bool


def current_folder(
    folder: Path, is_unchanged: Callable[[AnyManifest], bool], model: type[AnyManifest]
) -> StepResult[AnyManifest] | None:
    """What stands in a folder, where the step would make the same again; else None."""
    if not is_current(folder, is_unchanged, model):
        return None
    clear_left_over(folder)
    return StepResult(folder, read_manifest(folder, model), was_current=True)
