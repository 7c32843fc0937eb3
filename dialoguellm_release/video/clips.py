"""The clips of records, by the naming that the corpus file states, and parts of them."""

from __future__ import annotations

import csv
import hashlib
import itertools
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from dialoguellm_release.corpora.registry import corpus_entry
from dialoguellm_release.errors import DataError, Problem
from dialoguellm_release.schemas.corpus import ClipNaming, CorpusEntry, EpisodeTable
from dialoguellm_release.schemas.record import Record

SUFFIXES = {".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".ts", ".flv", ".wmv", ".ogv"}
LEDGER_SUFFIX = ".sqlite"

Key = tuple[tuple[str, str], ...]
"""What a file and a record have in common: the named parts of the naming, sorted."""


@dataclass(frozen=True)
class Clip:
    """Where a record is seen."""

    record_id: str
    name: str  # the file relative to the folder of all videos, as reports and ledgers name it
    path: Path
    start_s: float | None  # where in the file; None where the file is the utterance alone
    end_s: float | None


@dataclass(frozen=True)
class FoundClips:
    """Which records have a clip."""

    clips: tuple[Clip, ...]
    without_clip: tuple[str, ...]  # ids of records without a file
    left_out: dict[str, str]  # ids of records that the recipe leaves out, with its reason
    # Ids of records that several files could show, with their names; none is taken.
    several: dict[str, tuple[str, ...]]
    without_record: tuple[str, ...]  # names of the files that belong to no record


def find_clips(
    records: Iterable[Record],
    videos: Path,
    left_out: Mapping[str, str],
    entries: Mapping[str, CorpusEntry] | None = None,
) -> FoundClips:
    """The clips of records, below a folder that has one folder a corpus."""
    by_corpus: defaultdict[str, list[Record]] = defaultdict(list)
    for record in records:
        by_corpus[record.corpus].append(record)
    what = "no folder with the videos of this corpus"
    fix = "put its videos there, or set `corpora` of the video recipe without"
    problems = [
        Problem(str(videos / name), what, fix=f"{fix} {name}", code="video.no_folder")
        for name in by_corpus
        if not (videos / name).is_dir()
    ]
    if problems:
        raise DataError(problems)
    clips: list[Clip] = []
    without_clip: list[str] = []
    several: dict[str, tuple[str, ...]] = {}
    without_record: list[str] = []
    for corpus, wanted in by_corpus.items():
        entry = entries[corpus] if entries else corpus_entry(corpus)
        if entry.clips is None:
            fix = "leave it out of the video recipe's corpora, or add `clips` to the corpus file"
            raise DataError(Problem(entry.name, "has no video", fix=fix, code="video.no_clip_naming"))
        naming = _Naming(entry.clips, videos / corpus)
        files, unknown = _files(videos, corpus, naming)
        used: set[Key] = set()
        for record in wanted:
            key = naming.of_record(record)
            names = files.get(key, ()) if key else ()
            if key:
                used.add(key)
            if record.id in left_out:
                continue
            if not names:
                without_clip.append(record.id)
            elif len(names) > 1:
                several[record.id] = tuple(names)
            else:
                is_cut = naming.stated.shows == "utterance"
                span = (None, None) if is_cut else (record.start_s, record.end_s)
                clips.append(Clip(record.id, names[0], videos / names[0], *span))
        without_record += unknown
        without_record += [name for key, names in files.items() if key not in used for name in names]
    ids = [record.id for wanted in by_corpus.values() for record in wanted]
    return FoundClips(
        clips=tuple(clips),
        without_clip=tuple(without_clip),
        left_out={name: left_out[name] for name in ids if name in left_out},
        several=several,
        without_record=tuple(sorted(without_record)),
    )


@dataclass(frozen=True)
class Shard:
    """One of `count` parts of the clips, by number from 1; records of one clip are in one part."""

    number: int = 1
    count: int = 1

    @property
    def ledger(self) -> str:
        """The name of the ledger of this part."""
        return f"ledger{f'-{self.number}-of-{self.count}' if self.count > 1 else ''}{LEDGER_SUFFIX}"

    def has(self, name: str) -> bool:
        """Whether a clip, or a record without one, is in this part."""
        digest = hashlib.sha256(name.encode()).digest()
        return int.from_bytes(digest[:8], "big") % self.count == self.number - 1

    def of(self, found: FoundClips) -> FoundClips:
        """What was found, of this part."""
        return replace(
            found,
            clips=tuple(clip for clip in found.clips if self.has(f"{clip.name} {clip.start_s} {clip.end_s}")),
            without_clip=tuple(filter(self.has, found.without_clip)),
            left_out={name: reason for name, reason in found.left_out.items() if self.has(name)},
            several={name: files for name, files in found.several.items() if self.has(name)},
        )


def read_shard(text: str) -> Shard:
    """A part from its form `i/n`.

    >>> read_shard("2/8")
    Shard(number=2, count=8)
    """
    match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text, re.ASCII)
    shard = Shard(int(match[1]), int(match[2])) if match else None
    if shard is None or not 1 <= shard.number <= shard.count:
        raise DataError(
            Problem("--shard", "not a part", expected="i/n, as in 1/8 to 8/8", got=text, code="video.shard")
        )
    return shard


