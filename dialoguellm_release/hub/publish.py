"""Publishes a release to a store: plan, compare, upload, commit, verify, and only then tag."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from dialoguellm_release.errors import Problem, PublishError
from dialoguellm_release.hub.checks import Verdict, problems_of
from dialoguellm_release.hub.compare import Comparison, FileChange, Step, changes, compare_release
from dialoguellm_release.hub.contents import PlannedFile
from dialoguellm_release.hub.folder import FolderTarget
from dialoguellm_release.hub.sources import chosen
from dialoguellm_release.hub.targets import TRAILER, UNFINISHED, CollectionPage, Target
from dialoguellm_release.progress import progress
from dialoguellm_release.schemas.recipes.release import ReleaseRecipe
from dialoguellm_release.schemas.release import Link, RepositoryName, RepoType, repository_of


@dataclass(frozen=True)
class PublishedRepository:
    """A repository after a release, or what a dry run says of it.

    Attributes:
        where: Its folder or address.
        is_new: Whether the release makes it.
        license: From its card; None where the card names none.
        size: Of all files, in bytes.
        changes: Against what stood there before.
        commit: That the tag stands on; None where a dry run would make it.
        state: Whether the release makes a commit in it.
    """

    name: RepositoryName
    where: str
    tag: str
    is_new: bool
    visibility: Literal["public", "private"]
    gated: Literal[False, "auto", "manual"]
    license: str | None
    size: int
    changes: tuple[FileChange, ...]
    commit: str | None
    state: Literal["committed", "unchanged"]

    @property
    def repo_type(self) -> RepoType:
        """`dataset`, `model` or `space`."""
        return repository_of(self.name)[0]

    @property
    def repo_id(self) -> str:
        """`owner/name`."""
        return repository_of(self.name)[1]


@dataclass(frozen=True)
class Collected:
    """The collection of a release.

    Attributes:
        where: The address of its page, or of its owner's pages where it is new.
        added: The repositories that are not on it yet.
    """

    title: str
    where: str
    is_new: bool
    added: tuple[RepositoryName, ...]


@dataclass(frozen=True)
class Publication:
    """A release at its target.

    Attributes:
        repositories: In the order of the graph; empty where the plan could not be made.
        verdicts: Of every gate.
        others: What was left alone, where only some repositories were named, and is linked to.
        collection: What would become of it; None where there is none, or nobody is shown it.
    """

    tag: str
    repositories: tuple[PublishedRepository, ...]
    verdicts: tuple[Verdict, ...]
    others: tuple[Link, ...] = ()
    collection: Collected | None = None


def publication(recipe: ReleaseRecipe, compared: Comparison, page: CollectionPage | None) -> Publication:
    """What the steps of a release are to do.

    Args:
        page: Of its collection; None where there is none, or it is not to be shown.
    """
    repositories = tuple(_published(recipe.tag, step) for step in compared.steps)
    return Publication(
        tag=recipe.tag,
        repositories=repositories,
        verdicts=tuple(compared.verdicts),
        others=tuple(compared.others.values()),
        collection=_collected(recipe, page, [one.name for one in repositories]) if page else None,
    )


def _collected(recipe: ReleaseRecipe, page: CollectionPage, names: Sequence[RepositoryName]) -> Collected:
    assert recipe.collection is not None
    listed = page.listed or frozenset()
    added = tuple(name for name in names if name not in listed)
    return Collected(recipe.collection.title, page.where, page.listed is None, added)


def _published(tag: str, step: Step) -> PublishedRepository:
    return PublishedRepository(
        name=step.planned.name,
        where=step.at.where,
        tag=tag,
        is_new=step.standing is None,
        visibility=step.planned.visibility,
        gated=step.planned.gated,
        license=_as_text(step.card_metadata().get("license")),
        size=sum(file.size for file in step.files.values()),
        changes=changes(step.files, step.standing.tagged_files)
        if step.standing and step.is_tagged
        else step.changes(step.files),
        commit=step.commit,
        state="unchanged" if step.commit else "committed",
    )


def _as_text(value: object) -> str | None:
    """A value of a card's metadata, which may be a list."""
    if value is None:
        return None
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


HUB = "hub"


def target_of(to: str) -> Target:
    """The target that `--to` names: `hub`, or a folder (one that is called hub is `./hub`)."""
    if to != HUB:
        return FolderTarget(Path(to))
    from dialoguellm_release.hub.hub_target import HubTarget

    return HubTarget()


def publish_release(
    recipe: ReleaseRecipe,
    build: Path,
    target: Target,
    *,
    only: Sequence[str] = (),
    dry_run: bool = False,
    approve: Callable[[Publication], bool] | None = None,
) -> Publication:
    """What became of each repository of a release, and what the gates say.

    Args:
        build: Holds the folders that the recipe names (`--from`).
        only: The repositories to publish, by key, name or id; empty for all. The others are left alone, and
            those that they were made from must stand at the target under the tag of the release.
        dry_run: Plan and compare, write nothing; what is wrong stands in the verdicts.
        approve: Shown what would be done before anything is; None does it unasked.

    Raises:
        PublishError: Something is missing, not fit to be published, refused by the target, or not approved.
        CardError: A folder was made by a recipe of another version.
    """
    names = chosen(recipe, only)
    with _told_of_files():
        if dry_run:
            with _nothing_written():
                compared = compare_release(recipe, build, target, names)
                return publication(recipe, compared, _page(recipe, target))
        with target.alone():
            return _publish(recipe, build, target, names, approve)


