"""Members of a zip by their names: checked, read into memory, never unpacked."""

from __future__ import annotations

import io
import lzma
import stat
import struct
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from dialoguellm_release.corpora.identity import Identity
from dialoguellm_release.errors import DataError, Problem

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

_AGAIN = "run the same command again: the archive was removed and is fetched anew"


def read_members(
    path: Path, wanted: Mapping[str, tuple[Sequence[str], Identity]], where: str
) -> dict[str, bytes]:
    """The content of the wanted files.

    Args:
        wanted: For each file the names that it may have, `a.zip/b` for b in a.zip, and what it has to be.
        where: The archive in the user's terms.

    Raises:
        DataError: The archive is damaged, would write outside its folder, lacks a file or has another one.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            _refuse_unsafe(archive, where)
            found = {target: _read(archive, names, where) for target, (names, _) in wanted.items()}
    except DAMAGED_ZIP as error:
        raise DataError(Problem(where, f"cannot be unzipped: {error}", fix=_AGAIN)) from error
    problems = [
        _wrong(target, found[target], names, identity, where)
        for target, (names, identity) in wanted.items()
        if not _is_right(found[target], identity)
    ]
    if problems:
        raise DataError(problems)
    return {target: content for target, content in found.items() if content is not None}


def _is_right(content: bytes | None, identity: Identity) -> bool:
    return content is not None and identity.fits(content)


def _wrong(
    target: str, content: bytes | None, names: Sequence[str], identity: Identity, where: str
) -> Problem:
    if content is None:
        return Problem(where, f"does not hold {target}", expected=" or ".join(names))
    what = f"holds another {target} than the known one"
    return Problem(where, what, str(identity), str(identity.of(content)))


def _refuse_unsafe(archive: zipfile.ZipFile, where: str) -> None:
    """Refuses an archive that unpacked would reach out of its folder, whether or not the member is wanted."""
    unsafe = [member.filename for member in archive.infolist() if _reaches_out(member)]
    if unsafe:
        what = f"would write outside its folder: {', '.join(unsafe)}"
        raise DataError(Problem(where, what, fix="tell whoever runs the server; nothing of it was used"))


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
        raise DataError(Problem(where, f"unpacks {name} to more than {MAX_MEMBER_BYTES} bytes"))
    return content
