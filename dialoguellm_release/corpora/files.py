"""The folder of a corpus: its files recognised by their hashes, read whole, and stamped."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Literal

from dialoguellm_release.corpora.cells import Fault, Notes, check_unicode, is_blank, one_line, table_cell
from dialoguellm_release.corpora.registry import bundled_corpora, corpus_entry
from dialoguellm_release.errors import DataError, Problem
from dialoguellm_release.folders import git_blob_id
from dialoguellm_release.resources import recording
from dialoguellm_release.schemas.corpus import CorpusEntry
from dialoguellm_release.schemas.labels import CorpusName
from dialoguellm_release.schemas.manifests import FileStamp
from dialoguellm_release.tabular import TableRow, encoding_of, parse_rows

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
class CorpusFolder:
    """A folder that should hold one corpus; a file is named by its path below the folder, with `/`."""

    entry: CorpusEntry
    path: Path
    notes: Notes

    def require(self, names: Iterable[str]) -> None:
        """Checks that every file is there."""
        self.refuse([self.missing(name) for name in names if not self.has(name)])

    def has(self, name: str) -> bool:
        """Whether something of that name is there, be it readable or not."""
        path = self.path / name
        try:
            return path.is_symlink() or path.exists()
        except OSError as error:
            raise DataError(_unreadable(path, error)) from error

    def missing(self, name: str) -> Problem:
        """The problem of a file that is not there."""
        return Problem(str(self.path / name), "is missing", code="corpora.file_missing")

    def refuse(self, problems: list[Problem]) -> None:
        """Raises what makes the folder unusable, with a word on what the folder may be instead."""
        if not problems:
            return
        others = [name for name in bundled_corpora() if name != self.entry.name and self._looks_like(name)]
        if others:
            what = f"looks like the folder of another corpus: {', '.join(others)}"
        else:
            what = "does not hold the corpus"
        name = self.entry.name
        where = f" ({self.entry.homepage})" if self.entry.homepage else ""
        fix = f"put {self.entry.title} here{where}, or leave it out with --skip {name}"
        raise DataError([*problems, Problem(str(self.path), what, fix=fix, code="corpora.not_the_corpus")])

    def read_bytes(self, name: str) -> bytes | None:
        """The content of a file, stamped; None where it cannot be used, which is noted."""
        path = self.path / name
        try:
            content = path.read_bytes()
        except OSError as error:
            self.notes.problems.append(_unreadable(path, error))
            return None
        stamp = FileStamp(
            path=f"{self.entry.name}/{name}", bytes=len(content), sha256=hashlib.sha256(content).hexdigest()
        )
        self.notes.files.append(stamp)
        if self.entry.files and stamp.sha256 not in _known_files():
            self.notes.unknown_files.append(stamp.path)
        return content if self.belongs(name, content, name) else None

    def belongs(self, name: str, content: bytes, place: str) -> bool:
        """Whether a content is not known as that of another file; if it is, that is noted at its place."""
        owners = _known_files().get(hashlib.sha256(content).hexdigest(), ())
        if not owners or (self.entry.name, name) in owners:
            return True
        corpus, path = owners[0]
        what, fix = f"holds the content of another file: {path} of {corpus}", f"put the right {name} here"
        self.note(Fault(what, fix=fix, code="corpora.another_file"), place)
        return False

    def read_text(self, name: str, encoding: str | None = None) -> str | None:
        """The content of a text file; None where it cannot be used, which is noted."""
        content = self.read_bytes(name)
        return None if content is None else self.decode(content, name, encoding)

    def read_rows(
        self, name: str, columns: Sequence[str], encoding: str | None = None, separator: str | None = None
    ) -> Iterator[TableRow]:
        """The rows of a table as they are; what is wrong is noted."""
        is_binary = name.lower().endswith(".parquet")
        content = self.read_bytes(name) if is_binary else self.read_text(name, encoding)
        if content is None:
            return
        for row in parse_rows(self.path / name, content, columns, separator):
            if isinstance(row, Problem):
                self.notes.problems.append(row)
            else:
                yield row

    def read_table(
        self,
        name: str,
        columns: Sequence[str],
        lists: Collection[str] = (),
        encoding: str | None = None,
        separator: str | None = None,
    ) -> Iterator[TableRow]:
        """The rows of a table that has the wanted columns, as texts; what is wrong is noted."""
        rows = self.read_rows(name, columns, encoding, separator)
        if name.lower().endswith((".csv", ".tsv")):  # whose cells are texts, and checked as one
            yield from rows
            return
        for row in rows:
            try:
                cells = {one: table_cell(row.cells[one], one, one in lists) for one in columns}
            except Fault as fault:
                self.notes.problems.append(fault.at(row.where))
            else:
                yield TableRow(row.where, row.line, cells)

    def list_texts(self, name: str) -> list[str]:
        """The names of the `.txt` files of a folder, sorted, without AppleDouble files (`._NAME`)."""
        path = self.path / name
        try:
            children = sorted(child.name for child in path.iterdir())
        except OSError as error:
            self.notes.problems.append(_unreadable(path, error))
            return []
        texts = [child for child in children if child.endswith(".txt") and not child.startswith("._")]
        if not texts:
            self.note(Fault("holds no .txt file", code="corpora.no_texts"), name)
        return texts

    def decode(self, content: bytes, name: str, encoding: str | None = None) -> str | None:
        """Bytes as text without a byte-order mark; None where they are none, which is noted."""
        again = "fetch the file again"
        if not content.strip():
            self.note(Fault("is empty", fix=again, code="corpora.empty_file"), name)
            return None
        try:
            text = check_unicode(content.decode(encoding_of(content, encoding)), "the text")
        except UnicodeDecodeError as error:
            what = (
                f"not {encoding or 'UTF-8'}: byte 0x{error.object[error.start]:02x} at offset {error.start}"
            )
            fault = Fault(what, fix="convert the file to UTF-8", code="corpora.not_utf8")
            self.note(fault, name, content.count(b"\n", 0, error.start) + 1)
            return None
        except Fault as broken:
            self.note(broken, name)
            return None
        nul = text.find("\0")
        if nul >= 0:
            fault = Fault(f"a NUL byte at offset {nul}", fix=again, code="corpora.nul_byte")
            self.note(fault, name, text.count("\n", 0, nul) + 1)
            return None
        return text.removeprefix("\ufeff")

    def line(self, cell: str, name: str) -> str:
        """A text or a name as one line, without outer white space; what changes inside is counted.

        Why: a line break in a text would be another line of the prompt, such as a turn that nobody spoke.
        """
        if cell.isprintable() and "  " not in cell and (text := cell.strip()):
            return text
        text = one_line(check_unicode(cell, name))
        if is_blank(text):
            raise Fault(f"{name} is empty", fix=f"fill in {name}, or leave it out", code="corpora.empty_cell")
        if text != cell.strip():
            self.notes.repairs[f"{self.entry.name}.white_space"] += 1
        return text

    def note(self, fault: Fault, name: str, line: int | None = None) -> None:
        """Keeps a fault of a file, or of a line of it counted from 1, as a problem."""
        place = str(self.path / name) if line is None else f"{self.path / name}:{line}"
        self.notes.problems.append(fault.at(place))

    def _looks_like(self, name: CorpusName) -> bool:
        entry = corpus_entry(name)
        return any(self.has(path) for path in (*entry.landmarks, *(file.path for file in entry.files)))


def open_folder(entry: CorpusEntry, path: Path, notes: Notes) -> CorpusFolder:
    """The folder of a corpus, known to be a folder that can be listed."""
    try:
        next(path.iterdir(), None)
    except OSError as error:
        name = entry.name
        fix = f"name the folder that holds {name}/ with --sources, or leave it out with --skip {name}"
        raise DataError(replace(_unreadable(path, error), fix=fix)) from error
    return CorpusFolder(entry, path, notes)


@cache
def _known_files() -> dict[str, list[tuple[CorpusName, str]]]:
    """Corpus and path of every file of the registry, by hash."""
    known = defaultdict(list)
    with recording(on=False):
        for name in bundled_corpora():
            for file in corpus_entry(name).files:
                known[file.sha256].append((name, file.path))
    return dict(known)


def _unreadable(path: Path, error: OSError) -> Problem:
    return Problem(str(path), f"cannot be read: {error.strerror}", code="corpora.unreadable")
