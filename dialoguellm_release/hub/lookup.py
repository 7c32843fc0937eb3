"""What `verify` is asked to look at: a folder, a repository at a revision, or a whole release."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from dialoguellm_release.errors import DataError, Problem, PublishError
from dialoguellm_release.folders import MANIFEST
from dialoguellm_release.hub.copies import Copy, read_release_file
from dialoguellm_release.hub.places import HUB, FolderPlace, HubPlace, Place, published_name
from dialoguellm_release.recipes.catalogue import load_recipe
from dialoguellm_release.schemas.recipes.release import ReleaseRecipe
from dialoguellm_release.schemas.release import RELEASE_FILE, RepositoryName

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
