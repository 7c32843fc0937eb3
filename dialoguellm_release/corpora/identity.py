"""By what the files of a corpus are recognised: the hashes of the registry."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

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
