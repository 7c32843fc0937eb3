"""A planned repository next to what its target holds: what a release would do there, and why it may not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from dialoguellm_release.cards.check import CARD
from dialoguellm_release.errors import Problem
from dialoguellm_release.hub.planned import PlannedFile, PlannedRepository
from dialoguellm_release.hub.targets import Standing, StoredFile, Tree

Change = Literal["added", "changed", "deleted"]


@dataclass(frozen=True)
class FileChange:
    """A file that differs from what is there; `size` is in bytes, of a deleted file the one it had."""

    path: str
    change: Change
    size: int


def is_stored(file: PlannedFile, stored: StoredFile) -> bool:
    """Whether a target holds the content of a planned file."""
    if file.size != stored.size:
        return False
    if stored.sha256 is not None:
        return file.sha256 == stored.sha256
    return file.blob_id == stored.blob_id


def changes(files: Mapping[str, PlannedFile], tree: Tree) -> tuple[FileChange, ...]:
    """What makes a tree the planned files, by path; empty where it is them already."""
    return tuple(_changes(files, tree))


def _changes(files: Mapping[str, PlannedFile], tree: Tree) -> Iterator[FileChange]:
    for path in sorted({*files, *tree}):
        if path not in tree:
            yield FileChange(path, "added", files[path].size)
        elif path not in files:
            yield FileChange(path, "deleted", tree[path].size)
        elif not is_stored(files[path], tree[path]):
            yield FileChange(path, "changed", files[path].size)


def placed(files: Mapping[str, PlannedFile], standing: Standing | None) -> str | None:
    """The commit that holds exactly the planned files already: that of the tag, else the newest one."""
    if standing is None:
        return None
    found, held = (
        (standing.tagged, standing.tagged_files) if standing.tagged else (standing.head, standing.files)
    )
    return found if found and not changes(files, held) else None


def refusals(
    planned: PlannedRepository,
    files: Mapping[str, PlannedFile],
    standing: Standing | None,
    where: str,
    tag: str,
) -> Iterator[Problem]:
    """Why a release may not do what it would do; nothing is ever overwritten that no release has placed."""
    if standing is None:
        return
    yield from _exposure(planned, standing, where)
    if standing.tagged:
        different = [one.path for one in changes(files, standing.tagged_files)]
        if different:
            yield Problem(
                where,
                f"the tag {tag} stands on other content",
                expected=f"the planned files; these differ: {', '.join(different)}",
                got=f"commit {standing.tagged}",
                fix="give the release a new tag; a tag that was published does not move",
            )
        return
    yield from _foreign(files, standing, where)


def _exposure(planned: PlannedRepository, standing: Standing, where: str) -> Iterator[Problem]:
    """Where a repository is not as open as the release says; its history would be open with it."""
    if standing.visibility and standing.visibility != planned.visibility:
        yield Problem(
            where,
            f"is {standing.visibility}, but the release has it as {planned.visibility}",
            expected=f"visibility: {planned.visibility}",
            got=f"visibility: {standing.visibility}",
            fix="publish under another repo_id, or change the release recipe",
        )
    if planned.gated and standing.visibility and standing.gated != planned.gated:
        yield Problem(
            where,
            "is not gated as the release says",
            expected=str(planned.gated),
            got=str(standing.gated or "not gated"),
            fix="change it in the settings of the repository, or in the release recipe",
        )


def _foreign(files: Mapping[str, PlannedFile], standing: Standing, where: str) -> Iterator[Problem]:
    """What others changed since the newest release; the card is merged, so it may have been edited."""
    released = standing.released or {}
    for path in sorted({*standing.files, *released} - {CARD}):
        there, before = standing.files.get(path), released.get(path)
        if there == before:
            continue
        if there is None:
            if path in files:
                what, fix = (
                    "was deleted by somebody else, and would come back",
                    "bring it back, or plan without it",
                )
                yield Problem(f"{where}: {path}", what, fix=fix)
        elif path not in files or not is_stored(files[path], there):
            yield Problem(
                f"{where}: {path}",
                "was put there by somebody else, and would be lost",
                got=f"at commit {standing.head}",
                fix="take it out there with a commit of your own, or publish to another repository",
            )
