"""Publishes a release as one transaction over its repositories: no tag ever stands on what was not verified.

Planned, compared and allowed; made where a repository is missing; uploaded; one commit each, in the order of
the graph, read back at once; and when every repository is verified, the tags. Whatever stops a run, the next
one finds by comparing what is there, and goes on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path

from dialoguellm_release.errors import Problem, PublishError
from dialoguellm_release.hub.changes import changes
from dialoguellm_release.hub.compare import Comparison, Step, compare_release, publication
from dialoguellm_release.hub.folder import FolderTarget
from dialoguellm_release.hub.planned import PlannedFile
from dialoguellm_release.hub.publication import Publication
from dialoguellm_release.hub.selection import chosen
from dialoguellm_release.hub.targets import TRAILER, UNFINISHED, CollectionPage, Target
from dialoguellm_release.hub.verdicts import problems_of
from dialoguellm_release.progress import progress
from dialoguellm_release.schemas.recipes.release import ReleaseRecipe
from dialoguellm_release.schemas.release import RepositoryName

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
