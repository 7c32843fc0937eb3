"""How files of a user's own are read: rows or dialogues, and their columns or keys by the usual names."""

from __future__ import annotations

import difflib
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dialoguellm_release.corpora.cells import MAX_DIGITS, Fault, one_line, table_cell
from dialoguellm_release.corpora.readers.table import SPLIT_NAMES
from dialoguellm_release.errors import DataError, Problem
from dialoguellm_release.schemas.corpus import JsonFormat, TableColumns, TableFormat
from dialoguellm_release.schemas.labels import Split
from dialoguellm_release.tabular import TableRow, class_names, encoding_of, flat, read_rows, unusual_separator

COLUMN_NAMES: dict[str, tuple[str, ...]] = {
    "text": ("text", "utterance", "sentence", "message", "content", "transcript", "transcription", "utt"),
    "label": ("label", "emotion", "emotion label", "class", "emo", "emotion id", "label id", "annotation",
              "category"),
    "speaker": ("speaker", "speaker name", "speaker id", "name", "role", "author", "sender", "character",
                "user", "from"),
    "dialogue": ("dialogue id", "dialog id", "conversation id", "conv id", "dialogue", "dialog",
                 "conversation", "dia id", "scene id", "session id", "thread id", "scene", "session",
                 "thread"),
    "split": ("split", "set", "partition", "subset", "fold"),
    "utterance": ("utterance id", "utterance index", "utterance no", "utt id", "turn id", "turn index",
                  "turn"),
}  # fmt: skip
"""The usual names of columns, the better one first; case, separators and a plural mean nothing."""

_DIALOGUES = ("dialogue", "dialog", "turn")
"""Further names of a list of texts."""

_AROUND = ("season", "episode")
"""Columns within which a scene has its number."""

_KEYS = ("text", "label", "speaker")
"""What the keys of an utterance hold."""

_INNER_NAMES = ("name", "text", "label", "value", "id")
"""The key of an object in a cell that stands for it, the better one first."""


@dataclass(frozen=True)
class Source:
    """The files of a corpus."""

    title: str  # what the corpus is called after
    folder: Path  # holds the files
    # Names of the files by split, below the folder; the key None is a file of all splits.
    files: Mapping[Split | None, str]
    is_copy: bool = False  # whether they are a copy that was made in the folder

    @property
    def paths(self) -> dict[Split | None, Path]:
        """The files by split."""
        return {split: self.folder / name for split, name in self.files.items()}


@dataclass
class UsedLabels:
    """The labels that files hold."""

    # How many utterances have each, in the order in which they come.
    counts: Counter[str] = field(default_factory=Counter)
    first: dict[str, str] = field(default_factory=dict)  # where each comes first
    missing: int = 0  # how many utterances have none
    lists: dict[str, str] = field(default_factory=dict)  # where a cell is a list of labels

    def add(self, cell: Any, where: str) -> None:
        """Takes the cell of an utterance; what is no label is left to the reader, which names its line."""
        if isinstance(cell, list) or (isinstance(cell, str) and re.fullmatch(r"\s*\[.*\]\s*", cell)):
            self.lists[where] = str(cell)
            return
        with suppress(Fault):
            label = table_cell(cell, "label")
            if not label.strip():
                self.missing += 1
            elif label.strip() == one_line(label) and len(label) <= 64:
                self.counts[label] += 1
                self.first.setdefault(label, where)


@dataclass(frozen=True)
class Layout:
    """How files are read, and the labels that were found in them."""

    format: TableFormat | JsonFormat
    columns: dict[str, str]  # column or key by what it holds
    used: UsedLabels
    class_names: Sequence[str]  # names of class labels, where the files have them


