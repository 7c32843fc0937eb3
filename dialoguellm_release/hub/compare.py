"""Compares a planned release with its store: what it changes in each repository, and why it may not."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from dialoguellm_release.cards.card import split_card
from dialoguellm_release.errors import DataError, Problem
from dialoguellm_release.folders import MANIFEST
from dialoguellm_release.hub.checks import Check, check_of
from dialoguellm_release.hub.contents import Commits, PlannedFile, RepoPlan, parse_release_file
from dialoguellm_release.hub.plan import part_of, plan_release
from dialoguellm_release.hub.store import RepoState, Store, Tree, is_stored
from dialoguellm_release.layout import CARD, CROISSANT
from dialoguellm_release.schemas.dataset_manifest import DatasetManifest
from dialoguellm_release.schemas.release import RELEASE_FILE, Link, ReleaseRecipe, RepositoryName

_VERSION = re.compile(r'^  "(version|datePublished)": .*\n', re.MULTILINE)
"""The lines of `croissant.json` with the version and the day of a release."""

_SAME_BUILD = "publish from the build that it was published from, or give the release a new tag"


@dataclass(frozen=True)
class FileChange:
    """A file that a release changes; `size` is in bytes, of a deleted file the one it had."""

    path: str
    change: Literal["added", "changed", "deleted"]
    size: int


def changes(files: Mapping[str, PlannedFile], tree: Tree) -> tuple[FileChange, ...]:
    """The changes from a tree to the planned files, by path; empty where they are equal."""
    found = [FileChange(path, "deleted", stored.size) for path, stored in tree.items() if path not in files]
    for path, file in files.items():
        if path not in tree:
            found.append(FileChange(path, "added", file.size))
        elif not is_stored(file, tree[path]):
            found.append(FileChange(path, "changed", file.size))
    return tuple(sorted(found, key=lambda one: one.path))


@dataclass(frozen=True)
class Step:
    """What a release does in one repository."""

    plan: RepoPlan
    where: str
    state: RepoState | None
    files: Mapping[str, PlannedFile]  # with `UNKNOWN_COMMIT` for each dependency whose commit is not made yet
    commit: str | None  # the one that has the files already; None where a commit is to be made

    @property
    def is_tagged(self) -> bool:
        """Whether the tag of the release exists."""
        return self.state is not None and self.state.tagged is not None

    @property
    def parent(self) -> str | None:
        """The commit of the branch."""
        return self.state.head if self.state else None

    def changes(self, files: Mapping[str, PlannedFile]) -> tuple[FileChange, ...]:
        """What a commit of these files changes on the branch."""
        return changes(files, self.state.files if self.state else {})

    def card_metadata(self) -> Mapping[str, object]:
        """The metadata of the planned card; empty where there is no card."""
        return split_card(self.files[CARD].text())[0] if CARD in self.files else {}


@dataclass(frozen=True)
class Comparison:
    """A planned release and its store.

    Attributes:
        upstream: Repositories that this run does not publish, but whose commits it names, by name.
    """

    steps: Sequence[Step]
    checks: Sequence[Check]
    upstream: Mapping[RepositoryName, Link]


def compare_release(
    recipe: ReleaseRecipe, build: Path, store: Store, names: Collection[RepositoryName]
) -> Comparison:
    """The steps of a release and every check of them; nothing is written."""
    part = part_of(recipe, names)
    states = {name: store.state(name, recipe.tag) for name in part.in_order()}
    cards = {name: one.card for name, one in states.items() if one and one.card is not None}
    plan = plan_release(part, build, cards, names)
    upstream, missing = dict[RepositoryName, Link](), list[Problem]()
    for name, other in plan.upstream.items():
        if needed_by := [one.name for one in plan.repositories if name in one.depends_on]:
            found = list(_link_problems(other, store, states[name], recipe.tag, needed_by))
            missing += found
            if not found and (state := states[name]) and state.tagged:
                upstream[name] = Link(
                    repository=name, commit=state.tagged, content_sha256=other.content_sha256
                )
    steps, commits = list[Step](), {name: link.commit for name, link in upstream.items()}
    for one in plan.repositories:
        state = states[one.name]
        files, commit = _existing(one, commits, state, store)
        if commit:
            commits[one.name] = commit
        steps.append(Step(one, store.where(one.name), state, files, commit))
    problems = [problem for step in steps for problem in step_problems(step, store, recipe.tag)]
    for step in steps:
        if step.commit is None:
            problems += store.card_problems(step.plan.name, step.files[CARD].text())
    checks = [*plan.checks, check_of("target", problems, "tags, changes by others, cards")]
    if plan.upstream:
        checks.append(check_of("upstream", missing, f"left as they are: {', '.join(plan.upstream)}"))
    return Comparison(steps, checks, upstream)


def _existing(
    plan: RepoPlan, commits: Commits, state: RepoState | None, store: Store
) -> tuple[Mapping[str, PlannedFile], str | None]:
    """The planned files, and the commit that has exactly them: that of the tag, else the newest one.

    Why `croissant.json` is read: it states the version of a release, and a dataset that did not change keeps
    its commit, and so the version under which it last changed.
    """
    files = plan.files_at(commits)
    if state is None:
        return files, None
    commit, tree = (state.tagged, state.tagged_files) if state.tagged else (state.head, state.files)
    if commit and CROISSANT in files and CROISSANT in tree and changes(files, tree):
        before = store.read(plan.name, commit, CROISSANT)
        if _VERSION.sub("", before) == _VERSION.sub("", files[CROISSANT].text()):
            texts = plan.texts
            kept = replace(plan, texts=lambda known: {**texts(known), CROISSANT: before}).files_at(commits)
            files = files if changes(kept, tree) else kept
    return files, commit if commit and not changes(files, tree) else None


def step_problems(step: Step, store: Store, tag: str) -> Iterator[Problem]:
    """Why a step is refused: only what a release has published is ever overwritten."""
    state, where = step.state, step.where
    if state is not None:
        yield from _exposure_problems(step.plan, state, where)
        if state.tagged is None:
            yield from _foreign_problems(step.files, state, where)
        elif different := [one.path for one in changes(step.files, state.tagged_files)]:
            what, got = f"the tag {tag} has other content", f"commit {state.tagged}"
            expected = f"the planned files; these differ: {', '.join(different)}"
            fix = "give the release a new tag; a published tag does not move"
            yield Problem(where, what, expected, got, fix, code="hub.tag_has_other_content")
    yield from store.edit_problems(step.plan.name, state, list(step.files))


def _exposure_problems(plan: RepoPlan, state: RepoState, where: str) -> Iterator[Problem]:
    """Where a repository is more open than the release says; its history would be open with it."""
    if state.visibility and state.visibility != plan.visibility:
        what = f"is {state.visibility}, but the release has it as {plan.visibility}"
        expected, got = f"visibility: {plan.visibility}", f"visibility: {state.visibility}"
        fix = "publish under another repo_id, or change the release recipe"
        yield Problem(where, what, expected, got, fix, code="hub.other_visibility")
    if plan.gated and state.visibility and state.gated != plan.gated and not state.is_fresh:
        what, got = "is not gated as the release says", str(state.gated or "not gated")
        fix = "change it in the settings of the repository, or in the release recipe"
        yield Problem(where, what, plan.gated, got, fix, code="hub.not_gated")


def _foreign_problems(files: Mapping[str, PlannedFile], state: RepoState, where: str) -> Iterator[Problem]:
    """Changes by others since the newest release; the card is merged, so it may have been edited."""
    released = state.released or {}
    for path in sorted({*state.files, *released} - {CARD}):
        now, before = state.files.get(path), released.get(path)
        if now == before:
            continue
        at = f"{where}: {path}"
        if now is None:
            if path in files:
                what = "was deleted by somebody else, and would come back"
                yield Problem(at, what, fix="restore it, or plan without it", code="hub.foreign_deletion")
        elif path not in files or not is_stored(files[path], now):
            what, got = "was added or changed by somebody else, and would be lost", f"at commit {state.head}"
            fix = "remove it there with a commit, or publish to another repository"
            yield Problem(at, what, got=got, fix=fix, code="hub.foreign_file")


def _link_problems(
    other: RepoPlan, store: Store, state: RepoState | None, tag: str, needed_by: Collection[RepositoryName]
) -> Iterator[Problem]:
    """Why a repository that is not published cannot be linked to at the tag of the release.

    Why only at the tag: under one tag all links of a release lead to commits of that tag. A commit that is
    linked without it could never get it, were the repository to change before the rest is published.
    """
    where, needed = store.where(other.name), f"{', '.join(sorted(needed_by))} was made from it"
    if state is None or state.tagged is None:
        what = "was not found, or this token may not see it" if state is None else f"has no tag {tag}"
        alone = " (where nothing changed it gets the tag alone)" if state else ""
        what, fix = f"{what}, and {needed}", f"publish it as well: --only {other.name}{alone}"
        yield Problem(where, what, f"the tag {tag}", fix=fix, code="hub.link_not_published")
        return
    if RELEASE_FILE not in state.tagged_files:
        what = f"has no {RELEASE_FILE} at the tag {tag}, and {needed}"
        yield Problem(where, what, code="hub.link_without_release")
        return
    text = store.read(other.name, state.tagged, RELEASE_FILE)
    try:
        release = parse_release_file(text, f"{where}: {RELEASE_FILE}")
    except DataError as error:
        yield from error.problems
        return
    if release.content_sha256 != other.content_sha256:
        what = f"has other content at the tag {tag} than this build, and {needed}"
        contents = f"content {other.content_sha256}", f"content {release.content_sha256}"
        yield Problem(where, what, *contents, _SAME_BUILD, code="hub.link_has_other_content")
        return
    if isinstance(other.manifest, DatasetManifest):
        published = None
        with suppress(ValidationError):
            if MANIFEST in state.tagged_files:
                text = store.read(other.name, state.tagged, MANIFEST)
                published = DatasetManifest.model_validate_json(text).published
        if published is None or published != other.manifest.published:
            what = f"publishes another part of the dataset at the tag {tag} than this build, and {needed}"
            yield Problem(where, what, fix=_SAME_BUILD, code="hub.link_has_other_part")