def _publish(
    recipe: ReleaseRecipe,
    build: Path,
    target: Target,
    names: Sequence[RepositoryName],
    approve: Callable[[Publication], bool] | None,
) -> Publication:
    started_ns = time.time_ns()
    with _nothing_written():
        denied = target.access_problems(names)
        if denied:
            raise PublishError(denied)
        compared = compare_release(recipe, build, target, names)
        problems = problems_of(compared.verdicts)
        if problems:
            raise PublishError(problems)
        is_out = all(step.is_tagged for step in compared.steps)
        planned = publication(recipe, compared, _page(recipe, target) if approve and not is_out else None)
        if approve and not is_out and not approve(planned):
            raise PublishError(Problem(f"publish {recipe.tag}", "was not approved"))
    commits = _carry_out(recipe, target, compared, started_ns)
    if recipe.collection:
        description = recipe.collection.description or recipe.description
        target.collect(recipe.collection, description, names)
    made = tuple(replace(one, commit=commits[one.name]) for one in planned.repositories)
    return replace(planned, repositories=made)


def _page(recipe: ReleaseRecipe, target: Target) -> CollectionPage | None:
    return target.page_of(recipe.collection) if recipe.collection else None


def _carry_out(
    recipe: ReleaseRecipe, target: Target, compared: Comparison, started_ns: int
) -> dict[RepositoryName, str]:
    """The commit of every repository, each verified and tagged; those of the others stand beside them."""
    message = f"{recipe.tag}\n\n{recipe.changelog.strip()}\n\n{TRAILER}"
    steps = [_prepared(step, recipe.tag) for step in compared.steps]
    _upload(steps, started_ns, shows_bar=not target.shows_uploads)
    commits = {name: link.commit for name, link in compared.others.items()}
    for step in steps:
        commits[step.planned.name] = step.commit or _commit(step, commits, message)
    for step in steps:
        shown = step.parent if step.is_tagged else commits[step.planned.name]
        if shown:
            step.at.show(shown)
    for step in steps:
        if not step.is_tagged:
            _tag(step, recipe.tag, commits[step.planned.name], message)
    return commits


def _prepared(step: Step, tag: str) -> Step:
    """A step whose repository is there; what is found in a new one is looked at like in any other."""
    step.at.prepare(step.planned, step.standing, str(step.card_metadata().get("sdk", "static")))
    if step.standing is not None:
        return step
    prepared = replace(step, standing=step.at.look(tag))
    problems = prepared.refusals(tag)
    if problems:
        raise PublishError(problems, UNFINISHED)
    return prepared


def _upload(steps: Sequence[Step], started_ns: int, *, shows_bar: bool) -> None:
    """Brings all files before the first commit: a line that fails leaves every repository as it was."""
    pending = [(step, _to_send(step, step.files)) for step in steps if step.commit is None]
    total = sum(file.size for _, files in pending for file in files.values())
    with progress("uploading", total, in_bytes=True) if shows_bar else nullcontext(_nothing) as advance:
        for step, files in pending:
            step.at.upload(files, advance)
    problems = [
        Problem(str(file.content), "was changed while it was published", fix="run the same command again")
        for _, files in pending
        for file in files.values()
        if _was_touched(file, started_ns)
    ]
    if problems:
        raise PublishError(problems, UNFINISHED)


def _nothing(_bytes: int) -> None:
    """Where no bar is to move."""


def _to_send(step: Step, files: Mapping[str, PlannedFile]) -> dict[str, PlannedFile]:
    return {one.path: files[one.path] for one in step.changes(files) if one.change != "deleted"}


def _was_touched(file: PlannedFile, since_ns: int) -> bool:
    """Whether a file on disk was written since the release began, and so after it was hashed."""
    if isinstance(file.content, bytes):
        return False
    status = file.content.stat()
    return status.st_size != file.size or status.st_ctime_ns >= since_ns


def _commit(step: Step, commits: Mapping[RepositoryName, str], message: str) -> str:
    """The commit of a repository, read back; by now those that it depends on have theirs."""
    files = step.planned.files_at(commits)
    todo = [one.path for one in step.changes(files)]
    late = {path: file for path, file in _to_send(step, files).items() if step.files.get(path) != file}
    step.at.upload(late, _nothing)
    commit = step.at.commit(files, todo, step.parent, message)
    different = [one.path for one in changes(files, step.at.files_at(commit))]
    if different:
        raise PublishError(
            Problem(
                step.at.where,
                "does not hold what was sent, so no tag is set",
                expected="the planned files",
                got=f"commit {commit}, where these differ: {', '.join(different)}",
                fix="run the same command again",
            ),
            UNFINISHED,
        )
    return commit


def _tag(step: Step, tag: str, commit: str, message: str) -> None:
    stands_on = step.at.set_tag(tag, commit, message)
    if stands_on != commit:
        what = f"somebody else has set the tag {tag} in the meantime"
        problem = Problem(step.at.where, what, expected=f"commit {commit}", got=f"commit {stands_on}")
        raise PublishError(problem, UNFINISHED)


@contextmanager
def _nothing_written() -> Iterator[None]:
    """Says of whatever goes wrong that the target is as it was."""
    try:
        yield
    except PublishError as error:
        raise PublishError(error.problems, "nothing was changed") from error.__cause__


@contextmanager
def _told_of_files() -> Iterator[None]:
    """Turns failures of the file system into a `PublishError`: a full disk, a file that went away."""
    try:
        yield
    except OSError as error:
        if error.strerror is None:
            raise
        where = str(error.filename or "the file system")
        raise PublishError(
            Problem(where, f"cannot be read or written: {error.strerror}"), UNFINISHED
        ) from error
