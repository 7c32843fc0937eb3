"""Git for a store in a folder: by subprocess, with its own identity and settings."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from subprocess import PIPE, Popen

from dialoguellm_release.errors import Problem, PublishError
from dialoguellm_release.hub.store import BRANCH, UNFINISHED, StoredFile

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

    def sha256_of_blob(self, blob: str) -> str:
        """The SHA-256 of a file's content as git gives it back."""
        with self._start("cat-file", "blob", blob) as process:
            assert process.stdout is not None
            digest = hashlib.sha256()
            for part in iter(partial(process.stdout.read, 1 << 20), b""):
                digest.update(part)
        if process.returncode:
            raise self._failure("cat-file", f"blob {blob} cannot be read")
        return digest.hexdigest()

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
