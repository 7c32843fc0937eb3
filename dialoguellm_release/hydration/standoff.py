"""Stand-off rows: ids, labels and positions without text, hashes to check a text by, and what differs."""

from __future__ import annotations

import hmac
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from dialoguellm_release.dataset.records import RowWriter
from dialoguellm_release.errors import Problem
from dialoguellm_release.folders import stamp
from dialoguellm_release.layout import DataFile, config_files
from dialoguellm_release.record_columns import records_of, standoff_schema
from dialoguellm_release.records import natural_order
from dialoguellm_release.schemas.dataset_manifest import DatasetManifest
from dialoguellm_release.schemas.labels import SPLITS, CorpusName, Split
from dialoguellm_release.schemas.manifests import FileStamp
from dialoguellm_release.schemas.record import STANDOFF_COLUMNS, Record, StandoffRow

if TYPE_CHECKING:
    import pyarrow as pa

FEW = 5
"""Up to this many records are named, even where they are most of a split."""

_KINDS = {
    "hydration.other_text": ("with another text or speaker", "have another text or speaker"),
    "hydration.other_label": ("with another label or time", "have another label or time"),
    "hydration.record_missing": ("missing", "are missing in your copy"),
    "hydration.record_unknown": ("additional", "are only in your copy"),
}
"""How records can differ, in the order in which it is reported: in a summary, and in a sentence."""

_COMPARED = ("output", "source_label", "other_labels", "start_s", "end_s")
"""What rows and records both state of the corpus itself; what a build adds to it is not a fault of a copy."""

_OF_COPIES = (*_COMPARED, "id", "corpus", "split", "dialogue_id", "utterance_index", "window_hmac")
"""What rows and a copy that is the one of the build have in common."""

_READ = (*(name for name in STANDOFF_COLUMNS if name != "window_hmac"), "speaker", "input")


class Turn(NamedTuple):
    """What a window has of an utterance."""

    id: str
    speaker: str | None
    text: str


def write_standoff(
    dataset: Path, manifest: DatasetManifest, corpora: Sequence[CorpusName], folder: Path
) -> tuple[FileStamp, ...]:
    """Writes the stand-off rows of some corpora below a folder, and gives their stamps."""
    import pyarrow as pa

    written, paths = [], [file.path for file in manifest.outputs]
    for name in corpora:
        for split in SPLITS:
            if files := [dataset / path for path in config_files(paths, name, split, (name,))]:
                path = folder / DataFile(name, split, holds="standoff").path
                schema = standoff_schema(manifest.figures.class_labels)
                with RowWriter(path, schema) as rows:
                    table = _in_order(files)
                    hashes = pa.array(_hashes(table, manifest.content_sha256), pa.string())
                    table = table.append_column("window_hmac", hashes)
                    rows.add(table.select(STANDOFF_COLUMNS).cast(schema))
                written.append(stamp(path, folder))
    return tuple(written)


def window_hmacs(salt: str, turns: Sequence[Turn]) -> list[str | None]:
    """For each turn of a dialogue the hash of its window; None where the dialogue has no other turn.

    A window is the turn before, the turn and the turn after, as far as they are there. What is hashed is
    canonical JSON: the id of the record, then speaker and text of each turn of its window.

    Why: with the id in it, equal windows have different hashes, and a guess that is confirmed at one
    record says nothing about another. A hash of one utterance alone would confirm a guess, so there is none.
    """
    if len(turns) == 1:
        return [None]
    return [
        window_hmac(salt, turn.id, turns[max(0, place - 1) : place + 2]) for place, turn in enumerate(turns)
    ]


def window_hmac(salt: str, record_id: str, window: Sequence[Turn]) -> str:
    """The hash of one window of two turns or three.

    >>> turns = [Turn("", "Robin", "Hello!"), Turn("", None, "Hi.")]
    >>> window_hmac("00" * 32, "my_corpus/test/0/0", turns)[:16]
    '0accfefd6212bb77'
    """
    parts = [record_id, [[turn.speaker, turn.text] for turn in window]]
    message = json.dumps(parts, ensure_ascii=False, separators=(",", ":")).encode()
    return hmac.digest(bytes.fromhex(salt), message, "sha256").hex()


