"""Where published repositories are read: the Hub, or the git repositories of a folder target."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from dialoguellm_release.errors import Problem
from dialoguellm_release.folders import git_blob_id, sha256_of
from dialoguellm_release.hub.git import GitRepository
from dialoguellm_release.hub.hub_client import patiently, told
from dialoguellm_release.schemas.recipes.release import Visibility
from dialoguellm_release.schemas.release import RepositoryName, repository_of

HUB = "hub"


class Place(Protocol):
    """Somewhere that repositories were published to."""

    @property
    def title(self) -> str:
        """Its address or folder."""
        ...

    def commit_of(self, name: RepositoryName, revision: str) -> str | None:
        """The commit that a tag, a branch or a commit's own id names; None where there is none."""
        ...

    def is_tag(self, name: RepositoryName, revision: str) -> bool:
        """Whether a revision is a tag."""
        ...

    def visibility_of(self, name: RepositoryName) -> Visibility:
        """Who may read a repository."""
        ...

    def files_at(self, name: RepositoryName, commit: str) -> Path:
        """A folder that holds the files of a commit."""
        ...

    def transfer_problems(self, name: RepositoryName, commit: str, folder: Path) -> Iterator[Problem]:
        """Files that did not come as the place itself knows them."""
        ...


class HubPlace:
    """The Hub, or what `HF_ENDPOINT` names; files go into the cache of `huggingface_hub`."""

    def __init__(self) -> None:
        from huggingface_hub import HfApi

        self._api = HfApi()

    @property
    def title(self) -> str:
        """Its address."""
        return self._api.endpoint

    def commit_of(self, name: RepositoryName, revision: str) -> str | None:
        """The commit that a tag, a branch or a commit's own id names; None where there is none."""
        from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

        repo_type, repo_id = repository_of(name)
        with told(f"{self.title}/{name}"):
            try:
                found = patiently(
                    lambda: self._api.repo_info(repo_id, revision=revision, repo_type=repo_type)
                )
            except (RepositoryNotFoundError, RevisionNotFoundError):
                return None
        return found.sha

    def is_tag(self, name: RepositoryName, revision: str) -> bool:
        """Whether a revision is a tag."""
        repo_type, repo_id = repository_of(name)
        with told(f"{self.title}/{name}"):
            refs = patiently(lambda: self._api.list_repo_refs(repo_id, repo_type=repo_type))
        return revision in {tag.name for tag in refs.tags}

    def visibility_of(self, name: RepositoryName) -> Visibility:
        """Who may read a repository."""
        repo_type, repo_id = repository_of(name)
        with told(f"{self.title}/{name}"):
            found = patiently(lambda: self._api.repo_info(repo_id, repo_type=repo_type))
        return "private" if found.private else "public"

    def files_at(self, name: RepositoryName, commit: str) -> Path:
        """A folder that holds the files of a commit."""
        repo_type, repo_id = repository_of(name)
        with told(f"{self.title}/{name}"):
            return Path(self._api.snapshot_download(repo_id, repo_type=repo_type, revision=commit))

    def transfer_problems(self, name: RepositoryName, commit: str, folder: Path) -> Iterator[Problem]:
        """Files whose hash is not the Hub's own: the sha256 in large-file storage, else git's."""
        from huggingface_hub.hf_api import RepoFile

        repo_type, repo_id = repository_of(name)
        with told(f"{self.title}/{name}"):
            listed = patiently(
                lambda: list(
                    self._api.list_repo_tree(repo_id, repo_type=repo_type, revision=commit, recursive=True)
                )
            )
        for file in listed:
            if not isinstance(file, RepoFile):
                continue
            path = folder / file.path
            expected = file.lfs.sha256 if file.lfs else file.blob_id
            if not path.is_file():
                yield Problem(file.path, "did not come", expected=f"hash {expected}", fix=_FETCH_AGAIN)
                continue
            got = sha256_of(path) if file.lfs else git_blob_id(path)
            if got != expected:
                yield Problem(file.path, "is not what the Hub says it is", expected, got, _FETCH_AGAIN)


_FETCH_AGAIN = "delete it from the cache (hf cache) and verify again"


@dataclass(frozen=True)
class FolderPlace:
    """The folder of a folder target; the files of commits are unpacked below `scratch`."""

    root: Path
    scratch: Path

    @property
    def title(self) -> str:
        """The folder."""
        return str(self.root)

    def path_of(self, name: RepositoryName) -> Path:
        """Where a repository lies."""
        repo_type, repo_id = repository_of(name)
        return self.root / f"{repo_type}s" / repo_id

    def commit_of(self, name: RepositoryName, revision: str) -> str | None:
        """The commit that a tag, a branch or a commit's own id names; None where there is none."""
        git = GitRepository(self.path_of(name))
        if not git.exists:
            return None
        for ref in (f"refs/tags/{revision}", f"refs/heads/{revision}"):
            if commit := git.commit_of(ref):
                return commit
        found = git.run("cat-file", "--batch-check", given=f"{revision}\n".encode()).split()
        return found[0] if found[1] == "commit" else None

    def is_tag(self, name: RepositoryName, revision: str) -> bool:
        """Whether a revision is a tag."""
        return GitRepository(self.path_of(name)).commit_of(f"refs/tags/{revision}") is not None

    def visibility_of(self, name: RepositoryName) -> Visibility:
        """Who may read a repository."""
        return "private" if GitRepository(self.path_of(name)).is_private else "public"

    def files_at(self, name: RepositoryName, commit: str) -> Path:
        """A folder that holds the files of a commit, as git gives them."""
        folder = self.scratch / name / commit
        if not folder.exists():
            folder.mkdir(parents=True)
            archive = folder.with_suffix(".tar")
            GitRepository(self.path_of(name)).run("archive", "--format=tar", f"--output={archive}", commit)
            with tarfile.open(archive) as packed:
                packed.extractall(folder, filter="data")
            archive.unlink()
        return folder

    def transfer_problems(self, _name: RepositoryName, _commit: str, _folder: Path) -> Iterator[Problem]:
        """Nothing: git gives back no file whose hash is not its own."""
        return iter(())


def published_name(folder: Path) -> tuple[Path, RepositoryName] | None:
    """The root of the folder target that a work tree lies in, and the repository's name; None elsewhere."""
    folder = folder.absolute()
    kinds = {"datasets": "datasets/", "models": "", "spaces": "spaces/"}
    if len(folder.parts) < 4 or folder.parts[-3] not in kinds or not (folder / ".git").exists():
        return None
    return folder.parents[2], f"{kinds[folder.parts[-3]]}{folder.parts[-2]}/{folder.parts[-1]}"
