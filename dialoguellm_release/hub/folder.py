"""The folder target: each repository of a release is a git repository below one folder, as on the Hub."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from dialoguellm_release.errors import Problem, PublishError
from dialoguellm_release.folders import git_blob_id
from dialoguellm_release.hub.git import BRANCH, GitRepository
from dialoguellm_release.hub.planned import Commits, PlannedFile, PlannedRepository, PublishedRepository
from dialoguellm_release.schemas.release import RepositoryName

_LOCK = ".dlm-release.lock"
_UNDER_WAY = "dlm-release-under-way"
_BRANCH_REF = f"refs/heads/{BRANCH}"


@dataclass(frozen=True)
class _Step:
    """What a release has to do in one repository.

    Attributes:
        commit: That already holds the planned files; None where one has to be made.
        head: Where the branch stands; None before the first release.
        is_tagged: Whether the tag is there already.
    """

    planned: PlannedRepository
    git: GitRepository
    files: Mapping[str, PlannedFile]
    commit: str | None
    head: str | None
    is_tagged: bool
    changed_files: tuple[str, ...]

    @property
    def mark(self) -> Path:
        """Stands while the work tree may be half of two releases, so that the next run mends it."""
        return self.git.path / ".git" / _UNDER_WAY


def publish_to_folder(
    planned: Sequence[PlannedRepository], target: Path, tag: str, description: str, dry_run: bool
) -> list[PublishedRepository]:
    """What became of each repository.

    First every commit is made and read back, out of sight of readers; then the branches and work trees
    move; the tags come last. A run that was cut short is finished by the next one.

    Raises:
        PublishError: A tag stands on other content or a work tree was changed by hand (nothing is changed
            then), another publish is at work, or git failed.
    """
    try:
        if dry_run:
            return [_result(step, tag, step.commit) for step in _steps(planned, target, tag)]
        with _alone(target):
            steps = _steps(planned, target, tag)
            for step in steps:
                step.git.make()
                step.git.remove_stale_locks()
            made: dict[RepositoryName, str] = {}
            for step in steps:
                made[step.planned.name] = step.commit or _commit(step, made, f"{tag}\n\n{description}")
            commits = list(made.values())
            for step, commit in zip(steps, commits, strict=True):
                _move(step, commit)
            for step, commit in zip(steps, commits, strict=True):
                if not step.is_tagged:
                    step.git.set_ref(_tag_ref(tag), commit, None)
            return [_result(step, tag, commit) for step, commit in zip(steps, commits, strict=True)]
    except OSError as error:
        where = str(error.filename or target)
        problem = Problem(where, f"cannot be read or written: {error.strerror}")
        raise PublishError(problem, "the release is not complete; publishing again goes on") from error


def repository_path(target: Path, repository: PlannedRepository) -> Path:
    """Where a repository lies in a folder target: `DIR/datasets/owner/name`."""
    return target / f"{repository.repo_type}s" / repository.repo_id


@contextmanager
def _alone(target: Path) -> Iterator[None]:
    """Holds the lock of a folder target; the system frees it when a run is killed."""
    target.mkdir(parents=True, exist_ok=True)
    with (target / _LOCK).open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            problem = Problem(str(target), "another publish is at work here", fix="wait for it to end")
            raise PublishError(problem) from None
        yield


def _steps(planned: Sequence[PlannedRepository], target: Path, tag: str) -> list[_Step]:
    steps: list[_Step] = []
    found: dict[RepositoryName, str] = {}
    for repository in planned:
        step = _step(repository, GitRepository(repository_path(target, repository)), tag, found)
        steps.append(step)
        if step.commit:
            found[repository.name] = step.commit
    problems = [problem for step in steps for problem in _refusals(step, tag)]
    if problems:
        raise PublishError(problems, outcome="nothing was changed")
    return steps


def _step(planned: PlannedRepository, git: GitRepository, tag: str, found: Commits) -> _Step:
    head, tagged = git.commit_of(_BRANCH_REF), git.commit_of(_tag_ref(tag))
    files = planned.files_at(found)
    blobs = {path: git_blob_id(file.content) for path, file in files.items()}
    before = tagged or head
    held = git.tree(before) if before else {}
    changed = tuple(path for path in sorted({*blobs, *held}) if blobs.get(path) != held.get(path))
    commit = None if changed else before
    return _Step(planned, git, files, commit, head, tagged is not None, changed)


def _refusals(step: _Step, tag: str) -> Iterator[Problem]:
    if step.is_tagged and step.commit is None:
        tagged = step.git.commit_of(_tag_ref(tag))
        yield Problem(
            str(step.git.path),
            f"the tag {tag} stands on other content",
            expected=f"the planned files; these differ: {', '.join(step.changed_files)}",
            got=f"commit {tagged}",
            fix="give the release a new tag; a tag that was published does not move",
        )
    if not step.git.exists:
        if step.git.path.exists() and set(os.listdir(step.git.path)) - {".git"}:
            fix = "move them away, or publish to another folder"
            yield Problem(str(step.git.path), "holds files, but is no git repository", fix=fix)
        return
    if step.mark.exists():
        return
    for path in step.git.edited_files():
        fix = f"git -C {step.git.path} checkout -- {path}, or commit it"
        yield Problem(str(step.git.path / path), "was changed by hand, and would be lost", fix=fix)
    known = step.git.tree(step.head) if step.head else {}
    for path in sorted(set(step.files) - set(known)):
        if (step.git.path / path).exists():
            what = "was put there by hand, and would be lost"
            yield Problem(str(step.git.path / path), what, fix="move it away")


def _commit(step: _Step, made: Commits, message: str) -> str:
    """A commit of the planned files, read back from git's own store."""
    files = step.planned.files_at(made)
    commit = step.git.write_commit({path: file.content for path, file in files.items()}, step.head, message)
    blobs = step.git.tree(commit)
    if set(blobs) != set(files):
        raise RuntimeError(f"{step.git.path}: {commit} does not hold the planned files")
    problems = [
        Problem(
            str(step.git.path / path), "was changed while it was published", file.sha256, got, "try again"
        )
        for path, file in files.items()
        if (got := step.git.sha256_of_blob(blobs[path])) != file.sha256
    ]
    if problems:
        raise PublishError(problems, outcome="nothing was changed")
    return commit


def _move(step: _Step, commit: str) -> None:
    """Lets branch and work tree stand at a new commit; a tag that was there already moves nothing."""
    step.mark.touch()
    if not step.is_tagged and commit != step.head:
        step.git.set_ref(_BRANCH_REF, commit, step.head)
    step.git.check_out_branch()
    step.mark.unlink()


def _result(step: _Step, tag: str, commit: str | None) -> PublishedRepository:
    return PublishedRepository(
        repo_type=step.planned.repo_type,
        repo_id=step.planned.repo_id,
        path=step.git.path,
        tag=tag,
        commit=commit,
        state="unchanged" if step.commit else "committed",
        changed_files=step.changed_files,
    )


def _tag_ref(tag: str) -> str:
    return f"refs/tags/{tag}"
