"""What a Hub holds: repositories with git-like revisions, and the content of files by hash; all in memory."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from dialoguellm_release.folders import git_blob_id

RepoType = Literal["model", "dataset", "space"]
Visibility = Literal["public", "private"]

PREFIX: dict[RepoType, str] = {"model": "", "dataset": "datasets/", "space": "spaces/"}
"""What stands before the id of a repository in its addresses."""

BRANCH = "main"
LFS_SUFFIXES = (".parquet", ".safetensors", ".bin", ".png", ".arrow", ".zip")
LFS_FROM_BYTES = 10 * 1024 * 1024
GIT_ATTRIBUTES = "".join(
    f"*{suffix} filter=lfs diff=lfs merge=lfs -text\n" for suffix in LFS_SUFFIXES
).encode()


@dataclass(frozen=True)
class StoredFile:
    """A file of a revision.

    Attributes:
        blob_id: What git calls it; of an LFS file, that of the pointer.
        lfs_sha256: None for a regular file.
    """

    content: bytes
    blob_id: str
    lfs_sha256: str | None

    @classmethod
    def regular(cls, content: bytes) -> StoredFile:
        return cls(content, git_blob_id(content), None)

    @classmethod
    def lfs(cls, content: bytes, sha256: str) -> StoredFile:
        return cls(content, git_blob_id(pointer(sha256, len(content))), sha256)

    @property
    def etag(self) -> str:
        return self.lfs_sha256 or self.blob_id


def pointer(sha256: str, size: int) -> bytes:
    """The small text that git holds in the place of an LFS file."""
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n".encode()


@dataclass(frozen=True)
class Commit:
    oid: str
    parent: str | None
    files: Mapping[str, StoredFile]
    title: str
    message: str
    author: str
    time: float


@dataclass
class Repository:
    """A repository; a revision is a branch, a tag or a commit."""

    repo_type: RepoType
    repo_id: str
    visibility: Visibility
    sdk: str | None = None
    gated: Literal[False, "auto", "manual"] = False
    commits: dict[str, Commit] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)

    @property
    def owner(self) -> str:
        return self.repo_id.split("/")[0]

    @property
    def head(self) -> Commit:
        return self.commits[self.branches[BRANCH]]

    def at(self, revision: str) -> Commit | None:
        oid = self.branches.get(revision) or self.tags.get(revision) or revision
        return self.commits.get(oid)

    def history(self, commit: Commit) -> Iterator[Commit]:
        """A commit and those before it, newest first."""
        step: Commit | None = commit
        while step is not None:
            yield step
            step = self.commits[step.parent] if step.parent else None

    def add_commit(
        self,
        files: Mapping[str, StoredFile],
        title: str,
        message: str = "",
        author: str = "hub",
        branch: str = BRANCH,
    ) -> Commit:
        parent = self.branches.get(branch)
        seed = [parent, title, message, time.time_ns(), sorted((p, f.blob_id) for p, f in files.items())]
        oid = hashlib.sha1(repr(seed).encode(), usedforsecurity=False).hexdigest()
        self.commits[oid] = Commit(oid, parent, dict(files), title, message, author, time.time())
        self.branches[branch] = oid
        return self.commits[oid]


@dataclass
class Collection:
    slug: str
    title: str
    owner: str
    visibility: Visibility
    description: str
    items: list[dict[str, str]] = field(default_factory=list)


class Store:
    """Everything on a Hub; `lock` is held by whoever changes something."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.repositories: dict[tuple[RepoType, str], Repository] = {}
        self.collections: dict[str, Collection] = {}
        self.lfs: dict[str, bytes] = {}
        self.xet_url: str | None = None
        self.xorbs: dict[str, bytes] = {}
        self.xet_files: dict[str, list[tuple[str, int, int, int]]] = {}
        self.xet_hashes: dict[str, str] = {}

    def create(
        self, repo_type: RepoType, repo_id: str, visibility: Visibility = "public", sdk: str | None = None
    ) -> Repository:
        """A new repository with the commit that the Hub itself makes; a Space gets a card and a page."""
        repository = Repository(repo_type, repo_id, visibility, sdk)
        files = {".gitattributes": GIT_ATTRIBUTES}
        if repo_type == "space":
            card = (
                f"---\ntitle: {repo_id}\nemoji: 📈\nsdk: {sdk}\n---\nCheck out the configuration reference.\n"
            )
            files["README.md"] = card.encode()
        if sdk == "static":
            files |= {"index.html": b"<!doctype html>\n", "style.css": b"body {}\n"}
        first = {path: StoredFile.regular(content) for path, content in files.items()}
        repository.add_commit(first, "initial commit")
        self.repositories[repo_type, repo_id] = repository
        return repository

    def add_commit(
        self,
        repo_type: RepoType,
        repo_id: str,
        changed: Mapping[str, bytes | None],
        title: str = "Update by hand",
    ) -> Commit:
        """A commit by somebody else, past the wire; None deletes a file."""
        with self.lock:
            repository = self.repositories[repo_type, repo_id]
            files = dict(repository.head.files)
            for path, content in changed.items():
                if content is None:
                    del files[path]
                elif is_lfs(path, len(content)):
                    files[path] = StoredFile.lfs(content, hashlib.sha256(content).hexdigest())
                else:
                    files[path] = StoredFile.regular(content)
            return repository.add_commit(files, title, author="somebody")


def is_lfs(path: str, size: int) -> bool:
    """Whether a file goes by LFS: here by suffix and size, on the Hub also by what its first bytes say."""
    return size > 0 and (path.endswith(LFS_SUFFIXES) or size > LFS_FROM_BYTES)
