"""What a release did to its target, or would do: the same form for both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dialoguellm_release.hub.changes import FileChange
from dialoguellm_release.hub.verdicts import Verdict
from dialoguellm_release.schemas.release import Link, RepositoryName, RepoType, repository_of


@dataclass(frozen=True)
class PublishedRepository:
    """A repository after a release, or what a dry run says of it.

    Attributes:
        where: Its folder or address.
        is_new: Whether the release makes it.
        license: From its card; None where the card names none.
        size: Of all files, in bytes.
        changes: Against what stood there before.
        commit: That the tag stands on; None where a dry run would make it.
        state: Whether the release makes a commit in it.
    """

    name: RepositoryName
    where: str
    tag: str
    is_new: bool
    visibility: Literal["public", "private"]
    gated: Literal[False, "auto", "manual"]
    license: str | None
    size: int
    changes: tuple[FileChange, ...]
    commit: str | None
    state: Literal["committed", "unchanged"]

    @property
    def repo_type(self) -> RepoType:
        """`dataset`, `model` or `space`."""
        return repository_of(self.name)[0]

    @property
    def repo_id(self) -> str:
        """`owner/name`."""
        return repository_of(self.name)[1]


@dataclass(frozen=True)
class Collected:
    """The collection of a release.

    Attributes:
        where: The address of its page, or of its owner's pages where it is new.
        added: The repositories that are not on it yet.
    """

    title: str
    where: str
    is_new: bool
    added: tuple[RepositoryName, ...]


@dataclass(frozen=True)
class Publication:
    """A release at its target.

    Attributes:
        repositories: In the order of the graph; empty where the plan could not be made.
        verdicts: Of every gate.
        others: What was left alone, where only some repositories were named, and is linked to.
        collection: What would become of it; None where there is none, or nobody is shown it.
    """

    tag: str
    repositories: tuple[PublishedRepository, ...]
    verdicts: tuple[Verdict, ...]
    others: tuple[Link, ...] = ()
    collection: Collected | None = None
