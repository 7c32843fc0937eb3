"""What a release consists of before anything is sent: repositories and their files."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

from dialoguellm_release.folders import sha256_of
from dialoguellm_release.schemas.manifest import FileStamp
from dialoguellm_release.schemas.recipes.release import Visibility

RepoType = Literal["dataset", "model", "space"]


@dataclass(frozen=True)
class PlannedFile:
    """A file to publish: one on disk, or rendered for the release.

    Attributes:
        sha256: Of the content that was checked; what is published must still have it.
    """

    content: Path | bytes
    size: int
    sha256: str

    @classmethod
    def on_disk(cls, path: Path) -> Self:
        """A file as it stands."""
        return cls(path, path.stat().st_size, sha256_of(path))

    @classmethod
    def stamped(cls, file: FileStamp, folder: Path) -> Self:
        """A file of a folder whose stamps were checked."""
        return cls(folder / file.path, file.bytes, file.sha256)

    @classmethod
    def rendered(cls, text: str) -> Self:
        """A text that the plan made."""
        return cls.made(text.encode())

    @classmethod
    def made(cls, content: bytes) -> Self:
        """A file that the plan made."""
        return cls(content, len(content), hashlib.sha256(content).hexdigest())


@dataclass(frozen=True)
class PlannedRepository:
    """A repository and every file that it holds once the release is out, by path."""

    repo_type: RepoType
    repo_id: str
    files: Mapping[str, PlannedFile]
    visibility: Visibility = "public"


@dataclass(frozen=True)
class PublishedRepository:
    """A repository after a release, or what a dry run says of it.

    Attributes:
        commit: That the tag stands on; None where a dry run would make it.
        state: Whether the release made a commit for it.
        changed_files: Files that differ from the release before.
    """

    repo_type: RepoType
    repo_id: str
    path: Path
    tag: str
    commit: str | None
    state: Literal["committed", "unchanged"]
    changed_files: tuple[str, ...]
