"""The release recipe, and the file release.json of each repository that it makes."""

from __future__ import annotations

from collections.abc import Sequence
from graphlib import CycleError, TopologicalSorter
from itertools import chain
from pathlib import PurePath
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from dialoguellm_release.schemas.base import Commit, Recipe, RepoId, Schema, Sha256, Text
from dialoguellm_release.schemas.manifests import FileStamp

RepoType = Literal["dataset", "model", "space"]
RepositoryName = Annotated[str, Field(pattern=r"^((datasets|spaces)/)?[\w.-]+/[\w.-]+$")]
"""A repository as the Hub's addresses name it: `owner/name` is a model; `datasets/owner/name`."""

Tag = Annotated[
    str, Field(pattern=r"^v(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*)?$")
]
"""A semantic version after a `v`: `v1.0.0`, `v1.1.0-rc.1`."""

RELEASE_FILE = "release.json"


class AppAdapter(Schema):
    """An adapter that an app offers."""

    adapter: Text  # its repository, or the path of a folder
    revision: Text | None = None
    corpus: Text | None = None  # whose labels it gives; None where it knows one label space
    backbone: Text | None = None  # the folder of its base; None takes the base from the Hub

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
    """A repository of the same release that another one was made from."""

    repository: RepositoryName
    commit: Commit
    content_sha256: Sha256  # what its own `release.json` at that commit states


class ForeignBase(Schema):
    """The model that an adapter was trained on, where it is not part of the release."""

    repo_id: Text
    revision: Commit | None  # commit; None where the backbone recipe pins none


class ScoreLink(Schema):
    """A scoring run whose figures the card shows; `name` is its folder below `scores/`."""

    name: Text
    content_sha256: Sha256


class ReleaseFile(Schema):
    """`release.json` of a repository.

    Why it has no tag: a repository that did not change is the same under the next tag, and the links of its
    dependants name the commit of each tag.
    """

    version: Literal[1] = 1
    kind: Literal["release"] = "release"
    repository: RepositoryName
    # Of what it was made from, as the manifest of that folder states it; of a Space, one hash over its
    # files.
    content_sha256: Sha256
    files_sha256: Sha256  # one hash over `files`
    # What it was made from; at one tag of a release these are the commits under that tag.
    depends_on: tuple[Link, ...] = ()
    base: ForeignBase | None = None  # of an adapter on a model outside of the release; else None
    # Of a dataset and an adapter: the prompt that they go with; else None.
    prompt_sha256: Sha256 | None = None
    scores: tuple[ScoreLink, ...] = ()
    files: tuple[FileStamp, ...]  # every file of the repository but this one


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
    for repo_type, prefix in _PREFIXES.items():
        if prefix and name.startswith(prefix) and name.count("/") == 2:
            return repo_type, name.removeprefix(prefix)
    return "model", name


COLLECTION_TEXT = 150
"""Longest description of a collection that the Hub takes, in characters."""


Visibility = Literal["public", "private"]
"""Who may read a repository: everybody, or the members of its owner."""


class Repository(Schema):
    """What every repository of a release states."""

    repo_id: RepoId
    visibility: Visibility = "public"
    # Who may download: everybody, users who accept the terms (`auto`), approved users (`manual`).
    gated: Literal[False, "auto", "manual"] = False
    # The repositories of this release that it was made from, by their names.
    depends_on: tuple[RepositoryName, ...] = ()


class DatasetRepository(Repository):
    """The dataset; `folder` is relative to `--from`.

    Only in a private repository do the `rights` of the dataset recipe count.
    """

    folder: Text


class BackboneRepository(Repository):
    """A backbone that is part of the release; `folder` is relative to `--from`."""

    folder: Text


class AdapterRepository(Repository):
    """An adapter with the score folders whose figures its card shows; all relative to `--from`.

    `depends_on` has the dataset that it was trained on, the backbone where that is part of the release, and
    the metrics of its scores.
    """

    folder: Text
    scores: tuple[Text, ...] = ()


