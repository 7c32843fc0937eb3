"""Publishes a release as one transaction over its repositories: a tag is set only when all are verified.

A release is planned, compared and checked; missing repositories are created; files are uploaded; each
repository gets one commit, in the order of the graph, which is read back at once; then the tags are set.
Whatever stops a run, the next one compares again and continues.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeVar

from dialoguellm_release.errors import Problem, PublishError
from dialoguellm_release.hub.checks import Check, problems_of
from dialoguellm_release.hub.compare import (
    Comparison,
    FileChange,
    Step,
    changes,
    compare_release,
    step_problems,
)
from dialoguellm_release.hub.contents import PlannedFile
from dialoguellm_release.hub.plan import chosen
from dialoguellm_release.hub.store import CHANGED, TRAILER, UNCHANGED, UNFINISHED, Collected, Store, outcome
from dialoguellm_release.progress import progress
from dialoguellm_release.schemas.release import (
    Link,
    ReleaseRecipe,
    RepositoryName,
    RepoType,
    Visibility,
    repository_of,
)

NO_COLLECTIONS = "the Hub has no collections; the repositories are published without one"

AGAIN = "run the same command again"

_READ_AGAIN_AFTER_S = 1.0

Value = TypeVar("Value")


@dataclass(frozen=True)
class Published:
    """A repository after a release, or what a dry run says of it.

    Attributes:
        license: From its card; None where the card names none.
        commit: The one with the tag; None where a dry run would make it.
        state: Whether the release makes a commit in it.
    """

    name: RepositoryName
    where: str
    tag: str
    is_new: bool
    visibility: Visibility
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
class Publication:
    """A release in its store, or what a dry run says of it.

    Attributes:
        repositories: In the order of the graph; empty where the plan could not be made.
        upstream: Repositories that this run does not publish, but links to.
        collection: What would change in it; None where there is none, or nobody is shown it.
        notes: What the user should know, but is not wrong.
    """

    tag: str
    repositories: tuple[Published, ...]
    checks: tuple[Check, ...]
    upstream: tuple[Link, ...] = ()
    collection: Collected | None = None
    notes: tuple[str, ...] = ()


def publish_release(
    recipe: ReleaseRecipe,
    build: Path,
    store: Store,
    *,
    only: Sequence[str] = (),
    dry_run: bool = False,
    approve: Callable[[Publication], bool] | None = None,
) -> Publication:
    """Publishes a release to a store; see `steps.release.publish`."""
    names = chosen(recipe, only)
    with _file_errors():
        if dry_run:
            with outcome(UNCHANGED):
                compared = compare_release(recipe, build, store, names)
                return _publication(recipe, compared, store)
        with store.lock():
            return _publish(recipe, build, store, names, approve)


def _publish(
    recipe: ReleaseRecipe,
    build: Path,
    store: Store,
    names: Sequence[RepositoryName],
    approve: Callable[[Publication], bool] | None,
) -> Publication:
    started_ns = time.time_ns()
    with outcome(UNCHANGED):
        if denied := store.access_problems(names):
            raise PublishError(denied)
        compared = compare_release(recipe, build, store, names)
        if problems := problems_of(compared.checks):
            raise PublishError(problems)
        is_out = all(step.is_tagged for step in compared.steps)
        planned = _publication(recipe, compared, store if approve and not is_out else None)
        if approve and not is_out and not approve(planned):
            raise PublishError(Problem(f"publish {recipe.tag}", "was not approved", code="hub.not_approved"))
    steps = _all_prepared(compared.steps, store, recipe.tag)
    with outcome(UNFINISHED):
        commits = _carry_out(recipe, store, replace(compared, steps=steps), started_ns)
        notes = planned.notes
        if recipe.collection:
            description = recipe.collection.description or recipe.description
            if not store.collect(recipe.collection, description, names) and store.has_collections:
                notes = (NO_COLLECTIONS,)
    done = tuple(replace(one, commit=commits[one.name]) for one in planned.repositories)
    return replace(planned, repositories=done, notes=notes)


def _publication(recipe: ReleaseRecipe, compared: Comparison, store: Store | None) -> Publication:
    """What the steps of a release would do; with a store, in its collection as well."""
    collection, has_none = None, False
    if store and store.has_collections and recipe.collection:
        collection = store.collected(recipe.collection, [step.plan.name for step in compared.steps])
        has_none = collection is None
    return Publication(
        tag=recipe.tag,
        repositories=tuple(_published(recipe.tag, step) for step in compared.steps),
        checks=tuple(compared.checks),
        upstream=tuple(compared.upstream.values()),
        collection=collection,
        notes=(NO_COLLECTIONS,) if has_none else (),
    )


def _published(tag: str, step: Step) -> Published:
    state = step.state
    before = {} if state is None else state.tagged_files if state.tagged else state.files
    return Published(
        name=step.plan.name,
        where=step.where,
        tag=tag,
        is_new=step.state is None,
        visibility=step.plan.visibility,
        gated=step.plan.gated,
        license=_as_text(step.card_metadata().get("license")),
        size=sum(file.size for file in step.files.values()),
        changes=changes(step.files, before),
        commit=step.commit,
        state="unchanged" if step.commit else "committed",
    )


def _as_text(value: object) -> str | None:
    """A value of a card's metadata, which may be a list."""
    if value is None:
        return None
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _carry_out(
    recipe: ReleaseRecipe, store: Store, compared: Comparison, started_ns: int
) -> dict[RepositoryName, str]:
    """The commit of every repository, each verified and tagged, and of those that are linked to."""
    message = f"{recipe.tag}\n\n{recipe.changelog.strip()}\n\n{TRAILER}"
    steps = compared.steps
    _upload(steps, store, started_ns)
    commits = {name: link.commit for name, link in compared.upstream.items()}
    for step in steps:
        commits[step.plan.name] = step.commit or _commit(step, store, commits, message)
    for step in steps:
        head = step.parent if step.is_tagged else commits[step.plan.name]
        if head:
            store.set_branch(step.plan.name, head)
    for step in steps:
        if not step.is_tagged:
            _tag(step, store, recipe.tag, commits[step.plan.name], message)
    return commits


