"""A repository as it was published, read back with its `release.json` and its manifest."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from dialoguellm_release.errors import DataError, Problem
from dialoguellm_release.folders import MANIFEST, read_manifest
from dialoguellm_release.hub.places import Place
from dialoguellm_release.schemas.dataset_manifest import DatasetManifest
from dialoguellm_release.schemas.manifests import AdapterManifest, BackboneManifest, Manifest
from dialoguellm_release.schemas.recipes.release import Visibility
from dialoguellm_release.schemas.release import RELEASE_FILE, Link, ReleaseFile, RepositoryName

Kind = TypeVar("Kind", bound=Manifest)


@dataclass(frozen=True)
class Copy:
    """The files of a repository at one commit.

    Attributes:
        name: None where the folder does not say, so that only its files can be looked at.
        revision: The tag, branch or commit that was asked for; None for a folder as it stands.
        commit: None for a folder as it stands.
        place: Where the others of its release are; None where that is not known.
    """

    folder: Path
    name: RepositoryName | None
    revision: str | None
    commit: str | None
    place: Place | None

    @cached_property
    def release(self) -> ReleaseFile:
        """Its `release.json`.

        Raises:
            DataError: There is none, or it is damaged.
        """
        return read_release_file(self.folder / RELEASE_FILE)

    @cached_property
    def dataset(self) -> DatasetManifest | None:
        """Its manifest, if it is a dataset."""
        return self._manifest(DatasetManifest)

    @cached_property
    def backbone(self) -> BackboneManifest | None:
        """Its manifest, if it is a backbone."""
        return self._manifest(BackboneManifest)

    @cached_property
    def adapter(self) -> AdapterManifest | None:
        """Its manifest, if it is an adapter."""
        return self._manifest(AdapterManifest)

    @property
    def visibility(self) -> Visibility:
        """Who may read it; who may read a loose folder is its owner's business."""
        if self.place is None or self.name is None:
            return "private"
        return self.place.visibility_of(self.name)

    @cached_property
    def linked(self) -> tuple[Copy, ...]:
        """What it was made from, as far as that is there at the commits that it names."""
        if self.place is None:
            return ()
        return tuple(copy for link in self.release.depends_on if (copy := self.at(link)) is not None)

    def at(self, link: Link) -> Copy | None:
        """The repository that a link names, at its commit; None where it is not there."""
        place = self.place
        if place is None or place.commit_of(link.repository, link.commit) is None:
            return None
        return Copy(place.files_at(link.repository, link.commit), link.repository, None, link.commit, place)

    def _manifest(self, model: type[Kind]) -> Kind | None:
        if not (self.folder / MANIFEST).is_file():
            return None
        try:
            return read_manifest(self.folder, model)
        except DataError:
            return None


def read_release_file(path: Path) -> ReleaseFile:
    """A `release.json`.

    Raises:
        DataError: There is none, or it is damaged.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(Problem(str(path), f"cannot be read: {error.strerror}")) from error
    return parse_release_file(content, str(path))


def parse_release_file(content: bytes | str, where: str) -> ReleaseFile:
    """The content of a `release.json`.

    Args:
        where: It is from, for messages.

    Raises:
        DataError: It is damaged.
    """
    try:
        return ReleaseFile.model_validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "the file"
        raise DataError(Problem(where, f"is no release.json: {place}: {first['msg']}")) from error
