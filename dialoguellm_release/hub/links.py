"""`release.json` of a repository: what it is by content, what it was made from by commit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from dialoguellm_release.folders import combined_sha256
from dialoguellm_release.hub.planned import Commits, PlannedFile
from dialoguellm_release.schemas.manifests import FileStamp
from dialoguellm_release.schemas.release import (
    RELEASE_FILE,
    ForeignBase,
    Link,
    ReleaseFile,
    RepositoryName,
    ScoreLink,
)


@dataclass(frozen=True)
class Origin:
    """What `release.json` says of a repository that no file of it decides.

    Attributes:
        content_sha256: Of the folder that it was made from.
        depends_on: The content hash of each repository that it was made from.
    """

    name: RepositoryName
    content_sha256: str
    depends_on: Mapping[RepositoryName, str]
    base: ForeignBase | None = None
    prompt_sha256: str | None = None
    scores: tuple[ScoreLink, ...] = ()


def with_release_file(
    files: Mapping[str, PlannedFile], origin: Origin, commits: Commits
) -> dict[str, PlannedFile]:
    """The files of a repository by path, `release.json` among them.

    Args:
        files: Every other file.
        commits: Those of the repositories that it depends on.
    """
    stamps = tuple(stamp_of(path, file) for path, file in sorted(files.items()))
    release = ReleaseFile(
        repository=origin.name,
        content_sha256=origin.content_sha256,
        files_sha256=files_sha256(stamps),
        depends_on=tuple(
            Link(repository=name, commit=commits[name], content_sha256=content)
            for name, content in origin.depends_on.items()
        ),
        base=origin.base,
        prompt_sha256=origin.prompt_sha256,
        scores=origin.scores,
        files=stamps,
    )
    text = release.model_dump_json(indent=2) + "\n"
    return dict(sorted({**files, RELEASE_FILE: PlannedFile.rendered(text)}.items()))


def stamp_of(path: str, file: PlannedFile) -> FileStamp:
    """The stamp of a planned file."""
    return FileStamp(path=path, bytes=file.size, sha256=file.sha256)


def files_sha256(files: Iterable[FileStamp]) -> str:
    """One hash over the files of a repository."""
    return combined_sha256((file.path, file.sha256) for file in files)
