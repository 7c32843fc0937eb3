"""Compares a planned release with what its target holds."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from dialoguellm_release.cards.card import split_card
from dialoguellm_release.errors import DataError, Problem
from dialoguellm_release.folders import MANIFEST
from dialoguellm_release.hub.checks import Verdict, verdict_on
from dialoguellm_release.hub.contents import Contents, PlannedFile, PlannedRepository
from dialoguellm_release.hub.lookup import parse_release_file
from dialoguellm_release.hub.plan import plan_release
from dialoguellm_release.hub.sources import part_of
from dialoguellm_release.hub.targets import (
    Standing,
    StoredFile,
    Target,
    TargetRepository,
    Tree,
)
from dialoguellm_release.layout import CARD
from dialoguellm_release.schemas.dataset_manifest import DatasetManifest, PublishedSubset
from dialoguellm_release.schemas.recipes.release import ReleaseRecipe
from dialoguellm_release.schemas.release import RELEASE_FILE, Link, RepositoryName

Change = Literal["added", "changed", "deleted"]


@dataclass(frozen=True)
class FileChange:
    """A file that differs from what is there; `size` is in bytes, of a deleted file the one it had."""

    path: str
    change: Change
    size: int


def is_stored(file: PlannedFile, stored: StoredFile) -> bool:
    """Whether a target holds the content of a planned file."""
    if file.size != stored.size:
        return False
    if stored.sha256 is not None:
        return file.sha256 == stored.sha256
    return file.blob_id == stored.blob_id


def changes(files: Mapping[str, PlannedFile], tree: Tree) -> tuple[FileChange, ...]:
    """What makes a tree the planned files, by path; empty where it is them already."""
    return tuple(_changes(files, tree))


def _changes(files: Mapping[str, PlannedFile], tree: Tree) -> Iterator[FileChange]:
    for path in sorted({*files, *tree}):
        if path not in tree:
            yield FileChange(path, "added", files[path].size)
        elif path not in files:
            yield FileChange(path, "deleted", tree[path].size)
        elif not is_stored(files[path], tree[path]):
            yield FileChange(path, "changed", files[path].size)


def placed(files: Mapping[str, PlannedFile], standing: Standing | None) -> str | None:
    """The commit that holds exactly the planned files already: that of the tag, else the newest one."""
    if standing is None:
        return None
    found, held = (
        (standing.tagged, standing.tagged_files) if standing.tagged else (standing.head, standing.files)
    )
    return found if found and not changes(files, held) else None


def refusals(
    planned: PlannedRepository,
    files: Mapping[str, PlannedFile],
    standing: Standing | None,
    where: str,
    tag: str,
) -> Iterator[Problem]:
    """Why a release may not do what it would do; nothing is ever overwritten that no release has placed."""
    if standing is None:
        return
    yield from _exposure(planned, standing, where)
    if standing.tagged:
        different = [one.path for one in changes(files, standing.tagged_files)]
        if different:
            yield Problem(
                where,
                f"the tag {tag} stands on other content",
                expected=f"the planned files; these differ: {', '.join(different)}",
                got=f"commit {standing.tagged}",
                fix="give the release a new tag; a tag that was published does not move",
            )
        return
    yield from _foreign(files, standing, where)


def _exposure(planned: PlannedRepository, standing: Standing, where: str) -> Iterator[Problem]:
    """Where a repository is not as open as the release says; its history would be open with it."""
    if standing.visibility and standing.visibility != planned.visibility:
        yield Problem(
            where,
            f"is {standing.visibility}, but the release has it as {planned.visibility}",
            expected=f"visibility: {planned.visibility}",
            got=f"visibility: {standing.visibility}",
            fix="publish under another repo_id, or change the release recipe",
        )
    if planned.gated and standing.visibility and standing.gated != planned.gated:
        yield Problem(
            where,
            "is not gated as the release says",
            expected=str(planned.gated),
            got=str(standing.gated or "not gated"),
            fix="change it in the settings of the repository, or in the release recipe",
        )


def _foreign(files: Mapping[str, PlannedFile], standing: Standing, where: str) -> Iterator[Problem]:
    """What others changed since the newest release; the card is merged, so it may have been edited."""
    released = standing.released or {}
    for path in sorted({*standing.files, *released} - {CARD}):
        there, before = standing.files.get(path), released.get(path)
        if there == before:
            continue
        if there is None:
            if path in files:
                what, fix = (
                    "was deleted by somebody else, and would come back",
                    "bring it back, or plan without it",
                )
                yield Problem(f"{where}: {path}", what, fix=fix)
        elif path not in files or not is_stored(files[path], there):
            yield Problem(
                f"{where}: {path}",
                "was put there by somebody else, and would be lost",
                got=f"at commit {standing.head}",
                fix="take it out there with a commit of your own, or publish to another repository",
            )


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
    if isinstance(manifest, DatasetManifest) and manifest.published != _published_subset(other.at, standing):
        what = f"passes on another part of the dataset under the tag {tag} than this build, and {needed}"
        yield Problem(where, what, fix=_SAME_BUILD)


def _published_subset(at: TargetRepository, standing: Standing) -> PublishedSubset | None:
    """What of a dataset was published; None where its manifest does not tell."""
    if standing.tagged is None or MANIFEST not in standing.tagged_files:
        return None
    try:
        return DatasetManifest.model_validate_json(at.text_at(standing.tagged, MANIFEST)).published
    except ValidationError:
        return None


@dataclass(frozen=True)
class Step:
    """What a release does in one repository.

    Attributes:
        files: As far as they are known: a dependant names a commit that is not made yet by `UNKNOWN_COMMIT`.
        commit: That already holds the files; None where one is to be made.
    """

    planned: PlannedRepository
    at: TargetRepository
    standing: Standing | None
    files: Mapping[str, PlannedFile]
    commit: str | None

    @property
    def is_tagged(self) -> bool:
        """Whether the tag of the release is there."""
        return self.standing is not None and self.standing.tagged is not None

    @property
    def parent(self) -> str | None:
        """The commit that the branch stands on."""
        return self.standing.head if self.standing else None

    def changes(self, files: Mapping[str, PlannedFile]) -> tuple[FileChange, ...]:
        """What a commit of these files does on top of the branch."""
        return changes(files, self.standing.files if self.standing else {})

    def refusals(self, tag: str) -> list[Problem]:
        """Why the release may not do it."""
        return [
            *refusals(self.planned, self.files, self.standing, self.at.where, tag),
            *self.at.refusals(self.standing, list(self.files)),
        ]

    def card_metadata(self) -> Mapping[str, object]:
        """The metadata of the planned card; empty where there is no card."""
        if CARD not in self.files:
            return {}
        content = self.files[CARD].content
        text = content.decode() if isinstance(content, bytes) else content.read_text(encoding="utf-8")
        return split_card(text)[0]


@dataclass(frozen=True)
class Comparison:
    """A release next to what its target holds.

    Attributes:
        steps: In the order of the graph.
        verdicts: Every one on them.
        others: The repositories that are left alone, but whose commits are named, by their names.
    """

    steps: Sequence[Step]
    verdicts: Sequence[Verdict]
    others: Mapping[RepositoryName, Link]


def compare_release(
    recipe: ReleaseRecipe, build: Path, target: Target, names: Collection[RepositoryName]
) -> Comparison:
    """The steps of a release, and every verdict on them; nothing is written.

    Args:
        names: The repositories to publish.
    """
    part = part_of(recipe, names)
    found = {name: target.repository(name) for name in part.in_order()}
    standings = {name: one.look(recipe.tag) for name, one in found.items()}
    cards = {name: one.card for name, one in standings.items() if one and one.card is not None}
    plan = plan_release(part, build, cards, names)
    others, missing = links_to(
        [
            Other(name, needed_by, held, found[name], standings[name])
            for name, held in plan.others.items()
            if (needed_by := [one.name for one in plan.repositories if name in one.depends_on])
        ],
        recipe.tag,
    )
    steps, commits = list[Step](), {name: link.commit for name, link in others.items()}
    for planned in plan.repositories:
        files, standing = planned.files_at(commits), standings[planned.name]
        commit = placed(files, standing)
        if commit:
            commits[planned.name] = commit
        steps.append(Step(planned, found[planned.name], standing, files, commit))
    problems = [problem for step in steps for problem in step.refusals(recipe.tag)]
    verdicts = [*plan.verdicts, verdict_on("target", problems, "tags, and what others changed there")]
    if plan.others:
        verdicts.append(verdict_on("others", missing, f"left as they are: {', '.join(plan.others)}"))
    return Comparison(steps, verdicts, others)
