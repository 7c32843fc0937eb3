"""Corpora from their official addresses into the layout that the readers want; the others are asked for."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dialoguellm_release.corpora.archives import read_members
from dialoguellm_release.corpora.download import DownloadPolicy, download
from dialoguellm_release.corpora.identity import Identity, identities, state_of
from dialoguellm_release.errors import DataError, Problem
from dialoguellm_release.folders import alone
from dialoguellm_release.schemas.corpus import CorpusEntry, Download, Request
from dialoguellm_release.schemas.labels import CorpusName


@dataclass(frozen=True)
class FetchedFile:
    """A file of a corpus that is in its place now, and whether it was there before."""

    corpus: CorpusName
    path: Path
    was_there: bool


def fetch_corpora(
    entries: Sequence[CorpusEntry],
    to: Path,
    *,
    mirror: str | None = None,
    policy: DownloadPolicy | None = None,
) -> list[FetchedFile]:
    """Every file that the entries have an address for, at `to/CORPUS/PATH`.

    A file with the right hash is not fetched again; one with another hash is never replaced. What arrived
    of a file that was cut off waits in `to/.CORPUS.partial`, and the next run goes on from there.

    Args:
        mirror: An address under which `CORPUS/PATH` is tried before the official addresses.

    Raises:
        DataError: A corpus has to be asked for, or a file that is there is another one: nothing is
            fetched then. Or files could not be fetched: the others are in place.
    """
    _refuse(entries, to)
    files: list[FetchedFile] = []
    problems: list[Problem] = []
    for entry in entries:
        corpus = _Corpus(entry, (to / entry.name).resolve(), mirror, policy or DownloadPolicy())
        missing = corpus.missing()
        try:
            corpus.fetch(missing)
        except DataError as error:
            problems += error.problems
        files += [
            FetchedFile(entry.name, to / entry.name / path, path not in missing)
            for path in corpus.targets()
            if (to / entry.name / path).exists()
        ]
    if problems:
        fetched = sum(not file.was_there for file in files)
        raise DataError(problems, outcome=f"other files fetched: {fetched}, each whole and in its place")
    return files


def _refuse(entries: Sequence[CorpusEntry], to: Path) -> None:
    problems = [_must_be_asked_for(entry, entry.request, to) for entry in entries if entry.request]
    for entry in entries:
        known = identities(entry)
        for path in (path for one in entry.downloads for path in one.targets):
            place = to / entry.name / path
            if state_of(place, known[path]) == "another":
                problems.append(_another(place, known[path][0]))
    if problems:
        raise DataError(problems)


def _must_be_asked_for(entry: CorpusEntry, request: Request, to: Path) -> Problem:
    return Problem(
        entry.name,
        f"{entry.title} cannot be fetched, it has to be asked for ({entry.homepage})",
        fix=f"whom to ask: {request.whom}\n  what to ask for: {request.what}\n"
        f"  where to put it: {to / entry.name}",
    )


def _another(place: Path, known: Identity) -> Problem:
    got = str(known.of(place.read_bytes())) if place.is_file() else "not a file"
    fix = "move it away and run the same command again; it is never replaced"
    return Problem(str(place), "is there already, but is another file", str(known), got, fix)


@dataclass(frozen=True)
class _Corpus:
    """One corpus, the folder that it goes to, and where its files come from."""

    entry: CorpusEntry
    folder: Path
    mirror: str | None
    policy: DownloadPolicy

    def targets(self) -> list[str]:
        return [path for one in self.entry.downloads for path in one.targets]

    def missing(self) -> list[str]:
        return [path for path in self.targets() if not (self.folder / path).exists()]

    def fetch(self, missing: list[str]) -> None:
        """Brings the missing files.

        Raises:
            DataError: With what went wrong with some of them; the others are in place.
        """
        if not missing:
            return
        staging = self.folder.with_name(f".{self.folder.name}.partial")
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        with alone(self.folder.with_name(f".{self.folder.name}.lock"), self.folder):
            staging.mkdir(exist_ok=True)
            try:
                self._bring_all(missing, staging)
                shutil.rmtree(staging)
            finally:
                if staging.exists() and not any(staging.iterdir()):
                    staging.rmdir()

    def _bring_all(self, missing: list[str], staging: Path) -> None:
        problems: list[Problem] = []
        for one in self.entry.downloads:
            wanted = [path for path in one.targets if path in missing]
            try:
                if wanted:
                    self._bring(one, wanted, staging)
            except DataError as error:
                problems += error.problems
        if problems:
            raise DataError(problems)

    def _bring(self, one: Download, wanted: list[str], staging: Path) -> None:
        own = [f"{self.mirror.rstrip('/')}/{self.entry.name}/{one.path}"] if self.mirror else []
        known = identities(self.entry)
        arrived = staging / one.path
        where = str(self.folder / one.path)
        identity = None if one.members else known[one.path][0]
        download([*own, *one.addresses], arrived, identity, self.policy, where=where)
        if not one.members:
            self._place(arrived, one.path, known[one.path][0])
            return
        members = {path: (one.members[path], known[path][0]) for path in wanted}
        try:
            contents = read_members(arrived, members, where=f"{one.path} of {self.entry.title}")
        finally:
            arrived.unlink()
        for path, content in contents.items():
            arrived.write_bytes(content)
            self._place(arrived, path, known[path][0])

    def _place(self, arrived: Path, path: str, known: Identity) -> None:
        place = self.folder / path
        if place.exists():
            raise DataError(_another(place, known))
        place.parent.mkdir(parents=True, exist_ok=True)
        arrived.replace(place)
