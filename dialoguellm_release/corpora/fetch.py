"""Fetches corpora from their official addresses into the layout that the readers expect."""

from __future__ import annotations

import io
import lzma
import shutil
import stat
import struct
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from dialoguellm_release.corpora.download import DownloadPolicy, download
from dialoguellm_release.corpora.files import Identity, identities, state_of
from dialoguellm_release.errors import DataError, Problem
from dialoguellm_release.folders import alone
from dialoguellm_release.schemas.corpus import CorpusEntry, Download
from dialoguellm_release.schemas.labels import CorpusName

DAMAGED_ZIP = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    OSError,
    RuntimeError,
    ValueError,
)
"""What `zipfile` raises, as a fuzzer found, on one that is cut off, damaged, encrypted or of a rare kind."""

MAX_MEMBER_BYTES = 1 << 26
"""Ten times the largest public file; a zip that unpacks to more is not one of a corpus."""

_AGAIN = "run the same command again: the archive was removed and is fetched again"


def read_members(
    path: Path, wanted: Mapping[str, tuple[Sequence[str], Identity]], where: str
) -> dict[str, bytes]:
    """The content of each file, by the first of its names that is there; `a.zip/b` is b in a.zip."""
    try:
        with zipfile.ZipFile(path) as archive:
            _refuse_unsafe(archive, where)
            found = {target: _read(archive, names, where) for target, (names, _) in wanted.items()}
    except DAMAGED_ZIP as error:
        raise DataError(
            Problem(where, f"cannot be unzipped: {error}", fix=_AGAIN, code="corpora.bad_archive")
        ) from error
    contents, problems = dict[str, bytes](), list[Problem]()
    for target, (names, identity) in wanted.items():
        content = found[target]
        if content is None:
            what, code = f"does not hold {target}", "corpora.archive_lacks_file"
            problems.append(Problem(where, what, " or ".join(names), code=code))
        elif not identity.fits(content):
            what, code = f"holds another {target} than the known one", "corpora.archive_has_another_file"
            problems.append(Problem(where, what, str(identity), str(identity.of(content)), code=code))
        else:
            contents[target] = content
    if problems:
        raise DataError(problems)
    return contents


def _refuse_unsafe(archive: zipfile.ZipFile, where: str) -> None:
    """Refuses an archive that unpacked would reach out of its folder, whether or not the member is wanted."""
    unsafe = [member.filename for member in archive.infolist() if _reaches_out(member)]
    if unsafe:
        what = f"would write outside its folder: {', '.join(unsafe)}"
        fix = "tell whoever runs the server; nothing of it was used"
        raise DataError(Problem(where, what, fix=fix, code="corpora.unsafe_archive"))


def _reaches_out(member: zipfile.ZipInfo) -> bool:
    name = member.filename.replace("\\", "/")
    path = PurePosixPath(name)
    is_link = stat.S_ISLNK(member.external_attr >> 16)
    return path.is_absolute() or ".." in path.parts or ":" in path.parts[0] or is_link


def _read(archive: zipfile.ZipFile, names: Sequence[str], where: str) -> bytes | None:
    """The content of the first of the names that is there; None where none is."""
    members = set(archive.namelist())
    for name in names:
        outer, nested, inner = name.partition(".zip/")
        if name in members:
            return _content(archive, name, where)
        if nested and f"{outer}.zip" in members:
            place = f"{where}/{outer}.zip"
            with zipfile.ZipFile(io.BytesIO(_content(archive, f"{outer}.zip", where))) as within:
                _refuse_unsafe(within, place)
                return _read(within, [inner], place)
    return None


def _content(archive: zipfile.ZipFile, name: str, where: str) -> bytes:
    """A member's content; no more of it is read than the largest file may have."""
    with archive.open(name) as member:
        content = member.read(MAX_MEMBER_BYTES + 1)
    if len(content) > MAX_MEMBER_BYTES:
        what = f"unpacks {name} to more than {MAX_MEMBER_BYTES} bytes"
        raise DataError(Problem(where, what, code="corpora.archive_too_large"))
    return content


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
        folder = to / entry.name
        targets = [path for one in entry.downloads for path in one.targets]
        missing = [path for path in targets if not (folder / path).exists()]
        source = _Source(entry, folder.resolve(), mirror, policy or DownloadPolicy())
        try:
            problems += source.fetch(missing) if missing else []
        except DataError as error:
            problems += error.problems
        files += [
            FetchedFile(entry.name, folder / path, path not in missing)
            for path in targets
            if (folder / path).exists()
        ]
    if problems:
        fetched = sum(not file.was_there for file in files)
        raise DataError(problems, outcome=f"other files fetched: {fetched}, each whole and in its place")
    return files


def _refuse(entries: Sequence[CorpusEntry], to: Path) -> None:
    problems = [
        Problem(
            entry.name,
            f"{entry.title} cannot be fetched, it has to be asked for ({entry.homepage})",
            fix=f"whom to ask: {entry.request.whom}\n  what to ask for: {entry.request.what}\n"
            f"  where to put it: {to / entry.name}",
            code="corpora.must_be_asked_for",
        )
        for entry in entries
        if entry.request
    ]
    for entry in entries:
        known = identities(entry)
        for path in (path for one in entry.downloads for path in one.targets):
            place = to / entry.name / path
            if state_of(place, known[path]) == "another":
                problems.append(_another(place, known[path][0]))
    if problems:
        raise DataError(problems)


def _another(place: Path, known: Identity) -> Problem:
    got = str(known.of(place.read_bytes())) if place.is_file() else "not a file"
    fix = "move it away and run the same command again; it is never replaced"
    return Problem(
        str(place), "is there already, but is another file", str(known), got, fix, code="corpora.another_file"
    )


@dataclass(frozen=True)
class _Source:
    """One corpus, the folder that it goes to, and where its files come from."""

    entry: CorpusEntry
    folder: Path
    mirror: str | None
    policy: DownloadPolicy

    def fetch(self, missing: list[str]) -> list[Problem]:
        """Fetches the missing files; what went wrong with some of them, while the others are in place."""
        staging = self.folder.with_name(f".{self.folder.name}.partial")
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        problems: list[Problem] = []
        with alone(self.folder.with_name(f".{self.folder.name}.lock"), self.folder):
            staging.mkdir(exist_ok=True)
            try:
                for one in self.entry.downloads:
                    wanted = [path for path in one.targets if path in missing]
                    try:
                        if wanted:
                            self._fetch(one, wanted, staging)
                    except DataError as error:
                        problems += error.problems
                if not problems:
                    shutil.rmtree(staging)
            finally:
                if staging.exists() and not any(staging.iterdir()):
                    staging.rmdir()
        return problems

    def _fetch(self, one: Download, wanted: list[str], staging: Path) -> None:
        known = identities(self.entry)
        arrived = staging / one.path
        own = [f"{self.mirror.rstrip('/')}/{self.entry.name}/{one.path}"] if self.mirror else []
        identity = None if one.members else known[one.path][0]
        download([*own, *one.addresses], arrived, identity, self.policy, where=str(self.folder / one.path))
        if identity:
            self._place(arrived, one.path, identity)
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
