"""Tables with one utterance a row, whatever the corpus: the columns are named in the corpus file."""

from __future__ import annotations

import ast
import marshal
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cache
from operator import attrgetter
from typing import Any

from dialoguellm_release.corpora.cells import Fault, NativeLabels, c1_as_cp1252, seconds, whole_number
from dialoguellm_release.corpora.files import CorpusFolder
from dialoguellm_release.errors import Problem
from dialoguellm_release.schemas.corpus import JsonFormat, TableFormat
from dialoguellm_release.schemas.labels import SPLITS, Split
from dialoguellm_release.schemas.record import Dialogue, Utterance
from dialoguellm_release.tabular import ROWS_AT_ONCE, TableRow

SPLIT_NAMES: dict[str, Split] = {
    **dict.fromkeys(("train", "training", "trn"), "train"),
    **dict.fromkeys(("validation", "valid", "val", "dev", "development"), "validation"),
    **dict.fromkeys(("test", "testing", "tst"), "test"),
}
"""The usual names of splits, in lower case."""

MAX_NAMED = 5

_PLACEHOLDER = re.compile(r"\{(\d+)(?::0(\d+))?\}")


def read_tables(folder: CorpusFolder, form: TableFormat) -> Iterator[Dialogue]:
    """The dialogues of tables."""
    rows = _Rows(folder, form, native_labels(folder, form))
    if form.file is not None:
        found = rows.by_split(form.file)
        for split in (*SPLITS, None):
            if split in found:
                yield from found[split].dialogues()
        return
    for split in SPLITS:
        if split in form.files:
            dialogues = DialogueRows(folder, given(folder, split))
            for row in rows.of(form.files[split]):
                rows.add(dialogues, row)
            yield from dialogues.dialogues()


def native_labels(folder: CorpusFolder, form: TableFormat | JsonFormat) -> NativeLabels:
    """The reader of labels that a format asks for."""
    may_be_empty = "label" in form.may_be_empty
    return NativeLabels(folder.entry, folder.notes, ignores_case=form.ignores_case, may_be_empty=may_be_empty)


def given(folder: CorpusFolder, split: Split) -> Split | None:
    """The split that a file states; None for what is drawn, which is all but what is held out."""
    return None if split == "train" and folder.entry.splits == "drawn" else split


def stated_split(folder: CorpusFolder, form: TableFormat | JsonFormat, cell: str, name: str) -> Split | None:
    """The split that a cell states, or the default one where it is empty."""
    cell = cell.strip()
    split = (
        form.split_names.get(cell) or SPLIT_NAMES.get(cell.lower()) or (None if cell else form.default_split)
    )
    if split is None:
        known = ", ".join((*SPLITS, *form.split_names))
        raise Fault(f"{name} is no split", known, repr(cell), code="corpora.unknown_split")
    return given(folder, split)


def joined(speakers: list[str]) -> str:
    """The speakers of a turn as one name."""
    if not speakers or not all(name.strip() for name in speakers):
        raise Fault("a turn needs a speaker with a name", got=repr(speakers), code="corpora.no_speaker")
    return ", ".join(name.strip() for name in speakers)


class DialogueRows:
    """The dialogues of one split in the order in which they begin; each utterance key stands once.

    Utterances stand by their index, which in the public files is the order of the rows too.

    Why: the rows of a dialogue may stand anywhere, so those of the whole split have to be held. Packed, they
    take a fifth of the memory of objects.
    """

    def __init__(self, folder: CorpusFolder, split: Split | None) -> None:
        self._folder = folder
        self.split = split
        self._packed: dict[str, bytes] = {}
        self._open: dict[str, dict[int, tuple[int, Utterance]]] = {}  # what was added last, not packed yet
        self._added = 0

    def add(self, dialogue_id: str, utterance: Utterance, line: int) -> None:
        """Adds the utterance of a line."""
        rows = self._open.get(dialogue_id)
        if rows is None:
            rows = self._open[dialogue_id] = self._unpacked(dialogue_id)
        if utterance.index in rows:
            first, _ = rows[utterance.index]
            what = f"dialogue {dialogue_id}, utterance {utterance.index} a second time; first on line {first}"
            raise Fault(what, fix="keep one of the two lines", code="corpora.utterance_twice")
        rows[utterance.index] = line, utterance
        self._added += 1
        if self._added % ROWS_AT_ONCE == 0:
            self._pack()

    def dialogues(self) -> Iterator[Dialogue]:
        """The dialogues; counts them as what the public file holds."""
        self._pack()
        self._folder.notes.public_dialogues[self.split] += len(self._packed)
        self._folder.notes.public_utterances[self.split] += self._added
        for dialogue_id in list(self._packed):
            rows = self._unpacked(dialogue_id)
            del self._packed[dialogue_id]  # so that what was given is no longer held
            utterances = tuple(rows[index][1] for index in sorted(rows))
            yield Dialogue(
                corpus=self._folder.entry.name, split=self.split, id=dialogue_id, utterances=utterances
            )

    def _pack(self) -> None:
        for dialogue_id, rows in self._open.items():
            values = [(line, *_values_of(utterance)) for line, utterance in rows.values()]
            self._packed[dialogue_id] = marshal.dumps(values)
        self._open.clear()

    def _unpacked(self, dialogue_id: str) -> dict[int, tuple[int, Utterance]]:
        packed = self._packed.get(dialogue_id)
        found = ((line, _utterance_of(values)) for line, *values in (marshal.loads(packed) if packed else ()))
        return {utterance.index: (line, utterance) for line, utterance in found}


