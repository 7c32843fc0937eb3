"""How a private copy differs from the build, record by record, and why as far as the files tell."""

from __future__ import annotations

import shlex
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dialoguellm_release.corpora.registry import bundled_entry
from dialoguellm_release.errors import Problem
from dialoguellm_release.hydration.published import PACKAGE, PublishedCopy
from dialoguellm_release.hydration.standoff import Turn, window_hmac
from dialoguellm_release.schemas.dataset_manifest import CorpusFigures, DatasetFigures
from dialoguellm_release.schemas.labels import CorpusName, Split
from dialoguellm_release.schemas.manifests import FileStamp
from dialoguellm_release.schemas.recipes.dataset import DatasetRecipe
from dialoguellm_release.schemas.record import Record, StandoffRow

Place = tuple[Split, str]
"""A dialogue of a corpus, by its split and id."""

FEW = 5
"""Up to this many records are named, even where they are most of a split."""

_COMPARED = ("output", "source_label", "other_labels", "start_s", "end_s")
"""What rows and records both state of the corpus itself; what a build adds to it is not a fault of a copy."""


@dataclass
class Differences:
    """How a copy differs from the rows, by kind.

    Attributes:
        texts: Records whose text or speaker differs.
        labels: Records whose label or time differs.
        missing: Records that the copy lacks.
        additional: Records of the copy that the rows do not have.
    """

    texts: list[Problem] = field(default_factory=list)
    labels: list[Problem] = field(default_factory=list)
    missing: list[Problem] = field(default_factory=list)
    additional: list[Problem] = field(default_factory=list)

    def __bool__(self) -> bool:
        return any((self.texts, self.labels, self.missing, self.additional))

    def __str__(self) -> str:
        counts = {
            "with another text or speaker": self.texts,
            "with another label or time": self.labels,
            "missing": self.missing,
            "additional": self.additional,
        }
        return ", ".join(f"{_records(found):,} {what}" for what, found in counts.items() if found)

    def __iter__(self) -> Iterator[Problem]:
        for found in (self.texts, self.labels, self.missing, self.additional):
            yield from found

    def problems(self, sizes: Mapping[str, int]) -> Iterator[Problem]:
        """One problem for each record, or one for a split where one cause explains most of its records.

        Args:
            sizes: How many records the build has of each split, by names as in `meld/test`.
        """
        for what, found in (
            ("have another text or speaker", self.texts),
            ("have another label or time", self.labels),
            ("are missing in your copy", self.missing),
            ("are only in your copy", self.additional),
        ):
            by_split: defaultdict[str, list[Problem]] = defaultdict(list)
            for problem in found:
                by_split["/".join(problem.where.split("/", 2)[:2])].append(problem)
            for split, problems in by_split.items():
                count, size = _records(problems), sizes.get(split, 0)
                if count > FEW and 2 * count > size:
                    what_differs = f"{count:,} records {what}, of {size:,} in the build"
                    yield Problem(split, what_differs, code="hydration.split_differs")
                else:
                    yield from problems


def by_dialogue(rows: Iterable[StandoffRow]) -> dict[Place, list[StandoffRow]]:
    """The rows of each dialogue, in the order of its turns."""
    dialogues: defaultdict[Place, list[StandoffRow]] = defaultdict(list)
    for row in rows:
        dialogues[row.split, row.dialogue_id].append(row)
    for turns in dialogues.values():
        turns.sort(key=lambda row: row.utterance_index)
    return dict(dialogues)


def find_differences(
    rows: Mapping[Place, Sequence[StandoffRow]], copy: Iterable[Sequence[Record]], salt: str
) -> Differences:
    """How a copy differs from the rows.

    Args:
        copy: The records that the copy gives, dialogue by dialogue.
        salt: Of the windows.
    """
    found = Differences()
    seen: set[Place] = set()
    for records in copy:
        place = records[0].split, records[0].dialogue_id
        seen.add(place)
        _compare(rows.get(place, ()), records, salt, found)
    for place in rows.keys() - seen:
        found.missing += [_missing(row) for row in rows[place]]
    for problems in (found.missing, found.additional):
        problems.sort(key=lambda problem: problem.where)
    return found


