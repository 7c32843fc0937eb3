"""The clip of a record, in the folders in which the corpora come or in which a user keeps episodes.

VIDEOS/meld/      dia3_utt7.mp4 below train_splits, dev_splits_complete, output_repeated_splits_test,
                  or below train, dev, test
VIDEOS/iemocap/   Ses01F_impro01.avi, anywhere, as in dialog/avi/DivX
VIDEOS/emorynlp/  a file an episode, its name with s01e02 or 1x02
VIDEOS/meisd/     likewise, below a folder with the code of the series (FR, GOT, ...); and MEISD_text.csv,
                  which alone tells seasons and episodes
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from dialoguellm_release.corpora.readers.meisd import read_meisd_episodes
from dialoguellm_release.corpora.registry import corpus_entry
from dialoguellm_release.errors import DataError, Problem
from dialoguellm_release.schemas.labels import CorpusName, Split
from dialoguellm_release.schemas.record import Record

SUFFIXES = {".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".ts", ".flv", ".wmv", ".ogv"}

MELD_FOLDERS: dict[str, Split] = {
    "train_splits": "train",
    "train": "train",
    "dev_splits_complete": "validation",
    "dev_splits": "validation",
    "dev": "validation",
    "output_repeated_splits_test": "test",
    "test_splits": "test",
    "test": "test",
}
_MELD_CLIP = re.compile(r"(final_videos_test)?dia(\d+)_utt(\d+)", re.ASCII)
_EPISODE = re.compile(r"(?<![a-z0-9])(?:s(\d{1,2})[ ._-]?e(\d{1,2})|(\d{1,2})x(\d{1,2}))(?!\d)", re.I | re.A)
_EMORYNLP_SCENE = re.compile(r"s(\d+)_e(\d+)_c\d+", re.ASCII)

Key = tuple[str | int, ...]
"""What a file and a record have in common."""


@dataclass(frozen=True)
class Clip:
    """Where a record is seen.

    Attributes:
        name: The file relative to the folder of all videos, as every report and ledger names it.
        start_s: Where in the file; None where the file is the utterance alone.
    """

    record_id: str
    name: str
    path: Path
    start_s: float | None
    end_s: float | None


@dataclass(frozen=True)
class FoundClips:
    """Which records have a clip.

    Attributes:
        without_clip: Ids of records of which no file was found.
        left_out: Ids of records that the recipe leaves out, with its reason.
        several: Ids of records of which several files could be meant, with their names; none is taken.
        without_record: Names of the files that belong to no record.
    """

    clips: tuple[Clip, ...]
    without_clip: tuple[str, ...]
    left_out: dict[str, str]
    several: dict[str, tuple[str, ...]]
    without_record: tuple[str, ...]


def find_clips(records: Iterable[Record], videos: Path, left_out: Mapping[str, str]) -> FoundClips:
    """The clips of records, below a folder that has one folder a corpus.

    Args:
        left_out: Ids of records that are not wanted, each with the reason.

    Raises:
        DataError: There is no folder for one of the corpora, or MEISD's table is missing or wrong.
    """
    by_corpus: defaultdict[CorpusName, list[Record]] = defaultdict(list)
    for record in records:
        by_corpus[record.corpus].append(record)
    missing = [videos / name for name in by_corpus if not (videos / name).is_dir()]
    if missing:
        raise DataError([_no_folder(folder) for folder in missing])
    clips: list[Clip] = []
    without_clip: list[str] = []
    several: dict[str, tuple[str, ...]] = {}
    without_record: list[str] = []
    for corpus, wanted in by_corpus.items():
        naming = _naming(corpus, videos / corpus)
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
                start_s, end_s = (None, None) if naming.is_cut else (record.start_s, record.end_s)
                clips.append(Clip(record.id, names[0], videos / names[0], start_s, end_s))
        without_record += unknown
        without_record += [name for key, names in files.items() if key not in used for name in names]
    return FoundClips(
        clips=tuple(clips),
        without_clip=tuple(without_clip),
        left_out={
            record.id: left_out[record.id]
            for wanted in by_corpus.values()
            for record in wanted
            if record.id in left_out
        },
        several=several,
        without_record=tuple(sorted(without_record)),
    )


@dataclass(frozen=True)
class _Naming:
    """How the files of a corpus are named.

    Attributes:
        of_file: The key of a path below the corpus's folder; None where the name tells nothing.
        of_record: The key of a record; None where it has no time in any video.
        is_cut: Whether a file is one utterance; else the record's times say where in it.
    """

    of_file: Callable[[Path], Key | None]
    of_record: Callable[[Record], Key | None]
    is_cut: bool


def _naming(corpus: CorpusName, folder: Path) -> _Naming:
    match corpus:
        case "meld":
            return _Naming(_meld_file, lambda record: _utterance(record), is_cut=True)
        case "iemocap":
            return _Naming(lambda path: (path.stem,), lambda record: (record.dialogue_id,), is_cut=False)
        case "emorynlp":
            return _Naming(_episode, _emorynlp_record, is_cut=False)
        case "meisd":
            episodes = read_meisd_episodes(corpus_entry(corpus), folder)
            return _Naming(_episode_of_series, lambda record: episodes.get(_place(record)), is_cut=False)
    raise DataError(Problem(corpus, "has no video", fix="take it out of the corpora of the video recipe"))


def _files(videos: Path, corpus: CorpusName, naming: _Naming) -> tuple[dict[Key, list[str]], list[str]]:
    """The names of the video files by key, and those whose name tells nothing."""
    files: defaultdict[Key, list[str]] = defaultdict(list)
    unknown = []
    for path in _videos_below(videos / corpus):
        key = naming.of_file(path.relative_to(videos / corpus))
        name = path.relative_to(videos).as_posix()
        if key is None:
            unknown.append(name)
        else:
            files[key].append(name)
    if corpus == "meld":
        unknown += _replaced(files)
    return files, unknown


def _replaced(files: dict[Key, list[str]]) -> list[str]:
    """Takes out the test clips of MELD that its authors mended by a second file, `final_videos_test...`."""
    replaced = []
    for key, names in files.items():
        mended = [name for name in names if Path(name).name.startswith("final_videos_test")]
        if mended:
            replaced += [name for name in names if name not in mended]
            files[key] = mended
    return replaced


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


def _meld_file(path: Path) -> Key | None:
    match = _MELD_CLIP.fullmatch(path.stem)
    splits = [MELD_FOLDERS[part] for part in path.parts[:-1] if part in MELD_FOLDERS]
    return (splits[-1], match[2], int(match[3])) if match and splits else None


def _utterance(record: Record) -> Key:
    return (record.split, record.dialogue_id, record.utterance_index)


def _episode(path: Path) -> Key | None:
    match = _EPISODE.search(path.stem)
    return (int(match[1] or match[3]), int(match[2] or match[4])) if match else None


def _episode_of_series(path: Path) -> Key | None:
    episode = _episode(path)
    return (path.parts[0].upper(), *episode) if episode and len(path.parts) > 1 else None


def _emorynlp_record(record: Record) -> Key | None:
    match = _EMORYNLP_SCENE.fullmatch(record.dialogue_id)
    return (int(match[1]), int(match[2])) if match and record.start_s is not None else None


def _place(record: Record) -> tuple[str, int]:
    return record.dialogue_id, record.utterance_index


def _no_folder(folder: Path) -> Problem:
    fix = f"put its videos there, or set `corpora` of the video recipe without {folder.name}"
    return Problem(str(folder), "no folder with the videos of this corpus", fix=fix)
