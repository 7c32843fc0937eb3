"""A store in a folder: each repository is a git repository below it, as `datasets/owner/name`."""

from __future__ import annotations

import fcntl
import os
import shlex
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from dialoguellm_release.errors import Problem, PublishError
from dialoguellm_release.hub.contents import PlannedFile, RepoPlan
from dialoguellm_release.hub.git import GitRepository
from dialoguellm_release.hub.store import (
    BRANCH,
    CHANGED,
    HUB_FILES,
    TRAILER,
    UNCHANGED,
    Advance,
    RepoState,
    Revision,
    Store,
    Tree,
)
from dialoguellm_release.layout import CARD
from dialoguellm_release.schemas.release import RepositoryName, Visibility, repository_of

_LOCK = ".dlm-release.lock"
_IN_PROGRESS = "dlm-release-under-way"
_BRANCH_REF = f"refs/heads/{BRANCH}"
_KINDS = {"datasets": "datasets/", "models": "", "spaces": "spaces/"}


class FolderStore(Store):
    """A folder of git repositories; each work tree is at the newest release.

    Args:
        scratch: Where `download` unpacks commits; needed for that alone.
    """

    def __init__(self, folder: Path, scratch: Path | None = None) -> None:
        self._folder, self._scratch = folder, scratch
        self._blobs: dict[tuple[RepositoryName, str], str] = {}

    def where(self, name: RepositoryName) -> str:
        """The folder of the work tree."""
        return str(self._git(name).path)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Holds the lock of the folder; the system frees it when a run is killed."""
        self._folder.mkdir(parents=True, exist_ok=True)
        with (self._folder / _LOCK).open("w") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                where, what = str(self._folder), "another publish is running here"
                problem = Problem(where, what, fix="wait for it to end", code="hub.folder_locked")
                raise PublishError(problem) from None
            yield

    def state(self, name: RepositoryName, tag: str) -> RepoState | None:
        """The state of a repository; None where it does not exist."""
        git = self._git(name)
        if not git.exists:
            return None
        head, tagged = git.commit_of(_BRANCH_REF), git.commit_of(_tag_ref(tag))
        released = git.newest_with(TRAILER, head) if head else None
        files = self.tree(name, head) if head else {}
        tagged_files = self.tree(name, tagged) if tagged else {}
        card_at, cards = (tagged, tagged_files) if tagged else (head, files)
        return RepoState(
            head=head,
            files=files,
            released=self.tree(name, released) if released else None,
            tagged=tagged,
            tagged_files=tagged_files,
            card=self.read(name, card_at, CARD) if card_at and CARD in cards else None,
            visibility=self.visibility(name) if head or git.is_private else None,
        )

    def edit_problems(
        self, name: RepositoryName, state: RepoState | None, paths: Sequence[str]
    ) -> Iterator[Problem]:
        """Changes in the work tree that no commit holds."""
        git = self._git(name)
        path = git.path
        if state is None:
            if path.exists() and set(os.listdir(path)) - {".git"}:
                what = "holds files, but is not a git repository"
                fix = "move them away, or publish to another folder"
                yield Problem(str(path), what, fix=fix, code="hub.not_a_repository")
            return
        if self._mark(git).exists():
            return
        for file in git.edited_files():
            fix = shlex.join(["git", "-C", str(path), "checkout", "--", str(file)])
            what = "was edited by hand, and would be lost"
            yield Problem(str(path / file), what, fix=fix, code="hub.edited_by_hand")
        for file in sorted(set(paths) - set(state.files)):
            if (path / file).exists():
                what = "was added by hand, and would be lost"
                yield Problem(str(path / file), what, fix="move it away", code="hub.added_by_hand")

    def resolve(self, name: RepositoryName, revision: str) -> Revision | None:
        """The commit of a tag, a branch or a commit id; None where it does not exist."""
        git = self._git(name)
        if not git.exists:
            return None
        for ref, is_tag in ((_tag_ref(revision), True), (f"refs/heads/{revision}", False)):
            if commit := git.commit_of(ref):
                return Revision(commit, is_tag)
        found = git.run("cat-file", "--batch-check", given=f"{revision}\n".encode()).split()
        return Revision(found[0], is_tag=False) if found[1] == "commit" else None

    def visibility(self, name: RepositoryName) -> Visibility:
        """Who may read a repository."""
        return "private" if self._git(name).is_private else "public"

    def tree(self, name: RepositoryName, commit: str) -> Tree:
        """The files of a commit, as git lists them."""
        return {path: file for path, file in self._git(name).tree(commit).items() if path not in HUB_FILES}

    def read(self, name: RepositoryName, commit: str, path: str) -> str:
        """The text of a file of a commit."""
        git = self._git(name)
        return git.run("cat-file", "blob", f"{commit}:{path}")

    def download(self, name: RepositoryName, commit: str, _only: Sequence[str] | None = None) -> Path:
        """A folder with the files of a commit, as git gives them."""
        assert self._scratch is not None
        folder = self._scratch / name / commit
        if not folder.exists():
            folder.mkdir(parents=True)
            archive = folder.with_suffix(".tar")
            self._git(name).run("archive", "--format=tar", f"--output={archive}", commit)
            with tarfile.open(archive) as packed:
                packed.extractall(folder, filter="data")
            archive.unlink()
        return folder

    def create(self, plan: RepoPlan, _state: RepoState | None, _sdk: str) -> None:
        """Creates a repository, closed where it is private, or repairs what a killed run left."""
        git = self._git(plan.name)
        git.make()
        git.remove_stale_locks()
        if plan.visibility == "private":
            git.make_private()

    def put(self, name: RepositoryName, files: Mapping[str, PlannedFile], advance: Advance) -> None:
        """Writes files into git's object store, and reads them back."""
        git, problems = self._git(name), []
        for path, file in files.items():
            blob = git.write_blob(file.content)
            if (got := git.sha256_of_blob(blob)) != file.sha256:
                where, what, code = str(git.path / path), CHANGED, "hub.changed_while_publishing"
                problems.append(Problem(where, what, file.sha256, got, "try again", code=code))
            self._blobs[name, path] = blob
            advance(file.size)
        if problems:
            raise PublishError(problems, UNCHANGED)

    def commit(
        self,
        name: RepositoryName,
        files: Mapping[str, PlannedFile],
        changed: Sequence[str],
        parent: str | None,
        message: str,
    ) -> str:
        """Makes a commit; no branch points to it yet."""
        git = self._git(name)
        held = git.tree(parent) if parent else {}
        kept = {path: held[path].hash for path in held if path in HUB_FILES}
        blobs = {path: self._blobs[name, path] if path in changed else held[path].hash for path in files}
        return git.write_commit(kept | blobs, parent, message)

    def set_branch(self, name: RepositoryName, commit: str) -> None:
        """Moves branch and work tree to a commit."""
        git = self._git(name)
        self._mark(git).touch()
        head = git.commit_of(_BRANCH_REF)
        if commit != head:
            git.set_ref(_BRANCH_REF, commit, head)
        git.check_out_branch()
        self._mark(git).unlink()

    def tag(self, name: RepositoryName, tag: str, commit: str, _message: str) -> None:
        """Sets a tag; a tag that exists is kept."""
        git = self._git(name)
        if git.commit_of(_tag_ref(tag)) is None:
            git.set_ref(_tag_ref(tag), commit, None)

    def _git(self, name: RepositoryName) -> GitRepository:
        repo_type, repo_id = repository_of(name)
        return GitRepository(self._folder / f"{repo_type}s" / repo_id)

    def _mark(self, git: GitRepository) -> Path:
        """Exists while the work tree may be half of two releases, so that the next run repairs it."""
        return git.path / ".git" / _IN_PROGRESS


def published_name(folder: Path) -> tuple[Path, RepositoryName] | None:
    """The root of the store that a work tree is in, and the repository's name; None for another folder."""
    folder = folder.absolute()
    if len(folder.parts) < 4 or folder.parts[-3] not in _KINDS or not (folder / ".git").exists():
        return None
    return folder.parents[2], f"{_KINDS[folder.parts[-3]]}{folder.parts[-2]}/{folder.parts[-1]}"


def _tag_ref(tag: str) -> str:
    return f"refs/tags/{tag}"