_FIELDS = tuple(one.name for one in fields(Utterance))
_values_of = attrgetter(*_FIELDS)


def _utterance_of(values: Sequence[Any]) -> Utterance:
    return Utterance(**dict(zip(_FIELDS, values, strict=True)))


@dataclass
class _Rows:
    """The rows of the tables of a corpus."""

    folder: CorpusFolder
    form: TableFormat
    labels: NativeLabels
    # Utterances of each dialogue so far, where the table does not number them.
    begun: Counter[tuple[Split | None, str]] = field(default_factory=Counter)
    last: tuple[Split | None, str] | None = None
    # The name in the table of each dialogue id, and the other way round.
    names: dict[tuple[Split | None, str], tuple[str, ...]] = field(default_factory=dict)
    ids: dict[tuple[Split | None, tuple[str, ...]], str] = field(default_factory=dict)

    @property
    def dialogue_columns(self) -> tuple[str, ...]:
        named = self.form.columns.dialogue
        return () if named is None else (named,) if isinstance(named, str) else named

    def of(self, name: str) -> Iterator[TableRow]:
        """The rows of a file, with their cells by column."""
        columns = self.form.columns
        single = (columns.text, columns.label, columns.speaker, columns.utterance, columns.split)
        wanted = (*single, columns.start, columns.end, *self.dialogue_columns)
        names = tuple(dict.fromkeys(column for column in wanted if column is not None))
        lists = (columns.speaker,) if columns.speaker and self.form.speakers == "list" else ()
        return self.folder.read_table(name, names, lists, self.form.encoding, self.form.separator)

    def by_split(self, name: str) -> dict[Split | None, DialogueRows]:
        """The rows of a file of all splits."""
        found: dict[Split | None, DialogueRows] = {}
        splits_of: defaultdict[str, dict[Split | None, int]] = defaultdict(dict)
        for row in self.of(name):
            try:
                split = self._split(row.cells)
            except Fault as fault:
                self.folder.notes.problems.append(fault.at(row.where))
                continue
            dialogues = found.setdefault(split, DialogueRows(self.folder, split))
            dialogue_id = self.add(dialogues, row)
            if dialogue_id is not None:
                splits_of[dialogue_id].setdefault(split, row.line)
        self._refuse_torn(name, splits_of)
        return found

    def _refuse_torn(self, name: str, splits_of: Mapping[str, Mapping[Split | None, int]]) -> None:
        """Dialogues whose rows are in several splits: their context and their leaks would be wrong."""
        torn = [dialogue_id for dialogue_id, splits in splits_of.items() if len(splits) > 1]
        if not torn:
            return
        named = "; ".join(
            f"{one} ({', '.join(f'{split} on line {line}' for split, line in splits_of[one].items())})"
            for one in torn[:MAX_NAMED]
        )
        more = f"; and {len(torn) - MAX_NAMED:,} more" if len(torn) > MAX_NAMED else ""
        where, what = str(self.folder.path / name), "dialogues whose rows are in several splits"
        expected, fix = "all rows of a dialogue in one split", "split by whole dialogues"
        code = "corpora.dialogue_in_several_splits"
        self.folder.notes.problems.append(Problem(where, what, expected, named + more, fix, code=code))

    def add(self, dialogues: DialogueRows, row: TableRow) -> str | None:
        """Adds a row to the dialogues of its split; the id of its dialogue, None where the row is wrong."""
        try:
            dialogue_id = self._dialogue_id(dialogues.split, row.cells, row.line)
            dialogues.add(dialogue_id, self._utterance(dialogues.split, dialogue_id, row.cells), row.line)
        except Fault as fault:
            self.folder.notes.problems.append(fault.at(row.where))
            return None
        return dialogue_id

    def _split(self, cells: Mapping[str, str]) -> Split | None:
        column = self.form.columns.split
        if column is None:
            return None if self.folder.entry.splits != "native" else self.form.default_split or "train"
        return stated_split(self.folder, self.form, cells[column], column)

    def _dialogue_id(self, split: Split | None, cells: Mapping[str, str], line: int) -> str:
        columns = self.dialogue_columns
        if not columns:
            return f"row-{line - 1}"
        named = tuple([cells[column].strip() for column in columns])
        if known := self.ids.get((split, named)):
            return known
        if self.form.dialogue_id is None:
            dialogue_id = "-".join("-".join(named).split()).replace("/", "-") or f"row-{line - 1}"
        else:
            dialogue_id = _filled_in(self.form.dialogue_id, columns, named)
        first = self.names.setdefault((split, dialogue_id), named)
        if first != named:
            what = f"dialogue {named} would have the id of dialogue {first}"
            raise Fault(what, got=dialogue_id, fix="rename one of them", code="corpora.dialogue_id_twice")
        if any(named):
            self.ids[split, named] = dialogue_id
        return dialogue_id

    def _utterance(self, split: Split | None, dialogue_id: str, cells: Mapping[str, str]) -> Utterance:
        columns = self.form.columns
        native, label = self.labels.read_any(cells[columns.label])
        text, speaker = cells[columns.text], cells[columns.speaker] if columns.speaker else ""
        if "c1_as_cp1252" in self.form.repairs:
            before = text, speaker
            text, speaker = c1_as_cp1252(text), c1_as_cp1252(speaker)
            if (text, speaker) != before:
                self.folder.notes.repairs[f"{self.folder.entry.name}.c1_as_cp1252"] += 1
        if columns.utterance is None:
            key = split, dialogue_id
            index = self.begun[key]
            if index and key != self.last:
                self.folder.notes.repairs[f"{self.folder.entry.name}.dialogue_continued_later"] += 1
            self.begun[key], self.last = index + 1, key
        else:
            index = whole_number(cells[columns.utterance], columns.utterance)
        return Utterance(
            index=index,
            text=self.folder.line(text, columns.text),
            speaker=self._speaker(speaker),
            label=label,
            source_label=native,
            start_s=self._seconds(cells, columns.start),
            end_s=self._seconds(cells, columns.end),
        )

    def _speaker(self, cell: str) -> str | None:
        column = self.form.columns.speaker
        if column is None or (not cell.strip() and "speaker" in self.form.may_be_empty):
            return None
        return self.folder.line(_names(cell, column) if self.form.speakers == "list" else cell, column)

    def _seconds(self, cells: Mapping[str, str], column: str | None) -> float | None:
        if column is None or (not cells[column].strip() and "times" in self.form.may_be_empty):
            return None
        return seconds(cells[column])


@cache
def _names(cell: str, column: str) -> str:
    """The speakers in a cell that holds a Python list of names."""
    try:
        names = ast.literal_eval(cell)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        names = None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        what = f"{column} is not a list of names"
        raise Fault(what, "['NAME', ...]", repr(cell), code="corpora.not_a_list")
    return joined(names)


def _filled_in(template: str, columns: Sequence[str], cells: Sequence[str]) -> str:
    """A dialogue's id: each placeholder of the template replaced by its cell.

    >>> _filled_in("s{0:02}_{1}", ["Season", "Scene"], ["1", "a"])
    's01_a'
    """

    def value(match: re.Match[str]) -> str:
        place = int(match[1])
        if place >= len(cells):
            what = "dialogue_id names a column that is not among those of dialogue"
            raise Fault(what, got=template, code="corpora.wrong_template")
        if match[2] is None:
            return cells[place]
        return str(whole_number(cells[place], columns[place])).zfill(int(match[2]))

    return _PLACEHOLDER.sub(value, template)