@dataclass(frozen=True)
class _Files:
    """Files whose layout is looked for."""

    source: Source
    stated: Mapping[str, str]  # names of columns by what they hold, where they are not the usual ones
    encoding: str | None
    held: dict[Path, list[TableRow]] = field(default_factory=dict)  # rows of the files that were read

    @property
    def first(self) -> Path:
        return next(iter(self.source.paths.values()))

    def rows(self, path: Path, separator: str | None = None) -> list[TableRow]:
        if path not in self.held:
            self.held[path] = read_rows(path, (), self.encoding, separator)
        return self.held[path]

    def document(self, path: Path) -> Any:
        """What a file of JSON or of rows holds; None for CSV, and for what is not JSON."""
        if path.suffix.lower() in (".jsonl", ".parquet"):
            return [row.cells for row in self.rows(path)]
        with suppress(OSError, ValueError, RecursionError):
            content = path.read_bytes() if path.suffix.lower() == ".json" else b""
            return json.loads(content.decode(encoding_of(content, self.encoding)))
        return None

    def is_text(self, key: str) -> bool:
        return key == self.stated["text"] if "text" in self.stated else is_named(key, COLUMN_NAMES["text"])

    def is_utterance(self, value: Any) -> bool:
        return isinstance(value, dict) and any(
            self.is_text(key) and isinstance(one, str | int) for key, one in flat(value).items()
        )

    def utterances_key(self, dialogue: Mapping[str, Any]) -> str | None:
        """The key of the list of utterances; None where a dialogue has none."""
        lists = ((key, one) for key, one in dialogue.items() if isinstance(one, list) and one)
        return next((key for key, one in lists if self.is_utterance(one[0])), None)

    def is_dialogue(self, value: Any) -> bool:
        if isinstance(value, list):
            return bool(value) and self.is_utterance(value[0])
        if not isinstance(value, dict):
            return False
        lists = {key: one for key, one in value.items() if isinstance(one, list) and one}
        are_texts = (
            isinstance(one[0], str) and (self.is_text(key) or is_named(key, _DIALOGUES))
            for key, one in lists.items()
        )
        return self.utterances_key(value) is not None or (len(lists) > 1 and any(are_texts))

    def dialogues(self, document: Any) -> tuple[tuple[str, ...], list[Any]] | None:
        """The keys that lead to dialogues, and these; None where there are none."""
        values = list(document.values()) if isinstance(document, dict) else document
        if isinstance(values, list) and values and self.is_dialogue(values[0]):
            return (), values
        inner = document.items() if isinstance(document, dict) else ()
        found = {
            key: one
            for key, value in inner
            if isinstance(value, dict | list) and (one := self.dialogues(value))
        }
        if len(found) > 1:
            what, fix = "dialogues under several keys", "write each list of dialogues as a file of its own"
            expected, got = "one list, or the keys train, validation and test alone", ", ".join(found)
            raise DataError(Problem(str(self.first), what, expected, got, fix, code="corpora.several_lists"))
        return next((((key, *keys), listed) for key, (keys, listed) in found.items()), None)


def find_layout(source: Source, stated: Mapping[str, str], encoding: str | None) -> Layout:
    """The layout of files: a table, or dialogues."""
    files = _Files(source, stated, encoding)
    return _of_dialogues(files) or _of_rows(files)


def _of_rows(files: _Files) -> Layout:
    first, source = files.first, files.source
    separator = unusual_separator(first, files.encoding)
    rows = [(split, row) for split, path in source.paths.items() for row in files.rows(path, separator)]
    if not rows:
        fix = "put a header and a row for each utterance into it"
        raise DataError(Problem(str(first), "has no row", fix=fix, code="corpora.empty"))
    cells = dict[str, Any]()
    for keys in {tuple(row.cells): row.cells for _, row in reversed(rows)}.values():
        cells.update(keys)
    columns = columns_by_name(first, cells, files.stated, COLUMN_NAMES)
    used = UsedLabels()
    for _, row in rows:
        used.add(row.cells.get(columns["label"]), row.where)
    if "utterance" in columns and not _numbers_utterances(rows, columns):
        del columns["utterance"]
    within = [one for one in cells if is_named(one, _AROUND)]
    if _plain(columns.get("dialogue", "")).startswith("scene") and "dialogue" not in files.stated and within:
        named = {**columns, "dialogue": (*within, columns["dialogue"])}
        columns["dialogue"] = ", ".join(named["dialogue"])
    else:
        named = {**columns}
    speakers = [cell for _, row in rows if (cell := row.cells.get(columns.get("speaker", "")))]
    are_lists = bool(speakers) and all(re.match(r"\[['\"]", str(one).strip()) for one in speakers)
    form = TableFormat(
        type="table",
        files={split: name for split, name in source.files.items() if split},
        file=source.files.get(None),
        encoding=files.encoding,
        separator=separator,
        columns=TableColumns.model_validate(named),
        speakers="list" if are_lists else "name",
        default_split="train" if "split" in columns else None,
        may_be_empty=("speaker", "label") if used.missing else ("speaker",),
    )
    return Layout(form, columns, used, _class_names(source, columns["label"]))


