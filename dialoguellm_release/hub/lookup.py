"""Finds and downloads published repositories: a folder, a repository at a revision, a whole release."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from dialoguellm_release.errors import DataError, Problem, PublishError
from dialoguellm_release.folders import MANIFEST, read_manifest
from dialoguellm_release.hub.places import HUB, FolderPlace, HubPlace, Place, published_name
from dialoguellm_release.recipes.catalogue import load_recipe
from dialoguellm_release.schemas.dataset_manifest import DatasetManifest
from dialoguellm_release.schemas.manifests import AdapterManifest, BackboneManifest, Manifest
from dialoguellm_release.schemas.recipes.release import ReleaseRecipe, Visibility
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


_REPOSITORY = re.compile(
    r"(?P<kind>(datasets|models|spaces)/)?(?P<id>[\w.-]+/[\w.-]+)(@(?P<revision>[\w./-]+))?"
)
MAIN = "main"


@dataclass(frozen=True)
class Absent:
    """A repository or a revision that is not there."""

    name: RepositoryName
    revision: str
    place: str


def look_up(what: str, at: str, scratch: Path) -> Iterator[Copy | Absent]:
    """The repositories that are meant, each with its files.

    Args:
        what: A folder that holds a `release.json` (or any that begins with `.` or `/`), `owner/name`,
            `datasets/owner/name@v1.0.0`, or the name or path of a release recipe.
        at: `hub`, or a folder that was published to.
        scratch: For the files of a folder target.

    Raises:
        DataError: The folder is no published repository, or the name could be several.
        RecipeError: There is no such release recipe.
        PublishError: The Hub cannot be reached or does not answer.
    """
    match = _REPOSITORY.fullmatch(what)
    is_recipe = what.endswith((".yaml", ".yml"))
    if not is_recipe and (what.startswith((".", "/")) or (Path(what) / RELEASE_FILE).is_file()):
        yield _folder(Path(what), scratch)
    elif match and not is_recipe:
        place = _place(at, scratch)
        yield _copy(place, _name(match, what, place), match["revision"] or MAIN)
    else:
        recipe = load_recipe(what, "release", ReleaseRecipe).recipe
        place = _place(at, scratch)
        for name in recipe.in_order():
            yield _copy(place, name, recipe.tag)


def _place(at: str, scratch: Path) -> Place:
    if at == HUB:
        return HubPlace()
    if not Path(at).is_dir():
        raise PublishError(Problem(at, "there is no such folder", fix="--at hub, or a folder published to"))
    return FolderPlace(Path(at), scratch)


def _folder(folder: Path, scratch: Path) -> Copy:
    if not (folder / RELEASE_FILE).is_file():
        is_build = (folder / MANIFEST).is_file()
        what = "was not published: it has no release.json" if is_build else "is no published repository"
        fix = "dlm-release dataset check looks through a dataset that was built" if is_build else None
        raise DataError(Problem(str(folder), what, fix=fix), outcome="nothing was changed")
    known = published_name(folder)
    name = read_release_file(folder / RELEASE_FILE).repository
    if known is None:
        return Copy(folder, name, None, None, None)
    root, name = known
    return Copy(folder, name, None, None, FolderPlace(root, scratch))


def _copy(place: Place, name: RepositoryName, revision: str) -> Copy | Absent:
    commit = place.commit_of(name, revision)
    if commit is None:
        return Absent(name, revision, place.title)
    return Copy(place.files_at(name, commit), name, revision, commit, place)


def _name(match: re.Match[str], what: str, place: Place) -> RepositoryName:
    """The one repository of that name; where no type is stated, every type is tried."""
    repo_id, revision = match["id"], match["revision"] or MAIN
    if match["kind"]:
        return repo_id if match["kind"] == "models/" else f"{match['kind']}{repo_id}"
    names = (f"datasets/{repo_id}", repo_id, f"spaces/{repo_id}")
    there = [name for name in names if place.commit_of(name, revision)]
    if len(there) > 1:
        shown = [f"models/{name}" if name == repo_id else name for name in there]
        raise DataError(
            Problem(what, "names several repositories", " or ".join(shown), fix="name one of them"),
            outcome="nothing was changed",
        )
    return there[0] if there else repo_id


NEEDED = ("manifest.json", "data/*", "standoff/*")
"""The files that a dataset is hydrated from."""

_DATASET_REPOSITORY = re.compile(r"(?P<repo_id>[\w.-]+/[\w.-]+)(@(?P<revision>\S+))?")


def published_folder(place: str) -> Path:
    """The folder of a published dataset: the one that is named, or one that the Hub's files were put into.

    Args:
        place: A folder, or `owner/name` with an optional `@revision`; a folder that is there wins.

    Raises:
        DataError: It is neither, or the Hub does not give it.
    """
    match = _DATASET_REPOSITORY.fullmatch(place)
    if Path(place).is_dir() or match is None:
        return Path(place)

    import httpx2
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        found = snapshot_download(
            match["repo_id"], repo_type="dataset", revision=match["revision"], allow_patterns=list(NEEDED)
        )
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, httpx2.TransportError) as error:
        said = next(iter(str(error).strip().splitlines()), type(error).__name__)
        problem = Problem(
            place,
            f"is no folder here, and the Hub does not give it: {said}",
            fix="name the folder of a published copy, or a dataset repository as owner/name@revision",
        )
        raise DataError(problem) from error
    return Path(found)