def changed_turns(windows: Mapping[int, bool], length: int) -> list[int]:
    """The turns of a dialogue whose change explains the windows that differ.

    A turn in a window that agrees is unchanged. Of the others, those that explain the most windows that
    differ are named, and so on until all are explained (the greedy algorithm for set cover). So of one
    changed turn in a dialogue of three or more that turn alone is named; in a dialogue of two it may be
    either, and both are.

    Args:
        windows: For the middle of each window that could be looked at, whether it agrees.

    >>> changed_turns({0: True, 1: True, 2: False, 3: False, 4: False, 5: True}, 6)
    [3]
    >>> changed_turns({0: False, 1: False}, 2)
    [0, 1]
    """
    around = {place: {one for one in (place - 1, place, place + 1) if 0 <= one < length} for place in windows}
    agreed = {turn for place, agrees in windows.items() if agrees for turn in around[place]}
    open_windows = {place for place, agrees in windows.items() if not agrees}
    changed: set[int] = set()
    while open_windows:
        explained = {
            turn: [place for place in open_windows if turn in around[place]]
            for place in open_windows
            for turn in (around[place] - agreed or {place})
        }
        most = max(map(len, explained.values()))
        changed |= {turn for turn, places in explained.items() if len(places) == most}
        open_windows = {place for place in open_windows if not changed & around[place]}
    return sorted(changed)


def _compare(rows: Sequence[StandoffRow], records: Sequence[Record], salt: str, found: Differences) -> None:
    """Compares a dialogue; windows follow the rows, so that a missing turn does not mark its neighbours."""
    by_id = {record.id: record for record in records}
    known = {row.id for row in rows}
    found.missing += [_missing(row) for row in rows if row.id not in by_id]
    found.additional += [
        Problem(record.id, "is not in the dataset, but in your copy", code="hydration.record_unknown")
        for record in records
        if record.id not in known
    ]
    for row in rows:
        if row.id in by_id:
            found.labels += _label_problems(row, by_id[row.id])
    windows = {}
    for place, row in enumerate(rows):
        members = [by_id.get(other.id) for other in rows[max(0, place - 1) : place + 2]]
        window = [Turn(one.id, one.speaker, one.input) for one in members if one]
        if row.window_hmac is not None and len(window) == len(members):
            windows[place] = window_hmac(salt, row.id, window) == row.window_hmac
    changed = changed_turns(windows, len(rows))
    is_one_of_two = len(rows) == 2 and len(changed) == 2
    what = "or its neighbour has another text or speaker" if is_one_of_two else "has another text or speaker"
    found.texts += [Problem(rows[place].id, what, code="hydration.other_text") for place in changed]


def _records(problems: Sequence[Problem]) -> int:
    return len({problem.where for problem in problems})


def _missing(row: StandoffRow) -> Problem:
    return Problem(row.id, "is in the dataset, but not in your copy", code="hydration.record_missing")


def _label_problems(row: StandoffRow, record: Record) -> Iterator[Problem]:
    for name in _COMPARED:
        expected, got = getattr(row, name), getattr(record, name)
        if expected != got:
            yield Problem(
                row.id, f"has another {name}", _shown(expected), _shown(got), code="hydration.other_label"
            )


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or "none"
    return "none" if value is None else str(value)


def cause(copy: PublishedCopy, name: CorpusName, files: Iterable[FileStamp], sources: Path) -> Problem:
    """Why a copy does not give the records of the build, as far as its files tell.

    Why: the same files can give other records only by another version of this package, or where the
    published rows are no longer those of the build.

    Args:
        files: The files that were read.
    """
    built_from = {file.path: file for file in copy.manifest.figures.corpora[name].files}
    read, where = {file.path: file for file in files}, str(sources / name)
    if built_from == read and copy.other_version is None:
        what = "these are the files of the build: the published copy was changed after it"
        return Problem(where, what, code="hydration.copy_changed")
    if built_from == read:
        what = "these are the files of the build, but another version of this package read them"
        made_by = f"{PACKAGE} {copy.other_version}"
        return Problem(where, what, made_by, fix=copy.version_fix, code="hydration.other_version")
    others = sorted(path for path in {*built_from, *read} if built_from.get(path) != read.get(path))
    return Problem(
        where,
        "not the files of the build",
        expected="; ".join(_named(built_from[path]) for path in others if path in built_from) or None,
        got="; ".join(_named(read[path]) for path in others if path in read) or None,
        fix=how_to_get(name, sources),
        code="hydration.other_files",
    )


