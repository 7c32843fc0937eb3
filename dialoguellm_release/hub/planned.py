"""What a release consists of before anything is sent: repositories and their files."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, Self

from dialoguellm_release.folders import git_blob_id, sha256_of
from dialoguellm_release.schemas.manifests import FileStamp
from dialoguellm_release.schemas.recipes.release import Visibility
from dialoguellm_release.schemas.release import RepositoryName, RepoType, repository_name

Commits = Mapping[RepositoryName, str]
"""The commit of each repository that is already made or found."""

UNKNOWN_COMMIT = "0" * 40
"""Stands for a commit that is not made yet; no repository has it, so what names it counts as changed."""


@dataclass(frozen=True)
class PlannedFile:
    """A file to publish: one on disk, or rendered for the release.

    Attributes:
        sha256: Of the content that was checked; what is published must still have it.
    """

    content: Path | bytes
    size: int
    sha256: str

    @cached_property
    def blob_id(self) -> str:
        """The id that git gives to the content."""
        return git_blob_id(self.content)

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
    """A repository of a release.

    Attributes:
        rendering: Every file that it holds once the release is out, by path, from the commits of the
            repositories that it depends on.
        gated: As in the release recipe.
    """

    repo_type: RepoType
    repo_id: str
    rendering: Callable[[Commits], Mapping[str, PlannedFile]]
    depends_on: tuple[RepositoryName, ...] = ()
    visibility: Visibility = "public"
    gated: Literal[False, "auto", "manual"] = False

    @property
    def name(self) -> RepositoryName:
        """Its name as the Hub's addresses have it."""
        return repository_name(self.repo_type, self.repo_id)

    def files_at(self, commits: Commits) -> Mapping[str, PlannedFile]:
        """Its files; a dependency whose commit is not known is named by `UNKNOWN_COMMIT`."""
        return self.rendering({name: commits.get(name, UNKNOWN_COMMIT) for name in self.depends_on})
