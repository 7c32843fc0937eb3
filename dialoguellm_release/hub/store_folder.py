"""A store in a folder: each repository is a git repository below it, as `datasets/owner/name`."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shlex
import tarfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from subprocess import PIPE, Popen

from dialoguellm_release.errors import Problem, PublishError
from dialoguellm_release.hub.contents import PlannedFile, RepoPlan
from dialoguellm_release.hub.store import (
    BRANCH,
    CHANGED,
    HUB_FILES,
    TRAILER,
    UNCHANGED,
    UNFINISHED,
    Advance,
    RepoState,
    Revision,
    Store,
    StoredFile,
    Tree,
)
from dialoguellm_release.layout import CARD
from dialoguellm_release.schemas.release import RepositoryName, Visibility, repository_of

_FILE_MODE = "100644"
_PRIVATE = "dlm-release-private"
_IDENTITY = {
    f"GIT_{role}_{key}": value
    for role in ("AUTHOR", "COMMITTER")
    for key, value in (("NAME", "dialoguellm-release"), ("EMAIL", "dialoguellm-release@localhost"))
}
_ENVIRONMENT = {
    **_IDENTITY,
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
    "LC_ALL": "C",
}
_SETTINGS = {
    "core.hooksPath": os.devnull,
    "core.attributesFile": os.devnull,
    "core.excludesFile": os.devnull,
    "core.autocrlf": "false",
    "core.compression": "0",  # weights, pictures and Parquet do not shrink, and it takes half of the time
    "core.fsmonitor": "false",
    "core.quotePath": "false",
    "commit.gpgSign": "false",
    "gc.auto": "0",
}


class GitRepository:
    """A repository with a work tree; `.git` need not exist yet.

    Why: every command names the repository, so that a folder inside another checkout never acts on that one.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self._folder = self.path / ".git"

    @property
    def exists(self) -> bool:
        """Whether it was created; False where that was interrupted."""
        return all((self._folder / name).exists() for name in ("HEAD", "objects", "refs"))

    def make(self) -> None:
        """Creates it, or repairs one whose creation was interrupted; its content stays."""
        self.path.mkdir(parents=True, exist_ok=True)
        self.run("init", "--quiet", "--template=", "--object-format=sha1", f"--initial-branch={BRANCH}")

    @property
    def is_private(self) -> bool:
        """Whether nobody else may read it, its history included."""
        return (self._folder / _PRIVATE).exists()

    def make_private(self) -> None:
        """Closes it to other users, permanently."""
        (self._folder / _PRIVATE).touch()
        self.path.chmod(0o700)

    def remove_stale_locks(self) -> None:
        """Removes the locks that a killed run left; the caller must hold the lock of the store."""
        for lock in [*self._folder.glob("*.lock"), *(self._folder / "refs").rglob("*.lock")]:
            lock.unlink()

    def commit_of(self, ref: str) -> str | None:
        """The commit of a full ref name; None where there is no such ref."""
        if not self.exists:
            return None
        listed = self.run("for-each-ref", "--format=%(objectname) %(*objectname)", ref).split()
        return listed[-1] if listed else None

    def newest_with(self, line: str, commit: str) -> str | None:
        """The newest commit, from this one backwards, whose message has a line; None without one."""
        found = self.run("log", "-1", "--format=%H", "--fixed-strings", f"--grep={line}", commit)
        return found.strip() or None

    def tree(self, commit: str) -> dict[str, StoredFile]:
        """Every file of a commit, by path."""
        entries = self.run("ls-tree", "-r", "-l", "-z", "--full-tree", commit).split("\0")
        parted = [entry.partition("\t") for entry in entries if entry]
        return {path: StoredFile(int(head.split()[3]), head.split()[2]) for head, _, path in parted}

    def sha256_of_blobs(self, blobs: Iterable[str]) -> Iterator[str]:
        """The SHA-256 of each content as git gives it back, all by one process."""
        with self._start("cat-file", "--batch") as process:
            assert process.stdin is not None
            assert process.stdout is not None
            for blob in blobs:
                process.stdin.write(f"{blob}\n".encode())
                process.stdin.flush()
                head = process.stdout.readline().split()
                left, digest = int(head[2]) if len(head) == 3 else 1, hashlib.sha256()
                while left and (part := process.stdout.read(min(left, 1 << 20))):
                    digest.update(part)
                    left -= len(part)
                if left or process.stdout.read(1) != b"\n":
                    raise self._failure("cat-file", f"blob {blob} cannot be read")
                yield digest.hexdigest()

    def write_blob(self, content: Path | bytes) -> str:
        """Writes a content; its id."""
        if isinstance(content, bytes):
            return self.run("hash-object", "-w", "--stdin", given=content).strip()
        return self.run("hash-object", "-w", "--no-filters", "--", str(content.absolute())).strip()

    def write_commit(self, blobs: Mapping[str, str], parent: str | None, message: str) -> str:
        """Writes a commit of exactly these blobs, by path; branches, tags and the work tree stay."""
        tree = self._write_tree({tuple(path.split("/")): blob for path, blob in blobs.items()})
        parents = ["-p", parent] if parent else []
        return self.run("commit-tree", tree, *parents, "-m", message).strip()

    def set_ref(self, ref: str, commit: str, before: str | None) -> None:
        """Moves a ref to a commit, if it is still at `before` (None: does not exist)."""
        self.run("update-ref", ref, commit, before or "0" * len(commit))

    def edited_files(self) -> list[str]:
        """Files of the work tree that differ from its commit; deleted ones are not listed."""
        if self.commit_of(f"refs/heads/{BRANCH}") is None:
            return []
        listed = self.run(
            "diff", "--no-ext-diff", "--no-textconv", "--name-only", "--diff-filter=d", "-z", "HEAD"
        )
        return [path for path in listed.split("\0") if path]

    def check_out_branch(self) -> None:
        """Checks out the branch; files that git does not know stay."""
        self.run("symbolic-ref", "HEAD", f"refs/heads/{BRANCH}")
        self.run("reset", "--quiet", "--hard", BRANCH)

    def run(self, *arguments: str, given: bytes | None = None) -> str:
        """The output of a git command."""
        process = self._start(*arguments)
        out, err = process.communicate(given)
        if process.returncode:
            raise self._failure(arguments[0], err.decode(errors="replace").strip())
        return out.decode()

    def _write_tree(self, blobs: Mapping[tuple[str, ...], str]) -> str:
        entries = [f"{_FILE_MODE} blob {blob}\t{path[0]}" for path, blob in blobs.items() if len(path) == 1]
        for folder in sorted({path[0] for path in blobs if len(path) > 1}):
            inside = {path[1:]: blob for path, blob in blobs.items() if path[0] == folder and len(path) > 1}
            entries.append(f"040000 tree {self._write_tree(inside)}\t{folder}")
        return self.run("mktree", "-z", given="".join(f"{entry}\0" for entry in entries).encode()).strip()

    def _start(self, *arguments: str) -> Popen[bytes]:
        settings = {**_SETTINGS, "safe.directory": str(self.path)}
        command = ["git", f"--git-dir={self._folder}", f"--work-tree={self.path}"]
        command += [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
        try:
            return Popen(
                [*command, *arguments],
                cwd=self.path,
                env=inherited | _ENVIRONMENT,
                stdin=PIPE,
                stdout=PIPE,
                stderr=PIPE,
            )
        except FileNotFoundError:
            what = "is not installed; a folder is published as git repositories"
            raise PublishError(Problem("git", what, fix="install git", code="hub.no_git")) from None

    def _failure(self, command: str, said: str) -> PublishError:
        what, fix = f"git {command} failed", "repair it, and publish again"
        problem = Problem(str(self.path), what, got=said, fix=fix, code="hub.git_failed")
        return PublishError(problem, UNFINISHED)


_LOCK = ".dlm-release.lock"
_IN_PROGRESS = "dlm-release-under-way"
_BRANCH_REF = f"refs/heads/{BRANCH}"
_KINDS = {"datasets": "datasets/", "models": "", "spaces": "spaces/"}


class FolderStore(Store):
    """A folder of git repositories; each work tree is at the newest release. `download` needs `scratch`."""

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

        def written() -> Iterator[str]:
            for path, file in files.items():
                self._blobs[name, path] = git.write_blob(file.content)
                yield self._blobs[name, path]

        for (path, file), got in zip(files.items(), git.sha256_of_blobs(written()), strict=True):
            if got != file.sha256:
                where, what, code = str(git.path / path), CHANGED, "hub.changed_while_publishing"
                problems.append(Problem(where, what, file.sha256, got, "try again", code=code))
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
