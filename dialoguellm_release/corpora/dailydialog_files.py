"""The files of DailyDialog, from folders and zips; a member of a zip is read by its name, never unpacked."""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass

from dialoguellm_release.corpora.archives import DAMAGED_ZIP, MAX_MEMBER_BYTES
from dialoguellm_release.corpora.files import CorpusFolder
from dialoguellm_release.errors import Problem
from dialoguellm_release.schemas.labels import SPLITS, Split


@dataclass(frozen=True)
class SplitLines:
    """As many lines of text as of labels, and where each kind was found, below the corpus folder."""

    folder: CorpusFolder
    texts: list[str]
    labels: list[str]
    text_place: str
    label_place: str


def text_file(split: Split) -> str:
    """The path of a split's dialogues, below the corpus folder and in the zip."""
    return f"{split}/dialogues_{split}.txt"


def label_file(split: Split) -> str:
    """The path of a split's emotion labels, likewise."""
    return f"{split}/dialogues_emotion_{split}.txt"


def zip_file(split: Split) -> str:
    """The path of a split's zip."""
    return f"{split}.zip"


def require(folder: CorpusFolder) -> None:
    """Checks that every file is there or may be in a zip.

    Raises:
        DataError: Names all that are missing.
    """
    folder.refuse(
        [
            Problem(str(folder.path / name), f"is missing, and so is {zip_file(split)}")
            for split in SPLITS
            if not folder.has(zip_file(split))
            for name in (text_file(split), label_file(split))
            if not folder.has(name)
        ]
    )


def read_split(folder: CorpusFolder, split: Split) -> SplitLines | None:
    """The lines of a split; None where there are none to use, which is noted.

    Why: folders win over zips, and a zip that lies beside them must say the same, since no one can
    tell which of two different texts is meant.
    """
    members = _members(folder, split) if folder.has(zip_file(split)) else {}
    if members is None:
        return None
    text_place, texts = _lines(folder, text_file(split), members, split)
    label_place, labels = _lines(folder, label_file(split), members, split)
    if texts is None or labels is None:
        return None
    if len(texts) == len(labels):
        return SplitLines(folder, texts, labels, text_place, label_place)
    problem = Problem(
        str(folder.path / label_place),
        f"has not as many lines as {text_place}",
        expected=f"{len(texts)} lines",
        got=f"{len(labels)} lines",
        fix="fetch both files again, from the same release",
    )
    folder.notes.problems.append(problem)
    return None


def _members(folder: CorpusFolder, split: Split) -> dict[str, bytes] | None:
    """The two members of a zip that are needed, as far as it has them; None where it is unusable."""
    name = zip_file(split)
    content = folder.read_bytes(name)
    if content is None:
        return None
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            wanted = {text_file(split), label_file(split)} & set(archive.namelist())
            sizes = {member: archive.getinfo(member).file_size for member in sorted(wanted)}
            if max(sizes.values(), default=0) > MAX_MEMBER_BYTES:
                raise zipfile.BadZipFile(f"members of {sizes} bytes, where {MAX_MEMBER_BYTES} are allowed")
            return {member: archive.read(member) for member in sizes}
    except DAMAGED_ZIP as error:
        what = f"cannot be unzipped: {error}"
        fix = "fetch the file again: it may be cut off"
        folder.notes.problems.append(Problem(str(folder.path / name), what, fix=fix))
        return None


def _lines(
    folder: CorpusFolder, name: str, members: dict[str, bytes], split: Split
) -> tuple[str, list[str] | None]:
    """Where a file was found, and its lines; None for these where there are none to use, which is noted."""
    member = members.get(name)
    if not folder.has(name):
        place = f"{zip_file(split)}/{name}"
        return place, _lines_of_member(folder, name, member, str(folder.path / place))
    where = str(folder.path / name)
    content = folder.read_bytes(name)
    if content is not None and member is not None and member != content:
        what = f"differs from the same file in {zip_file(split)}"
        fix = "remove the folder or the zip, whichever is wrong"
        folder.notes.problems.append(Problem(where, what, fix=fix))
        return name, None
    return name, None if content is None else _split(folder.decode(content, where))


def _lines_of_member(folder: CorpusFolder, name: str, member: bytes | None, where: str) -> list[str] | None:
    if member is None:
        folder.notes.problems.append(Problem(where, "is not in the zip", fix="fetch the zip again"))
        return None
    return _split(folder.decode(member, where)) if folder.belongs(name, member, where) else None


def _split(text: str | None) -> list[str] | None:
    return None if text is None else text.removesuffix("\n").split("\n")
