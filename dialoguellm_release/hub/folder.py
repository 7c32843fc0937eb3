"""The folder target: each repository of a release is a git repository below one folder, as on the Hub."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from dialoguellm_release.errors import Problem, PublishError
from dialoguellm_release.hub.contents import PlannedFile, PlannedRepository
from dialoguellm_release.hub.git import BRANCH, GitRepository
from dialoguellm_release.hub.targets import HUBS_OWN, TRAILER, Advance, Standing, StoredFile, Tree
from dialoguellm_release.layout import CARD
from dialoguellm_release.schemas.recipes.release import Collection
from dialoguellm_release.schemas.release import RepositoryName, repository_of

_LOCK = ".dlm-release.lock"
_UNDER_WAY = "dlm-release-under-way"
_BRANCH_REF = f"refs/heads/{BRANCH}"


class FolderTarget:
    """A folder of git repositories: `DIR/datasets/owner/name`, `DIR/models/owner/name`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @property
    def shows_uploads(self) -> bool:
        """It leaves that to the caller."""
        return False

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Holds the lock of the folder; the system frees it when a run is killed."""
        self._folder.mkdir(parents=True, exist_ok=True)
        with (self._folder / _LOCK).open("w") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                problem = Problem(
                    str(self._folder), "another publish is at work here", fix="wait for it to end"
                )
                raise PublishError(problem) from None
            yield

    def repository(self, name: RepositoryName) -> FolderRepository:
        """One repository, there or not."""
        repo_type, repo_id = repository_of(name)
        return FolderRepository(self._folder / f"{repo_type}s" / repo_id)

    def access_problems(self, _names: Sequence[RepositoryName]) -> list[Problem]:
        """None: what may be written tells the file system."""
        return []

    def page_of(self, _collection: Collection) -> None:
        """A folder has no pages."""

    def collect(self, _collection: Collection, _description: str, _names: Sequence[RepositoryName]) -> None:
        """A folder has no pages."""


class FolderRepository:
    """A git repository whose work tree stands at the newest release."""

    def __init__(self, path: Path) -> None:
        self._git = GitRepository(path)
        self._blobs: dict[str, str] = {}

    @property
    def where(self) -> str:
        """The folder of the work tree."""
        return str(self._git.path)

    @property
    def _mark(self) -> Path:
        """Stands while the work tree may be half of two releases, so that the next run mends it."""
        return self._git.path / ".git" / _UNDER_WAY

    def look(self, tag: str) -> Standing | None:
        """What is there; None where the repository is not."""
        if not self._git.exists:
            return None
        head, tagged = self._git.commit_of(_BRANCH_REF), self._git.commit_of(_tag_ref(tag))
        released = self._git.newest_with(TRAILER, head) if head else None
        files = self.files_at(head) if head else {}
        tagged_files = self.files_at(tagged) if tagged else {}
        card_at, cards = (tagged, tagged_files) if tagged else (head, files)
        return Standing(
            head=head,
            files=files,
            released=self.files_at(released) if released else None,
            tagged=tagged,
            tagged_files=tagged_files,
            card=self.text_at(card_at, CARD) if card_at and CARD in cards else None,
            visibility="private" if self._git.is_private else "public" if head else None,
        )

    def refusals(self, standing: Standing | None, paths: Sequence[str]) -> Iterator[Problem]:
        """What was changed by hand in the work tree and stands in no commit: it would be lost."""
        path = self._git.path
        if standing is None:
            if path.exists() and set(os.listdir(path)) - {".git"}:
                fix = "move them away, or publish to another folder"
                yield Problem(str(path), "holds files, but is no git repository", fix=fix)
            return
        if self._mark.exists():
            return
        for name in self._git.edited_files():
            fix = f"git -C {path} checkout -- {name}"
            yield Problem(str(path / name), "was changed by hand, and would be lost", fix=fix)
        for name in sorted(set(paths) - set(standing.files)):
            if (path / name).exists():
                what = "was put there by hand, and would be lost"
                yield Problem(str(path / name), what, fix="move it away")

    def prepare(self, planned: PlannedRepository, _standing: Standing | None, _sdk: str) -> None:
        """Makes it, closed where it is private, or mends what a killed run left."""
        self._git.make()
        self._git.remove_stale_locks()
        if planned.visibility == "private":
            self._git.make_private()

    def upload(self, files: Mapping[str, PlannedFile], advance: Advance) -> None:
        """Puts files into git's store, and reads them back from it."""
        problems = []
        for path, file in files.items():
            blob = self._git.write_blob(file.content)
            got = self._git.sha256_of_blob(blob)
            if got != file.sha256:
                where, what = str(self._git.path / path), "was changed while it was published"
                problems.append(Problem(where, what, file.sha256, got, "try again"))
            self._blobs[path] = blob
            advance(file.size)
        if problems:
            raise PublishError(problems, outcome="nothing was changed")

    def commit(
        self, files: Mapping[str, PlannedFile], changed: Sequence[str], parent: str | None, message: str
    ) -> str:
        """A commit that no branch stands on yet."""
        held = self._git.tree(parent) if parent else {}
        own = {path: held[path].blob_id for path in held if path in HUBS_OWN}
        blobs = {path: self._blobs[path] if path in changed else held[path].blob_id for path in files}
        return self._git.write_commit(own | blobs, parent, message)

    def files_at(self, commit: str) -> Tree:
        """The files of a commit, as git lists them."""
        return {
            path: StoredFile(file.size, None, file.blob_id)
            for path, file in self._git.tree(commit).items()
            if path not in HUBS_OWN
        }

    def text_at(self, commit: str, path: str) -> str:
        """The text of a file that a commit holds."""
        return self._git.run("cat-file", "blob", self._git.tree(commit)[path].blob_id)

    def show(self, commit: str) -> None:
        """Lets branch and work tree stand at a commit."""
        self._mark.touch()
        head = self._git.commit_of(_BRANCH_REF)
        if commit != head:
            self._git.set_ref(_BRANCH_REF, commit, head)
        self._git.check_out_branch()
        self._mark.unlink()

    def set_tag(self, tag: str, commit: str, _message: str) -> str:
        """Sets a tag where there is none; the commit that it then stands on."""
        if self._git.commit_of(_tag_ref(tag)) is None:
            self._git.set_ref(_tag_ref(tag), commit, None)
        return self._git.commit_of(_tag_ref(tag)) or ""


def _tag_ref(tag: str) -> str:
    return f"refs/tags/{tag}"
