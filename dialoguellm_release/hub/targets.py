"""What publishing asks of a place: what is there, and to take files, a commit and a tag."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal, Protocol

from dialoguellm_release.errors import Problem
from dialoguellm_release.hub.contents import PlannedFile, PlannedRepository
from dialoguellm_release.schemas.recipes.release import Collection
from dialoguellm_release.schemas.release import RepositoryName

TRAILER = "Released-by: dialoguellm-release"
"""Last line of the message of each commit of a release: what others changed since is told by it."""

UNFINISHED = "the release is not complete; publishing again goes on where it stopped"
"""What is said of a run that was stopped after it began to write."""

HUBS_OWN = frozenset({".gitattributes"})
"""What the Hub itself puts into a repository; it is left alone."""

Advance = Callable[[int], None]


@dataclass(frozen=True)
class StoredFile:
    """A file as a target holds it, by the one hash that the target knows of its content.

    Attributes:
        sha256: Of a file in large-file storage; else None.
        blob_id: Of a file in git; else None.
    """

    size: int
    sha256: str | None
    blob_id: str | None


Tree = Mapping[str, StoredFile]
"""The files of a commit by path, without `HUBS_OWN`."""


@dataclass(frozen=True)
class Standing:
    """What a target holds of a repository.

    Attributes:
        head: The commit that its branch stands on; None where it has none.
        files: Those of `head`.
        released: Those of the newest commit that a release or the Hub itself made; None where neither did.
        tagged: The commit that the tag of the release stands on; None where there is no such tag.
        tagged_files: Those of `tagged`.
        card: Its README.md at the tag, or at the head where there is no tag; None where there is none.
        visibility: None where the target has no such thing.
    """

    head: str | None
    files: Tree
    released: Tree | None
    tagged: str | None
    tagged_files: Tree
    card: str | None
    visibility: Literal["public", "private"] | None = None
    gated: Literal[False, "auto", "manual"] = False


@dataclass(frozen=True)
class CollectionPage:
    """A page that shows repositories side by side.

    Attributes:
        where: Its address, or that of the owner's pages where it is not there yet.
        listed: The repositories on it; None where it is not there yet.
    """

    where: str
    listed: frozenset[RepositoryName] | None


class TargetRepository(Protocol):
    """One repository of a release at its target."""

    @property
    def where(self) -> str:
        """Its folder or address."""
        ...

    def look(self, tag: str) -> Standing | None:
        """What is there; None where the repository is not."""
        ...

    def refusals(self, standing: Standing | None, paths: Sequence[str]) -> Iterator[Problem]:
        """Why these files cannot be put here, as far as only this target can tell."""
        ...

    def prepare(self, planned: PlannedRepository, standing: Standing | None, sdk: str) -> None:
        """Makes it where it is not there, empty, with the visibility that is planned."""
        ...

    def upload(self, files: Mapping[str, PlannedFile], advance: Advance) -> None:
        """Brings the content of files, out of sight of readers.

        Args:
            advance: Told of the bytes that are there.
        """
        ...

    def commit(
        self, files: Mapping[str, PlannedFile], changed: Sequence[str], parent: str | None, message: str
    ) -> str:
        """A commit that holds exactly the files, on top of `parent`.

        Args:
            changed: Paths that differ from the parent; those that are not among the files are deleted.

        Raises:
            PublishError: There is another commit on top of the parent.
        """
        ...

    def files_at(self, commit: str) -> Tree:
        """The files of a commit, read back."""
        ...

    def text_at(self, commit: str, path: str) -> str:
        """The text of a file that a commit holds."""
        ...

    def show(self, commit: str) -> None:
        """Lets the branch stand at a commit where it does not yet."""
        ...

    def set_tag(self, tag: str, commit: str, message: str) -> str:
        """Sets a tag where there is none; the commit that it then stands on."""
        ...


class Target(Protocol):
    """A place for the repositories of a release."""

    @property
    def shows_uploads(self) -> bool:
        """Whether uploads come with a progress bar of their own."""
        ...

    def alone(self) -> AbstractContextManager[None]:
        """Keeps other releases out for as long as it is held, where the target can."""
        ...

    def repository(self, name: RepositoryName) -> TargetRepository:
        """One repository, there or not."""
        ...

    def access_problems(self, names: Sequence[RepositoryName]) -> list[Problem]:
        """Why the user may not write there."""
        ...

    def page_of(self, collection: Collection) -> CollectionPage | None:
        """The page of a collection; None where the target has no such pages."""
        ...

    def collect(self, collection: Collection, description: str, names: Sequence[RepositoryName]) -> None:
        """Lists the repositories side by side, where the target has such pages."""
        ...
