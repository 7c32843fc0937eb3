"""What is known of each corpus, and what of it lies in a folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dialoguellm_release.corpora.identity import State, identities, state_of
from dialoguellm_release.corpora.registry import corpus_entries
from dialoguellm_release.schemas.corpus import CorpusEntry


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
