"""The repositories of a release that a run leaves alone, but whose commits it names: where they stand."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from pydantic import ValidationError

from dialoguellm_release.errors import DataError, Problem
from dialoguellm_release.folders import MANIFEST
from dialoguellm_release.hub.contents import Contents
from dialoguellm_release.hub.copies import parse_release_file
from dialoguellm_release.hub.targets import Standing, TargetRepository
from dialoguellm_release.schemas.dataset_manifest import DatasetManifest, PublishedSubset
from dialoguellm_release.schemas.release import RELEASE_FILE, Link, RepositoryName

_SAME_BUILD = "publish from the build that it was published from, or give the release a new tag"


@dataclass(frozen=True)
class Other:
    """A repository that a run does not publish, though some that it does were made from it.

    Attributes:
        needed_by: Those.
        contents: What it holds by the build at hand.
        standing: None where it is not there.
    """

    name: RepositoryName
    needed_by: Collection[RepositoryName]
    contents: Contents
    at: TargetRepository
    standing: Standing | None


def links_to(others: Collection[Other], tag: str) -> tuple[dict[RepositoryName, Link], list[Problem]]:
    """The commit of each under the tag of the release, and why some cannot be built upon.

    Why only under the tag: at one tag all links of a release lead to commits of that tag. A commit that is
    linked without it could never get it, were the repository to change before the rest goes out.
    """
    links, problems = dict[RepositoryName, Link](), list[Problem]()
    for other in others:
        found = list(_problems(other, tag))
        problems += found
        if not found and other.standing and other.standing.tagged:
            content = other.contents.content_sha256
            links[other.name] = Link(
                repository=other.name, commit=other.standing.tagged, content_sha256=content
            )
    return links, problems


def _problems(other: Other, tag: str) -> Iterator[Problem]:
    standing, where = other.standing, other.at.where
    needed = f"{', '.join(sorted(other.needed_by))} was made from it"
    if standing is None or standing.tagged is None:
        what = "is not there, or may not be seen" if standing is None else f"has no tag {tag}"
        fix = f"publish it as well: --only {other.name}"
        if standing is not None:
            fix += " (where nothing changed it gets the tag alone)"
        yield Problem(where, f"{what}, and {needed}", expected=f"the tag {tag}", fix=fix)
        return
    if RELEASE_FILE not in standing.tagged_files:
        yield Problem(where, f"has no {RELEASE_FILE} under the tag {tag}, and {needed}")
        return
    try:
        release = parse_release_file(
            other.at.text_at(standing.tagged, RELEASE_FILE), f"{where}: {RELEASE_FILE}"
        )
    except DataError as error:
        yield from error.problems
        return
    if release.content_sha256 != other.contents.content_sha256:
        what = f"holds other content under the tag {tag} than this build, and {needed}"
        got = f"content {release.content_sha256}"
        yield Problem(where, what, f"content {other.contents.content_sha256}", got, _SAME_BUILD)
        return
    manifest = other.contents.manifest
    if isinstance(manifest, DatasetManifest) and manifest.published != _published(other.at, standing):
        what = f"passes on another part of the dataset under the tag {tag} than this build, and {needed}"
        yield Problem(where, what, fix=_SAME_BUILD)


def _published(at: TargetRepository, standing: Standing) -> PublishedSubset | None:
    """What of a dataset was published; None where its manifest does not tell."""
    if standing.tagged is None or MANIFEST not in standing.tagged_files:
        return None
    try:
        return DatasetManifest.model_validate_json(at.text_at(standing.tagged, MANIFEST)).published
    except ValidationError:
        return None