def _numbers_utterances(rows: Sequence[tuple[Split | None, TableRow]], columns: Mapping[str, str]) -> bool:
    """Whether a column has a number for each utterance that is unique in its dialogue."""
    if "dialogue" not in columns:
        return False
    keys = [
        (
            split,
            str(row.cells.get(columns["dialogue"])),
            str(row.cells.get(columns["utterance"])).removesuffix(".0"),
        )
        for split, row in rows
    ]
    is_number = all(one.isascii() and one.isdigit() and len(one) <= MAX_DIGITS for _, _, one in keys)
    return is_number and len({(split, dialogue, int(one)) for split, dialogue, one in keys}) == len(keys)


def _of_dialogues(files: _Files) -> Layout | None:
    """The layout of files with dialogues; None where they hold rows."""
    parts = list(_parts(files))
    found = [files.dialogues(document) for _, _, document in parts]
    rows = [one for _, key, document in parts for one in _rows_inside(files, key, document)]
    if rows:
        what, fix = f"rows inside of {', '.join(rows)}", "write each list of rows as a file of its own"
        raise DataError(Problem(str(files.first), what, fix=fix, code="corpora.rows_in_object"))
    if not found or not found[0]:
        return None
    keys, sample = found[0][0], found[0][1][0]
    name = "utterances" if isinstance(sample, list) else files.utterances_key(sample)
    names, about = {role: COLUMN_NAMES[role] for role in _KEYS}, sample if isinstance(sample, dict) else {}
    if name is None:
        cells = {key: one for key, one in about.items() if isinstance(one, list)}
        names["text"] = (*names["text"], *_DIALOGUES)
    else:
        cells = flat(about[name][0] if about else sample[0])
    columns = columns_by_name(files.first, cells, files.stated, names)
    scalars = {_plain(key): key for key, one in about.items() if isinstance(one, str | int)}
    ids = [scalars[_plain(one)] for one in (*COLUMN_NAMES["dialogue"], "id") if _plain(one) in scalars]
    chosen = files.stated.get("dialogue") or next(iter(ids), None)
    used = UsedLabels()
    split_key = None
    for (split, _, _), of_file in zip(parts, found, strict=True):
        split_key = _split_key(files, split, of_file[1] if of_file else (), name or "")
        path = files.source.paths.get(split) or files.first
        for number, dialogue in enumerate(of_file[1] if of_file else []):
            for index, cell in enumerate(_labels_in(dialogue, name, columns["label"])):
                used.add(cell, f"{path}, dialogue {number}, utterance {index}")
    form = JsonFormat(
        type="json",
        files={split or "train": files.source.files.get(split) or files.first.name for split, _, _ in parts}
        if split_key is None
        else {},
        file=files.first.name if split_key else None,
        split=split_key,
        default_split="train" if split_key else None,
        encoding=files.encoding,
        split_keys={split: key for split, key, _ in parts if split and key},
        dialogues=keys,
        utterances=name,
        id=chosen,
        may_be_empty=("label",) if used.missing else (),
        text=columns["text"],
        label=columns["label"],
        speaker=columns.get("speaker"),
    )
    columns |= {role: key for role, key in (("dialogue", chosen), ("split", split_key)) if key}
    return Layout(form, columns, used, _class_names(files.source, columns["label"]))


def _split_key(files: _Files, split: Split | None, dialogues: Sequence[Any], name: str) -> str | None:
    """The key by which the dialogues of a file, or their utterances, state a split; None where none does."""
    for number, dialogue in enumerate(dialogues):
        listed = dialogue.get(name) if isinstance(dialogue, dict) else dialogue
        first = listed[0] if isinstance(listed, list) and listed else None
        cells = [item for one in (dialogue, first) if isinstance(one, dict) for item in one.items()]
        for key, value in cells:
            named = SPLIT_NAMES.get(value.strip().lower()) if isinstance(value, str) else None
            is_split = named not in (None, split) and is_named(key, COLUMN_NAMES["split"])
            if not is_split and key != files.stated.get("split"):
                continue
            if split is None:
                return str(key)
            where = f"{files.source.paths.get(split) or files.first}, dialogue {number}"
            what, fix = f"is in the file or under the key of {split}", "state each split once"
            got, code = f"{key}: {value}", "corpora.split_inside"
            raise DataError(Problem(where, what, got=got, fix=fix, code=code))
    return None