class _Naming:
    """The clip naming of a corpus, ready to use."""

    def __init__(self, stated: ClipNaming, folder: Path) -> None:
        self.stated = stated
        self._files = [re.compile(one, re.IGNORECASE | re.ASCII) for one in stated.files]
        self._dialogue = re.compile(stated.dialogue, re.ASCII) if stated.dialogue else None
        self._episodes = _episodes(stated.table, folder) if stated.table else None

    def of_file(self, path: Path) -> Key | None:
        """The key of a path below the corpus's folder; None where the name says nothing."""
        match = next(filter(None, (one.search(path.stem) for one in self._files)), None)
        if match is None:
            return None
        parts = match.groupdict()
        if self.stated.splits:
            splits = [self.stated.splits[part] for part in path.parts[:-1] if part in self.stated.splits]
            if not splits:
                return None
            parts["split"] = splits[-1]
        if self.stated.top_folder:
            if len(path.parts) < 2:
                return None
            parts[self.stated.top_folder] = path.parts[0].upper()
        return _key(parts)

    def of_record(self, record: Record) -> Key | None:
        """The key of a record; None where it is in no video, or not at a known time."""
        if self.stated.shows != "utterance" and record.start_s is None:
            return None
        if self._episodes is not None:
            return self._episodes.get((record.dialogue_id, record.utterance_index))
        if self._dialogue is not None:
            match = self._dialogue.fullmatch(record.dialogue_id)
            return _key(match.groupdict()) if match else None
        parts = {"dialogue": record.dialogue_id}
        if self.stated.splits:
            parts["split"] = record.split
        if any("utterance" in one.groupindex for one in self._files):
            parts["utterance"] = str(record.utterance_index)
        return _key(parts)


def _key(parts: Mapping[str, str]) -> Key:
    """Named parts as a key; a number is the same with leading zeros."""
    plain = {name: part.lstrip("0") or "0" if part.isdigit() else part for name, part in parts.items()}
    return tuple(sorted(plain.items()))


def _files(videos: Path, corpus: str, naming: _Naming) -> tuple[dict[Key, list[str]], list[str]]:
    """The names of the video files by key, and those without a key or replaced by another file."""
    files: defaultdict[Key, list[str]] = defaultdict(list)
    unknown = []
    for path in _videos_below(videos / corpus):
        key = naming.of_file(path.relative_to(videos / corpus))
        name = path.relative_to(videos).as_posix()
        if key is None:
            unknown.append(name)
        else:
            files[key].append(name)
    prefix = naming.stated.corrected_prefix
    for key, names in files.items() if prefix else ():
        corrected = [name for name in names if Path(name).name.startswith(prefix or "")]
        if corrected:
            unknown += [name for name in names if name not in corrected]
            files[key] = corrected
    return files, unknown


def _videos_below(folder: Path) -> Iterator[Path]:
    """Every video file, in order; links are followed, and each folder is entered once."""
    entered = set()
    for root, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(root)
        if real in entered:
            folders.clear()
            continue
        entered.add(real)
        folders.sort()
        for name in sorted(names):
            if Path(name).suffix.lower() in SUFFIXES and not name.startswith("."):
                yield Path(root, name)


def _episodes(table: EpisodeTable, folder: Path) -> dict[tuple[str, int], Key]:
    """The key of each utterance by a table that lies beside the videos."""
    path = folder / table.file
    columns = [table.dialogue, table.utterance, *table.parts.values()]
    try:
        with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, csv.Error) as error:
        fix = "put the table there: it alone says in which video an utterance is"
        problem = Problem(str(path), "cannot be read", got=str(error), fix=fix, code="video.no_episode_table")
        raise DataError(problem) from error
    if missing := [name for name in columns if not rows or name not in rows[0]]:
        what = "lacks columns that say in which video an utterance is"
        raise DataError(Problem(str(path), what, got=", ".join(missing), code="video.no_episode_table"))
    found: dict[tuple[str, int], Key] = {}
    for dialogue, group in itertools.groupby(rows, lambda row: row[table.dialogue]):
        whole = [one for one in group if all(map(one.get, columns)) and one[table.utterance].isdigit()]
        numbers = [int(row[table.utterance]) for row in whole]
        grows = all(before < after for before, after in itertools.pairwise(numbers))
        # Numbers that repeat or go backwards are none of utterances: the position counts.
        for index, row in zip(numbers if grows else itertools.count(), whole, strict=False):
            found[dialogue, index] = _key({name: row[column].upper() for name, column in table.parts.items()})
    return found
