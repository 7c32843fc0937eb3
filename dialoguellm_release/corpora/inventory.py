"""Known files by their hashes, and which of them a folder holds."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from dialoguellm_release.corpora.registry import corpus_entries
from dialoguellm_release.folders import git_blob_id
from dialoguellm_release.schemas.corpus import CorpusEntry

State = Literal["known", "another", "missing"]
"""What lies at a path: the file that the registry means, something else, or nothing."""


@dataclass(frozen=True)
class Identity:
    """What a file has to be; `size` is None where the size is not known."""

    algorithm: Literal["sha256", "git blob"]
    digest: str
    size: int | None

    def __str__(self) -> str:
        size = "" if self.size is None else f"{self.size} bytes, "
        return f"{size}{self.algorithm} {self.digest}"

    def of(self, content: bytes) -> Identity:
        """The identity of a content, by the same hash."""
        is_sha256 = self.algorithm == "sha256"
        digest = hashlib.sha256(content).hexdigest() if is_sha256 else git_blob_id(content)
        return Identity(self.algorithm, digest, len(content))

    def fits(self, content: bytes) -> bool:
        """Whether a content is the one that is meant."""
        return self.of(content).digest == self.digest


def identities(entry: CorpusEntry) -> dict[str, tuple[Identity, ...]]:
    """For every file of a corpus that the registry knows, by path: what it may be."""
    known: dict[str, tuple[Identity, ...]] = {}
    for file in entry.files:
        known[file.path] = (*known.get(file.path, ()), Identity("sha256", file.sha256, file.bytes))
    for download in entry.downloads:
        if download.git_blob:
            known[download.path] = (Identity("git blob", download.git_blob, None),)
    return known


def state_of(path: Path, known: tuple[Identity, ...]) -> State:
    """What lies at a path."""
    if not (path.exists() or path.is_symlink()):
        return "missing"
    if not path.is_file():
        return "another"
    content = path.read_bytes()
    return "known" if any(identity.fits(content) for identity in known) else "another"


@dataclass(frozen=True)
class ListedFile:
    """A file that the registry knows.

    Attributes:
        bytes: None where the size is not known.
        is_fetched: Whether `corpora fetch` brings it.
        state: What lies at its path; None where no folder was looked at.
    """

    path: str
    bytes: int | None
    is_fetched: bool
    state: State | None


@dataclass(frozen=True)
class ListedCorpus:
    """A corpus of the registry.

    Attributes:
        is_there: Whether a file or a folder of it is there; None where no folder was looked at.
    """

    entry: CorpusEntry
    files: tuple[ListedFile, ...]
    is_there: bool | None


def list_corpora(sources: Path | None = None) -> list[ListedCorpus]:
    """Every corpus of the registry, with what is there of it below `sources`."""
    return [_listed(entry, sources) for entry in corpus_entries().values()]


def _listed(entry: CorpusEntry, sources: Path | None) -> ListedCorpus:
    fetched = {path for download in entry.downloads for path in download.targets}
    folder = sources / entry.name if sources else None
    files = tuple(
        ListedFile(
            path=path,
            bytes=known[0].size,
            is_fetched=path in fetched,
            state=state_of(folder / path, known) if folder else None,
        )
        for path, known in identities(entry).items()
    )
    if folder is None:
        return ListedCorpus(entry, files, is_there=None)
    has_landmark = any((folder / path).exists() for path in entry.landmarks)
    return ListedCorpus(entry, files, has_landmark or any(file.state != "missing" for file in files))