def _rows_inside(files: _Files, key: str, document: Any) -> list[str]:
    """The key of a list of rows that is not alone in its file."""
    holder = {key: document} if key else document
    listed = list(holder.items()) if isinstance(holder, dict) else []
    is_rows = len(listed) == 1 and isinstance(listed[0][1], list) and files.is_dialogue(listed[0][1])
    return [listed[0][0]] if is_rows else []


def _parts(files: _Files) -> Iterator[tuple[Split | None, str, Any]]:
    """What each split holds, with its key where one file holds all."""
    for split, path in files.source.paths.items():
        document = files.document(path)
        keys = [SPLIT_NAMES.get(key.lower()) for key in document] if isinstance(document, dict) else []
        if split is None and keys and None not in keys and len(set(keys)) == len(keys):
            yield from ((SPLIT_NAMES[key.lower()], key, value) for key, value in document.items())
        else:
            yield split, "", document


def _labels_in(dialogue: Any, name: str | None, label: str) -> list[Any]:
    """The cells of the labels of a dialogue; none where it has another layout, which the reader reports."""
    listed = dialogue.get(name or label) if isinstance(dialogue, dict) else dialogue
    listed = listed if isinstance(listed, list) else []
    return [flat(one).get(label) for one in listed if isinstance(one, dict)] if name else listed


def columns_by_name(
    path: Path, cells: Mapping[str, Any], stated: Mapping[str, str], names: Mapping[str, Sequence[str]]
) -> dict[str, str]:
    """The columns by what they hold."""
    found, problems, header = dict[str, str](), list[Problem](), ", ".join(map(str, cells))
    for role, known in names.items():
        others = [column for other, column in stated.items() if other != role]
        usual = [
            column
            for name in known
            for column in cells
            if _plain(column) == _plain(name) and column not in others
        ]
        chosen = stated.get(role) or (usual[0] if usual else None)
        if role in stated and stated[role] in others:
            what = f"{stated[role]} is named for two things"
            fix = "name a column for each"
            problems.append(Problem(f"--{role}", what, got=header, fix=fix, code="corpora.column_twice"))
        elif chosen is None and role in ("text", "label"):
            near = [
                column
                for column in cells
                if difflib.get_close_matches(_plain(column), map(_plain, known), n=1)
            ]
            hint = f"; is it {near[0]}?" if near else ""
            what, fix = f"no column of the {role} was found{hint}", f"name it with --{role}"
            problems.append(Problem(str(path), what, got=header, fix=fix, code="corpora.no_column"))
        elif chosen is not None and chosen not in cells:
            what = f"has no column {chosen}"
            problems.append(Problem(str(path), what, got=header, code="corpora.no_column"))
        elif len(usual) > 1 and role in ("text", "label") and role not in stated:
            what, fix = f"several columns may be the {role}: {', '.join(usual)}", f"choose with --{role}"
            problems.append(Problem(str(path), what, fix=fix, code="corpora.ambiguous_column"))
        elif chosen is not None:
            inner = [f"{chosen}.{name}" for name in _INNER_NAMES if f"{chosen}.{name}" in cells]
            found[role] = inner[0] if inner and isinstance(cells[chosen], dict) else chosen
    if problems:
        raise DataError(problems)
    return found


def _plain(column: str) -> str:
    return re.sub(r"[\W_]+", "", str(column).lower()).removesuffix("s")


def is_named(column: str, names: Sequence[str]) -> bool:
    """Whether a column has one of these names, but for case, separators and a plural."""
    return _plain(column) in map(_plain, names)


def _class_names(source: Source, column: str) -> list[str]:
    """The names of class labels that `datasets` writes into Parquet files; none where there are none."""
    paths = source.paths.values()
    found = {str(one): names for one in paths if (names := class_names(one, column))}
    first = next(iter(found.values()), [])
    if others := [where for where, names in found.items() if names != first]:
        what, fix = "other class labels than the first file, or in another order", "write both alike"
        got, code = ", ".join(found[others[0]]), "corpora.class_labels_differ"
        raise DataError(Problem(others[0], what, ", ".join(first), got, fix, code=code))
    return first
