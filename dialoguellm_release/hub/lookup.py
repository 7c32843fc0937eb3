"""Finds and downloads published repositories: a folder, a repository at a revision, a whole release."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from dialoguellm_release.errors import DataError, Problem, PublishError
from dialoguellm_release.folders import MANIFEST, read_manifest
from dialoguellm_release.hub.contents import read_release_file
from dialoguellm_release.hub.store import BRANCH, UNCHANGED, Store, open_store
from dialoguellm_release.hub.store_folder import FolderStore, published_name
from dialoguellm_release.recipes.catalogue import load_recipe
from dialoguellm_release.schemas.dataset_manifest import DatasetManifest
from dialoguellm_release.schemas.manifests import AdapterManifest, BackboneManifest, Manifest
from dialoguellm_release.schemas.release import (
    RELEASE_FILE,
    Link,
    ReleaseFile,
    ReleaseRecipe,
    RepositoryName,
    Visibility,
)

NEEDED = ("manifest.json", "data/*", "standoff/*")
"""The files that a dataset is hydrated from."""

_REPOSITORY = re.compile(
    r"(?P<kind>(datasets|models|spaces)/)?(?P<id>[\w.-]+/[\w.-]+)(@(?P<revision>[\w./-]+))?"
)
_DATASET_REPOSITORY = re.compile(r"(?P<repo_id>[\w.-]+/[\w.-]+)(@(?P<revision>\S+))?")

Kind = TypeVar("Kind", bound=Manifest)


@dataclass(frozen=True)
class Copy:
    """The files of a repository at one commit."""

    folder: Path
    name: RepositoryName | None  # None where the folder does not say
    revision: str | None  # the tag, branch or commit that was asked for; None for a work tree
    commit: str | None
    store: Store | None  # where the other repositories of its release are; None where that is unknown

    @cached_property
    def release(self) -> ReleaseFile:
        """Its `release.json`."""
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
        """Who may read it; private where that is unknown."""
        if self.store is None or self.name is None:
            return "private"
        return self.store.visibility(self.name)

    @cached_property
    def linked(self) -> tuple[Copy, ...]:
        """What it was made from, where the commits that it names exist."""
        if self.store is None:
            return ()
        return tuple(copy for link in self.release.depends_on if (copy := self.at(link)) is not None)

    def at(self, link: Link) -> Copy | None:
        """The repository that a link names, at its commit; None where that does not exist."""
        store, name, commit = self.store, link.repository, link.commit
        if store is None or store.resolve(name, commit) is None:
            return None
        return Copy(store.download(name, commit), name, None, commit, store)

    def _manifest(self, model: type[Kind]) -> Kind | None:
        if not (self.folder / MANIFEST).is_file():
            return None
        try:
            return read_manifest(self.folder, model)
        except DataError:
            return None


@dataclass(frozen=True)
class Absent:
    """A repository or a revision that does not exist, or that this token may not see."""

    name: RepositoryName
    revision: str
    where: str


def find_published(what: str, at: str, scratch: Path) -> Iterator[Copy | Absent]:
    """The repositories that `verify` is asked for, each with its files.

    `what` is a folder that holds a `release.json` (or any that begins with `.` or `/`), `owner/name`,
    `datasets/owner/name@v1.0.0`, or the name or path of a release recipe.
    """
    match = _REPOSITORY.fullmatch(what)
    is_recipe = what.endswith((".yaml", ".yml"))
    if not is_recipe and (what.startswith((".", "/")) or (Path(what) / RELEASE_FILE).is_file()):
        yield _work_tree(Path(what), scratch)
    elif match and not is_recipe:
        store = open_store(at, scratch)
        yield _copy(store, _name(match, what, store), match["revision"] or BRANCH)
    else:
        recipe = load_recipe(what, "release", ReleaseRecipe).recipe
        store = open_store(at, scratch)
        for name in recipe.in_order():
            yield _copy(store, name, recipe.tag)


def _work_tree(folder: Path, scratch: Path) -> Copy:
    if not (folder / RELEASE_FILE).is_file():
        is_build = (folder / MANIFEST).is_file()
        what = "was not published: it has no release.json" if is_build else "is not a published repository"
        fix = "to check a dataset that was built: dlm-release dataset check" if is_build else None
        raise DataError(Problem(str(folder), what, fix=fix, code="hub.not_published"), UNCHANGED)
    known = published_name(folder)
    if known is None:
        return Copy(folder, read_release_file(folder / RELEASE_FILE).repository, None, None, None)
    return Copy(folder, known[1], None, None, FolderStore(known[0], scratch))


def _copy(store: Store, name: RepositoryName, revision: str) -> Copy | Absent:
    found = store.resolve(name, revision)
    if found is None:
        return Absent(name, revision, store.where(name))
    return Copy(store.download(name, found.commit), name, revision, found.commit, store)


def _name(match: re.Match[str], what: str, store: Store) -> RepositoryName:
    """The one repository of that name; without a type, every type is tried."""
    repo_id, revision = match["id"], match["revision"] or BRANCH
    if match["kind"]:
        return repo_id if match["kind"] == "models/" else f"{match['kind']}{repo_id}"
    names = (f"datasets/{repo_id}", repo_id, f"spaces/{repo_id}")
    found = [name for name in names if store.resolve(name, revision)]
    if len(found) > 1:
        shown = " or ".join(f"models/{name}" if name == repo_id else name for name in found)
        what_is_wrong, fix = "is the name of several repositories", "name one of them"
        raise DataError(Problem(what, what_is_wrong, shown, fix=fix, code="hub.ambiguous_name"), UNCHANGED)
    return found[0] if found else repo_id


def published_folder(source: str) -> Path:
    """The folder of a published dataset: an existing one, or the files of `owner/name@revision`."""
    match = _DATASET_REPOSITORY.fullmatch(source)
    if Path(source).is_dir() or match is None:
        return Path(source)

    from huggingface_hub.errors import HFValidationError

    from dialoguellm_release.hub.store_hub import HubStore

    fix = "name the folder of a published copy, or a dataset repository as owner/name@revision"
    try:
        return HubStore().download(f"datasets/{match['repo_id']}", match["revision"] or BRANCH, NEEDED)
    except HFValidationError as error:
        what = f"is neither a folder nor the name of a repository: {error}"
        raise DataError(Problem(source, what, fix=fix, code="hub.bad_name")) from error
    except PublishError as error:
        problems = [
            replace(one, what=f"{one.what}; {source} is not a folder either", fix=one.fix or fix)
            for one in error.problems
        ]
        raise DataError(problems) from error
