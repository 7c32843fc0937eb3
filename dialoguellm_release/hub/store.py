"""The store that a release is published to and read from: one interface for the Hub and for a folder."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from dialoguellm_release.errors import Problem, PublishError
from dialoguellm_release.schemas.release import Collection, RepositoryName, Visibility

if TYPE_CHECKING:
    from dialoguellm_release.hub.contents import PlannedFile, RepoPlan

HUB = "hub"
"""The name of the Hub as `--to` and `--at`; a folder of this name is `./hub`."""

BRANCH = "main"

TRAILER = "Released-by: dialoguellm-release"
"""Last line of the message of every commit of a release; other commits are somebody else's."""

UNFINISHED = "the release is not complete; run the same command again to continue"
"""The outcome of a run that stopped after it may have written something."""

UNCHANGED = "nothing was changed"

CHANGED = "was changed while it was being published"

HUB_FILES = frozenset({".gitattributes"})
"""Files that the Hub adds to a repository; a release ignores them."""

Advance = Callable[[int], None]


@dataclass(frozen=True)
class StoredFile:
    """A file of a commit."""

    size: int
    hash: str  # its SHA-256 where it is in large-file storage (`is_lfs`), else its blob id in git
    is_lfs: bool = False


Tree = Mapping[str, StoredFile]
"""The files of a commit by path, without `HUB_FILES`."""


@dataclass(frozen=True)
class RepoState:
    """A repository as its store has it."""

    head: str | None  # the commit of its branch; None where it has no commit
    files: Tree
    # Those of the newest commit that a release or the Hub itself made; None without one.
    released: Tree | None
    tagged: str | None  # the commit of the release's tag; None without that tag
    tagged_files: Tree
    card: str | None  # README.md at the tag, or at the head without a tag; None where there is none
    visibility: Visibility | None = None  # None where the store has no such setting
    gated: Literal[False, "auto", "manual"] = False
    is_fresh: bool = False  # whether its only commit is the one that the Hub makes in a new repository


@dataclass(frozen=True)
class Revision:
    """What a tag, a branch or a commit id resolves to."""

    commit: str
    is_tag: bool


@dataclass(frozen=True)
class Collected:
    """What a release changes in its collection.

    Attributes:
        where: Its address, or that of its owner's collections where it is new.
        added: The repositories that are not in it yet.
    """

    title: str
    where: str
    is_new: bool
    added: tuple[RepositoryName, ...]


class Store(ABC):
    """Repositories with branches, tags and commits, by name; what a store lacks has a default here."""

    has_collections = False

    @property
    def shows_uploads(self) -> bool:
        """Whether uploads report their progress themselves."""
        return False

    @abstractmethod
    def where(self, name: RepositoryName) -> str:
        """The folder or address of a repository."""

    def lock(self) -> AbstractContextManager[None]:
        """Keeps other releases out while it is held; without a lock each commit names its parent."""
        return nullcontext()

    def access_problems(self, _names: Sequence[RepositoryName]) -> list[Problem]:
        """Why the user may not write to these repositories."""
        return []

    @abstractmethod
    def state(self, name: RepositoryName, tag: str) -> RepoState | None:
        """The state of a repository; None where it does not exist, or may not be seen."""

    def edit_problems(
        self, _name: RepositoryName, _state: RepoState | None, _paths: Sequence[str]
    ) -> Iterator[Problem]:
        """Uncommitted changes that these files would overwrite."""
        return iter(())

    def card_problems(self, _name: RepositoryName, _card: str) -> Iterator[Problem]:
        """Why the store would refuse a card."""
        return iter(())

    @abstractmethod
    def resolve(self, name: RepositoryName, revision: str) -> Revision | None:
        """The commit of a tag, a branch or a commit id; None where it does not exist."""

    @abstractmethod
    def visibility(self, name: RepositoryName) -> Visibility:
        """Who may read a repository."""

    @abstractmethod
    def tree(self, name: RepositoryName, commit: str) -> Tree:
        """The files of a commit."""

    @abstractmethod
    def read(self, name: RepositoryName, commit: str, path: str) -> str:
        """The text of a file of a commit."""

    @abstractmethod
    def download(self, name: RepositoryName, commit: str, only: Sequence[str] | None = None) -> Path:
        """A folder with the files of a commit; `only` are patterns of those that are needed."""

    @abstractmethod
    def create(self, plan: RepoPlan, state: RepoState | None, sdk: str) -> None:
        """Creates a repository if it does not exist, with the planned visibility and gating."""

    @abstractmethod
    def put(self, name: RepositoryName, files: Mapping[str, PlannedFile], advance: Advance) -> None:
        """Uploads the content of files, which no reader sees before the commit."""

    @abstractmethod
    def commit(
        self,
        name: RepositoryName,
        files: Mapping[str, PlannedFile],
        changed: Sequence[str],
        parent: str | None,
        message: str,
    ) -> str:
        """Makes a commit of exactly the files, on top of `parent`, from which the paths `changed` differ."""

    def set_branch(self, _name: RepositoryName, _commit: str) -> None:
        """Moves the branch to a commit, where it does not move with each commit."""
        return

    @abstractmethod
    def tag(self, name: RepositoryName, tag: str, commit: str, message: str) -> None:
        """Sets a tag; a tag that exists is kept."""

    def collected(self, _collection: Collection, _names: Sequence[RepositoryName]) -> Collected | None:
        """What a release of these repositories would change in a collection; None without collections."""
        return None

    def collect(self, _collection: Collection, _description: str, _names: Sequence[RepositoryName]) -> bool:
        """Adds repositories to a collection; False without collections."""
        return False


def open_store(where: str, scratch: Path | None = None) -> Store:
    """The store that `--to` or `--at` names: `hub`, or a folder, whose commits are unpacked in `scratch`."""
    if where == HUB:
        from dialoguellm_release.hub.store_hub import HubStore

        return HubStore()
    from dialoguellm_release.hub.store_folder import FolderStore

    if scratch and not Path(where).is_dir():
        fix = "--at hub, or a folder published to"
        raise PublishError(Problem(where, "no such folder", fix=fix, code="hub.folder_not_found"), UNCHANGED)
    return FolderStore(Path(where), scratch)


@contextmanager
def outcome(what: str) -> Iterator[None]:
    """States the outcome of whatever goes wrong inside."""
    try:
        yield
    except PublishError as error:
        raise PublishError(error.problems, what) from error.__cause__


def is_stored(file: PlannedFile, stored: StoredFile) -> bool:
    """Whether a stored file has the content of a planned one."""
    return file.size == stored.size and stored.hash == (file.sha256 if stored.is_lfs else file.blob_id)
