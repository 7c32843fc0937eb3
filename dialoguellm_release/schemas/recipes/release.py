"""The release recipe: which folders become which repositories, under one tag."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from dialoguellm_release.schemas.base import Schema, Text

RepoId = Annotated[str, Field(pattern=r"^[\w.-]+/[\w.-]+$")]


Visibility = Literal["public", "private"]
"""Who may read a repository: everybody, or those whom its owner names."""


class DatasetRepository(Schema):
    """The dataset; `folder` is relative to `--from`.

    Attributes:
        visibility: Only in a private repository do the `rights` of the dataset recipe count.
    """

    repo_id: RepoId
    folder: Text
    visibility: Visibility = "public"


class BackboneRepository(Schema):
    """A backbone of our own making; `folder` is relative to `--from`."""

    repo_id: RepoId
    folder: Text


class AdapterRepository(Schema):
    """An adapter with the score folders whose figures its card shows; all relative to `--from`."""

    repo_id: RepoId
    folder: Text
    scores: tuple[Text, ...] = ()


class SpaceRepository(Schema):
    """A metric of `metrics/`, published alone."""

    repo_id: RepoId
    metric: Text


class ReleaseRecipe(Schema):
    """A release: every repository gets the same tag."""

    version: Literal[1]
    kind: Literal["release"]
    description: Text
    tag: Annotated[str, Field(pattern=r"^v\d+\.\d+\.\d+$")]
    dataset: DatasetRepository | None = None
    backbones: tuple[BackboneRepository, ...] = ()
    adapters: tuple[AdapterRepository, ...] = ()
    spaces: tuple[SpaceRepository, ...] = ()

    @model_validator(mode="after")
    def _repositories_are_distinct(self) -> Self:
        models = [backbone.repo_id for backbone in self.backbones]
        models += [adapter.repo_id for adapter in self.adapters]
        spaces = [repository.repo_id for repository in self.spaces]
        for repo_ids in (models, spaces):
            twice = sorted({repo_id for repo_id in repo_ids if repo_ids.count(repo_id) > 1})
            if twice:
                raise ValueError(f"named twice: {', '.join(twice)}")
        if self.dataset is None and not models and not spaces:
            raise ValueError("names no repository")
        return self