def _all_prepared(steps: Sequence[Step], store: Store, tag: str) -> list[Step]:
    """The steps, each with its repository; where the first new one is not created, nothing was changed."""
    prepared: list[Step] = []
    for step in steps:
        try:
            prepared.append(_prepared(step, store, tag))
        except PublishError as error:
            is_first = not any(one.state is None or one.state.is_fresh for one in steps[: len(prepared)])
            is_unchanged = is_first and step.state is None and _is_absent(step, store, tag)
            raise PublishError(error.problems, UNCHANGED if is_unchanged else UNFINISHED) from error.__cause__
    return prepared


def _is_absent(step: Step, store: Store, tag: str) -> bool:
    """Whether a repository is known not to exist: a request that failed may still have created it."""
    try:
        return store.state(step.plan.name, tag) is None
    except PublishError:
        return False


def _prepared(step: Step, store: Store, tag: str) -> Step:
    """A step whose repository exists; a new one is compared like any other."""
    store.create(step.plan, step.state, str(step.card_metadata().get("sdk", "static")))
    if step.state is not None:
        return step
    prepared = replace(step, state=store.state(step.plan.name, tag))
    if problems := list(step_problems(prepared, store, tag)):
        raise PublishError(problems)
    return prepared


def _upload(steps: Sequence[Step], store: Store, started_ns: int) -> None:
    """Uploads all files before the first commit: a failure leaves the branches as they were."""
    pending = [(step, _to_send(step, step.files)) for step in steps if step.commit is None]
    total = sum(file.size for _, files in pending for file in files.values())
    bar = nullcontext(lambda _: None) if store.shows_uploads else progress("uploading", total, in_bytes=True)
    with bar as advance:
        for step, files in pending:
            store.put(step.plan.name, files, advance)
    problems = [
        Problem(str(file.content), CHANGED, fix=AGAIN, code="hub.changed_while_publishing")
        for _, files in pending
        for file in files.values()
        if _was_written(file, started_ns)
    ]
    if problems:
        raise PublishError(problems)


def _to_send(step: Step, files: Mapping[str, PlannedFile]) -> dict[str, PlannedFile]:
    return {one.path: files[one.path] for one in step.changes(files) if one.change != "deleted"}


def _was_written(file: PlannedFile, since_ns: int) -> bool:
    """Whether a file on disk was written since the release began, and so after it was hashed."""
    if isinstance(file.content, bytes):
        return False
    status = file.content.stat()
    return status.st_size != file.size or status.st_ctime_ns >= since_ns


def _commit(step: Step, store: Store, commits: Mapping[RepositoryName, str], message: str) -> str:
    """The commit of a repository, read back; what it depends on has its commit by now."""
    name, files = step.plan.name, step.plan.files_at(commits)
    changed = [one.path for one in step.changes(files)]
    late = {path: file for path, file in _to_send(step, files).items() if step.files.get(path) != file}
    store.put(name, late, lambda _: None)
    commit = store.commit(name, files, changed, step.parent, message)
    if different := _read_back(lambda: changes(files, store.tree(name, commit)), lambda found: not found):
        what, expected = "does not have what was sent, so no tag is set", "the planned files"
        got = f"commit {commit}, where these differ: {', '.join(one.path for one in different)}"
        raise PublishError(Problem(step.where, what, expected, got, AGAIN, code="hub.commit_differs"))
    return commit


def _tag(step: Step, store: Store, tag: str, commit: str, message: str) -> None:
    name = step.plan.name
    store.tag(name, tag, commit, message)
    found = _read_back(lambda: store.resolve(name, tag), lambda one: one is not None and one.commit == commit)
    if found is None or found.commit != commit:
        what, got = f"has no tag {tag} after it was set", "no such tag"
        if found:
            what, got = f"somebody else has set the tag {tag} in the meantime", f"commit {found.commit}"
        raise PublishError(Problem(step.where, what, f"commit {commit}", got, code="hub.tag_differs"))


def _read_back(read: Callable[[], Value], is_right: Callable[[Value], bool]) -> Value:
    """What the store lists after a change; a list may be a moment old, so a wrong one is read again once."""
    value = read()
    if not is_right(value):
        time.sleep(_READ_AGAIN_AFTER_S)
        value = read()
    return value


@contextmanager
def _file_errors() -> Iterator[None]:
    """Turns failures of the file system into a `PublishError`: a full disk, a file that was removed."""
    try:
        yield
    except OSError as error:
        if error.strerror is None:
            raise
        where = str(error.filename or "the file system")
        problem = Problem(where, f"cannot be read or written: {error.strerror}", code="hub.file_system")
        raise PublishError(problem, UNFINISHED) from error