def _in_order(files: Sequence[Path]) -> pa.Table:
    """The records of a split with the columns that are needed, dialogue after dialogue."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    # pq.read_table imports pandas.
    table = pa.concat_tables(pq.ParquetFile(path).read(columns=list(_READ)) for path in files)
    dialogues, numbers = table["dialogue_id"].to_pylist(), table["utterance_index"].to_pylist()
    keys = {dialogue: natural_order(dialogue) for dialogue in set(dialogues)}
    return table.take(sorted(range(len(table)), key=lambda row: (keys[dialogues[row]], numbers[row])))


def _hashes(table: pa.Table, salt: str) -> list[str | None]:
    """The hash of each record of whole dialogues."""
    dialogues: defaultdict[str, list[Turn]] = defaultdict(list)
    read = (table[name].to_pylist() for name in ("dialogue_id", "id", "speaker", "input"))
    for dialogue, *values in zip(*read, strict=True):
        dialogues[dialogue].append(Turn(*values))
    return [one for turns in dialogues.values() for one in window_hmacs(salt, turns)]


def find_differences(rows: pa.Table, copy: Iterable[pa.Table], salt: str) -> list[Problem]:
    """How a copy, the records of whole dialogues of a corpus as columns, differs from the rows, by kind."""
    import pyarrow as pa

    def taken(places: Iterable[int]) -> pa.Table:
        return rows.take(pa.array(places, pa.int64()))

    left: defaultdict[tuple[Split, str], list[int]] = defaultdict(list)
    for place, key in enumerate(_dialogues_in(rows)):
        left[key].append(place)
    found: list[Problem] = []
    for columns in copy:
        here = {key: left.pop(key, []) for key in dict.fromkeys(_dialogues_in(columns))}
        expected = taken([place for places in here.values() for place in places]).select(_OF_COPIES)
        hashes = pa.array(_hashes(columns, salt), pa.string())
        got = columns.append_column("window_hmac", hashes).select(_OF_COPIES)
        if got.cast(expected.schema).equals(expected):
            continue
        records: defaultdict[tuple[Split, str], dict[str, Record]] = defaultdict(dict)
        for record in records_of(columns):
            records[record.split, record.dialogue_id][record.id] = record
        for key, places in here.items():
            found += _compared(_rows_of(taken(places)), records[key], salt)
    found += [_missing(row) for places in left.values() for row in _rows_of(taken(places))]
    return sorted(found, key=lambda problem: list(_KINDS).index(problem.code))


def _dialogues_in(table: pa.Table) -> Iterator[tuple[Split, str]]:
    """Split and id of the dialogue of each row."""
    return zip(table["split"].to_pylist(), table["dialogue_id"].to_pylist(), strict=True)


def _rows_of(table: pa.Table) -> list[StandoffRow]:
    """Rows as objects, which are not checked: the published file is known by its hash."""
    rows = table.to_pylist()
    return [StandoffRow.model_construct(**row | {"other_labels": tuple(row["other_labels"])}) for row in rows]


def summary(differences: Iterable[Problem]) -> str:
    """How many records differ, by kind."""
    records = {code: {one.where for one in differences if one.code == code} for code in _KINDS}
    return ", ".join(f"{len(found):,} {_KINDS[code][0]}" for code, found in records.items() if found)


def by_split(differences: Iterable[Problem], sizes: Mapping[str, int]) -> Iterator[Problem]:
    """One problem for each record, or one for a split where one cause explains most of its records."""
    groups: defaultdict[tuple[str, str], list[Problem]] = defaultdict(list)
    for problem in differences:
        groups[problem.code, problem.where.rsplit("/", 2)[0]].append(problem)
    for (code, split), problems in groups.items():
        count, size = len({problem.where for problem in problems}), sizes.get(split, 0)
        if count > FEW and 2 * count > size:
            what = f"{count:,} records {_KINDS[code][1]}, of {size:,} in the build"
            yield Problem(split, what, code="hydration.split_differs")
        else:
            yield from problems


def changed_turns(windows: Mapping[int, bool], length: int) -> list[int]:
    """The turns of a dialogue whose change explains the windows that differ.

    A turn in a window that agrees is unchanged. Of the others, those that explain the most windows that
    differ are named, and so on until all are explained (the greedy algorithm for set cover). So of one
    changed turn in a dialogue of three or more that turn alone is named; in a dialogue of two it may be
    either, and both are.

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


def _compared(rows: Sequence[StandoffRow], records: Mapping[str, Record], salt: str) -> Iterator[Problem]:
    """How a dialogue differs; its windows follow the rows, so a missing turn does not mark its neighbours."""
    windows, known = {}, {row.id for row in rows}
    for unknown in (record_id for record_id in records if record_id not in known):
        what = "is not in the dataset, but in your copy"
        yield Problem(unknown, what, code="hydration.record_unknown")
    for place, row in enumerate(rows):
        if row.id not in records:
            yield _missing(row)
            continue
        for name in _COMPARED:
            expected, got = getattr(row, name), getattr(records[row.id], name)
            if expected != got:
                shown = (_shown(expected), _shown(got))
                yield Problem(row.id, f"has another {name}", *shown, code="hydration.other_label")
        members = [records.get(other.id) for other in rows[max(0, place - 1) : place + 2]]
        window = [Turn(one.id, one.speaker, one.input) for one in members if one]
        if row.window_hmac is not None and len(window) == len(members):
            windows[place] = window_hmac(salt, row.id, window) == row.window_hmac
    changed = changed_turns(windows, len(rows))
    is_one_of_two = len(rows) == len(changed) == 2
    what = "or its neighbour has another text or speaker" if is_one_of_two else "has another text or speaker"
    yield from (Problem(rows[place].id, what, code="hydration.other_text") for place in changed)


def _missing(row: StandoffRow) -> Problem:
    return Problem(row.id, "is in the dataset, but not in your copy", code="hydration.record_missing")


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or "none"
    return "none" if value is None else str(value)
