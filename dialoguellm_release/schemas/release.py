"""`release.json`: what a published repository is, and the commits of those that it was made from."""

from __future__ import annotations

from pathlib import PurePath
from typing import Annotated, Literal, get_args

from pydantic import Field

from dialoguellm_release.schemas.base import Commit, Schema, Sha256, Text
from dialoguellm_release.schemas.manifests import FileStamp

RepoType = Literal["dataset", "model", "space"]
RepoId = Annotated[str, Field(pattern=r"^[\w.-]+/[\w.-]+$")]
RepositoryName = Annotated[str, Field(pattern=r"^((datasets|spaces)/)?[\w.-]+/[\w.-]+$")]
"""A repository as the Hub's addresses name it: `owner/name` is a model; `datasets/owner/name`."""

Tag = Annotated[
    str,
    Field(pattern=r"^v(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*)?$"),
]
"""A semantic version after a `v`: `v1.0.0`, `v1.1.0-rc.1`."""

RELEASE_FILE = "release.json"


class AppAdapter(Schema):
    """An adapter that an app offers.

    Attributes:
        adapter: Its repository, or the path of a folder.
        revision: None for a folder.
        corpus: Whose labels it gives; None where it knows one label space.
        backbone: The folder of its base; None takes the base from the Hub.
    """

    adapter: Text
    revision: Text | None = None
    corpus: Text | None = None
    backbone: Text | None = None

    @property
    def name(self) -> str:
        """What a visitor sees: no path of the machine."""
        return self.adapter if self.revision else PurePath(self.adapter).name


class AppAdapters(Schema):
    """`adapters.json` of an app: what a visitor may choose from, the first one chosen at the start."""

    version: Literal[1] = 1
    kind: Literal["app_adapters"] = "app_adapters"
    adapters: Annotated[tuple[AppAdapter, ...], Field(min_length=1)]


class Link(Schema):
    """A repository of the same release that another one was made from.

    Attributes:
        content_sha256: What its own `release.json` at that commit states.
    """

    repository: RepositoryName
    commit: Commit
    content_sha256: Sha256


class ForeignBase(Schema):
    """The model that an adapter was trained on, where it is not part of the release.

    Attributes:
        revision: Commit; None where the backbone recipe pins none.
    """

    repo_id: Text
    revision: Commit | None


class ScoreLink(Schema):
    """A scoring run whose figures the card shows; `name` is its folder below `scores/`."""

    name: Text
    content_sha256: Sha256


class ReleaseFile(Schema):
    """`release.json` of a repository.

    Why it has no tag: a repository that did not change is the same under the next tag, and the links of its
    dependants name the commit of each tag.

    Attributes:
        content_sha256: Of what it was made from, as the manifest of that folder states it; of a Space, one
            hash over its files.
        files: Every file of the repository but this one.
        files_sha256: One hash over `files`.
        depends_on: What it was made from; at one tag of a release these are the commits under that tag.
        base: Of an adapter on a model outside of the release; else None.
        prompt_sha256: Of a dataset and an adapter: the prompt that they go with; else None.
        scores: Of an adapter.
    """

    version: Literal[1] = 1
    kind: Literal["release"] = "release"
    repository: RepositoryName
    content_sha256: Sha256
    files_sha256: Sha256
    depends_on: tuple[Link, ...] = ()
    base: ForeignBase | None = None
    prompt_sha256: Sha256 | None = None
    scores: tuple[ScoreLink, ...] = ()
    files: tuple[FileStamp, ...]


_PREFIXES: dict[RepoType, str] = {"dataset": "datasets/", "model": "", "space": "spaces/"}


def repository_name(repo_type: RepoType, repo_id: str) -> RepositoryName:
    """A repository as the Hub's addresses name it.

    >>> repository_name("dataset", "owner/name"), repository_name("model", "owner/name")
    ('datasets/owner/name', 'owner/name')
    """
    return _PREFIXES[repo_type] + repo_id


def repository_of(name: RepositoryName) -> tuple[RepoType, str]:
    """Type and id of a repository from its name.

    >>> repository_of("spaces/owner/name"), repository_of("owner/name")
    (('space', 'owner/name'), ('model', 'owner/name'))
    """
    for repo_type in get_args(RepoType):
        prefix = _PREFIXES[repo_type]
        if prefix and name.startswith(prefix) and name.count("/") == 2:
            return repo_type, name.removeprefix(prefix)
    return "model", name