def content_problems(copy: PublishedCopy, made: DatasetFigures, sources: Path) -> Iterator[Problem]:
    """The splits whose content is not that of the build, with what can be said of the reason.

    Why: a record's `leaks` name other corpora, so that one that differs changes others. Those are named
    whose files are not the build's, and of them those that no stand-off rows speak for.
    """
    built, now = copy.manifest.figures.corpora, made.corpora
    changed = [
        (name, split)
        for name, figures in built.items()
        for split, digest in figures.content_sha256.items()
        if now[name].content_sha256.get(split) != digest
    ]
    other_files = [(name, split) for name, split in changed if now[name].files != built[name].files]
    without_rows = [(name, split) for name, split in other_files if copy.held[name] == "nothing"]
    for name, split in without_rows or other_files or changed:
        reason = cause(copy, name, now[name].files, sources)
        yield Problem(
            f"{name}/{split}",
            f"its records are not those of the build: {_detail(copy, name, split) or reason.what}",
            expected=_content(built[name], split),
            got=_content(now[name], split),
            fix=copy.version_fix or reason.fix,
            code="hydration.other_content",
        )


def part_problems(copy: PublishedCopy, made: DatasetFigures, recipe: DatasetRecipe) -> Iterator[Problem]:
    """What is not proven, or not as in the build, of a dataset that is made without some of its corpora."""
    for name, now in made.corpora.items():
        built, draw = copy.manifest.figures.corpora[name], recipe.corpora[name].split
        fix = f"hydrate all corpora, or add --skip {name}"
        if copy.held[name] == "nothing" and now.files != built.files:
            what = "nothing of it is published, and these are not the files of the build: it cannot be proven"
            yield Problem(name, what, fix=fix, code="hydration.not_proven")
        elif copy.held[name] == "nothing" and draw is not None and draw.split_file is None:
            what = "nothing of it is published, and its splits were drawn beside all corpora of the build"
            yield Problem(name, what, fix=fix, code="hydration.not_proven")
        elif (now.splits, now.labels) != (built.splits, built.labels):
            what = "its splits or labels are not those of the build"
            yield Problem(name, what, _sizes(built), _sizes(now), fix, code="hydration.other_splits")


def _sizes(figures: CorpusFigures) -> str:
    return "; ".join(
        f"{split} {one.dialogues:,} dialogues, {one.utterances:,} utterances"
        for split, one in figures.splits.items()
    )


def how_to_get(name: CorpusName, sources: Path) -> str:
    """How to get a corpus: the command that fetches it, or whom to ask for what."""
    entry = bundled_entry(name)
    request = entry.request if entry else None
    if request is None:
        return f"dlm-release corpora fetch {name} --out {shlex.quote(str(sources))}"
    return (
        f"whom to ask: {request.whom}\n  what to ask for: {request.what}\n  where to put it: {sources / name}"
    )


def _named(file: FileStamp) -> str:
    return f"{file.path} of {file.bytes} bytes, sha256 {file.sha256}"


def _detail(copy: PublishedCopy, name: CorpusName, split: Split) -> str | None:
    """The records that may differ where every window agrees: those that have none."""
    if copy.held[name] != "standoff":
        return None
    ids = [row.id for row in copy.rows(name) if row.split == split and row.window_hmac is None]
    return f"one that is alone in its dialogue, and so has no hash: of {', '.join(ids)}" if ids else None


def _content(figures: CorpusFigures, split: Split) -> str:
    if split not in figures.splits:
        return "nothing"
    sizes = figures.splits[split]
    return (
        f"{sizes.dialogues} dialogues, {sizes.utterances} utterances, content {figures.content_sha256[split]}"
    )