class SpaceRepository(Repository):
    """A metric of `metrics/` or an app of `spaces/`; the Hub gates no Spaces.

    An app depends on the adapters that it offers, and on the dataset, which its card then names.
    """

    metric: Text | None = None
    app: Text | None = None
    gated: Literal[False] = False

    @model_validator(mode="after")
    def _is_a_metric_or_an_app(self) -> Self:
        if (self.metric is None) == (self.app is None):
            raise ValueError("a Space has either a metric or an app")
        return self

    @model_validator(mode="after")
    def _is_named_as_its_module(self) -> Self:
        # `evaluate.load("owner/name")` looks for `name.py` in the Space.
        owner, _, name = self.repo_id.partition("/")
        if self.metric is not None and name != self.metric:
            what = "evaluate.load needs the Space to be named like its module"
            raise ValueError(f"{what}: {owner}/{self.metric}")
        return self


class Collection(Schema):
    """The page of the Hub that shows the repositories of a release side by side.

    Attributes:
        description: None takes the one of the release.
    """

    namespace: Annotated[str, Field(pattern=r"^[\w.-]+$")]
    title: Annotated[str, Field(min_length=1, max_length=60)]
    description: Annotated[str, Field(min_length=1, max_length=COLLECTION_TEXT)] | None = None


class ReleaseRecipe(Recipe):
    """A release: every repository gets the same tag.

    Attributes:
        date: Day of the release, YYYY-MM-DD, for the metadata of the dataset; None leaves it out.
        changelog: What is new in it; part of the message of each commit and tag.
    """

    kind: Literal["release"]
    tag: Tag
    date: Annotated[str, Field(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$")] | None = None
    changelog: Text
    dataset: DatasetRepository | None = None
    backbones: tuple[BackboneRepository, ...] = ()
    adapters: tuple[AdapterRepository, ...] = ()
    spaces: tuple[SpaceRepository, ...] = ()
    collection: Collection | None = None

    @property
    def repositories(self) -> dict[RepositoryName, Repository]:
        """Every repository by its name, in the order of the recipe."""
        return dict(self._named())

    def in_order(self) -> tuple[RepositoryName, ...]:
        """The names of the repositories, each after all that it depends on."""
        named = self.repositories
        return tuple(TopologicalSorter({name: one.depends_on for name, one in named.items()}).static_order())

    @model_validator(mode="after")
    def _repositories_are_distinct(self) -> Self:
        names = [name for name, _ in self._named()]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"named twice: {', '.join(twice)}")
        if not names:
            raise ValueError("names no repository")
        return self

    @model_validator(mode="after")
    def _dependencies_can_be_followed(self) -> Self:
        named = self.repositories
        for name, one in named.items():
            unknown = [other for other in one.depends_on if other not in named]
            if unknown:
                what = f"{name} depends on {', '.join(unknown)}, which is not in this release"
                raise ValueError(f"{what}; it has {', '.join(sorted(named))}")
        try:
            self.in_order()
        except CycleError as error:
            raise ValueError(f"depend on each other in a circle: {' -> '.join(error.args[1])}") from None
        return self

    @model_validator(mode="after")
    def _adapters_have_one_base(self) -> Self:
        bases = {backbone.repo_id for backbone in self.backbones}
        for adapter in self.adapters:
            named = [name for name in adapter.depends_on if name in bases]
            if len(named) > 1:
                raise ValueError(f"{adapter.repo_id} depends on several backbones: {', '.join(named)}")
        return self

    @model_validator(mode="after")
    def _apps_have_an_adapter(self) -> Self:
        adapters = {adapter.repo_id for adapter in self.adapters}
        for space in self.spaces:
            if space.app is not None and not adapters & set(space.depends_on):
                what = "depends on no adapter of this release, so it has none to offer"
                raise ValueError(f"{space.repo_id} {what}")
        return self

    def by_key(self) -> dict[str, list[tuple[RepositoryName, Repository]]]:
        """The repositories of each key of the recipe, with their names."""
        listed: dict[str, tuple[RepoType, Sequence[Repository]]] = {
            "dataset": ("dataset", [self.dataset] if self.dataset else []),
            "backbones": ("model", self.backbones),
            "adapters": ("model", self.adapters),
            "spaces": ("space", self.spaces),
        }
        return {
            key: [(repository_name(repo_type, one.repo_id), one) for one in held]
            for key, (repo_type, held) in listed.items()
        }

    def _named(self) -> list[tuple[RepositoryName, Repository]]:
        return list(chain.from_iterable(self.by_key().values()))
