"""Files that hold a list of dialogues, with utterances as objects or as parallel lists."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from dialoguellm_release.corpora.cells import Fault, NativeLabels, check_unicode, table_cell
from dialoguellm_release.corpora.files import CorpusFolder
from dialoguellm_release.corpora.readers.table import given, joined, native_labels, stated_split
from dialoguellm_release.errors import Problem
from dialoguellm_release.schemas.corpus import JsonFormat
from dialoguellm_release.schemas.labels import SPLITS, Split
from dialoguellm_release.schemas.record import Dialogue, Utterance
from dialoguellm_release.tabular import flat


def read_json_files(folder: CorpusFolder, form: JsonFormat) -> Iterator[Dialogue]:
    """The dialogues of files; the index of an utterance is its position from 0."""
    labels = native_labels(folder, form)
    files = [(split, form.files[split]) for split in SPLITS if split in form.files]
    for split, name in [(None, form.file)] if form.file else files:
        problems = len(folder.notes.problems)
        document = _document(folder, name, form.encoding)
        if len(folder.notes.problems) == problems:
            dialogues = _File(folder, form, labels, split, name).dialogues(document)
            order = (*SPLITS, None)
            yield from dialogues if split else sorted(dialogues, key=lambda one: order.index(one.split))


def parsed_json(folder: CorpusFolder, name: str, text: str) -> Any:
    """The value of a JSON text; None where it is not JSON, which is noted."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        where, what = f"{folder.path / name}:{error.lineno}:{error.colno}", f"not JSON: {error.msg}"
    except ValueError as error:
        where, what = str(folder.path / name), f"not JSON: {error}"
    except RecursionError:
        where, what = str(folder.path / name), "nested too deep to be a corpus"
    fix = "get the file again: it may be cut off"
    folder.notes.problems.append(Problem(where, what, fix=fix, code="corpora.not_json"))
    return None


def _document(folder: CorpusFolder, name: str, encoding: str | None) -> Any:
    """What a file holds; of JSON Lines and Parquet, a list of its rows."""
    if name.lower().endswith((".jsonl", ".parquet")):
        return [dict(row.cells) for row in folder.read_rows(name, (), encoding)]
    text = folder.read_text(name, encoding)
    return None if text is None else parsed_json(folder, name, text)


class _File:
    """One split of a file, or a file whose dialogues state their splits."""

    def __init__(
        self, folder: CorpusFolder, form: JsonFormat, labels: NativeLabels, split: Split | None, name: str
    ) -> None:
        self._folder, self._form, self._labels = folder, form, labels
        self._split = split
        self._path = folder.path / name
        key = form.split_keys.get(split) if split else None
        self._keys = (*filter(None, [key]), *form.dialogues)

    def dialogues(self, document: Any) -> Iterator[Dialogue]:
        """The dialogues of a file; what is wrong in one is noted, and the next one is read."""
        for key in self._keys:
            document = document.get(key) if isinstance(document, dict) else None
        if isinstance(document, dict):
            items = list(document.items())
        elif isinstance(document, list):
            items = [(str(position), value) for position, value in enumerate(document)]
        else:
            steps = " > ".join(self._keys) or "the file"
            fault = Fault(f"{steps} is no list of dialogues", code="corpora.json_layout")
            self._folder.notes.problems.append(fault.at(str(self._path)))
            return
        seen: dict[str, int] = {}
        for number, (key, value) in enumerate(items):
            where = f"{self._path}, dialogue {number}"
            try:
                dialogue = {self._form.utterances or "": value} if isinstance(value, list) else value
                dialogue_id = self._id(key, dialogue)
                if seen.setdefault(dialogue_id, number) != number:
                    what = f"dialogue {dialogue_id} a second time; first is dialogue {seen[dialogue_id]}"
                    raise Fault(what, fix="keep one of the two", code="corpora.dialogue_id_twice")
                split = self._split_of(dialogue)
                utterances = tuple(self._utterances(dialogue, where))
            except Fault as fault:
                self._folder.notes.problems.append(fault.at(where))
                continue
            if utterances:
                self._folder.notes.public_dialogues[split] += 1
                self._folder.notes.public_utterances[split] += len(utterances)
                name = self._folder.entry.name
                yield Dialogue(corpus=name, split=split, id=dialogue_id, utterances=utterances)

    def _split_of(self, dialogue: dict[str, Any]) -> Split | None:
        """The split of the file, or the one that a dialogue or each of its utterances states."""
        key = self._form.split
        if key is None:
            return given(self._folder, self._split) if self._split else None
        holders = [dialogue] if key in dialogue or not self._form.utterances else self._rows(dialogue)
        cells = dict.fromkeys(table_cell(one.get(key), key) for one in holders)
        if len(cells) > 1:
            what, code = "its utterances are in several splits", "corpora.dialogue_in_several_splits"
            raise Fault(what, "one split", ", ".join(cells), "split by whole dialogues", code)
        return stated_split(self._folder, self._form, next(iter(cells), ""), key)

    def _id(self, key: str, dialogue: Any) -> str:
        if not isinstance(dialogue, dict):
            raise Fault("the dialogue is no object", got=repr(dialogue)[:80], code="corpora.json_layout")
        value = dialogue.get(self._form.id) if self._form.id else key
        if not isinstance(value, str | int) or isinstance(value, bool):
            raise Fault(f"{self._form.id} is no id", got=repr(value)[:80], code="corpora.json_layout")
        dialogue_id = check_unicode(str(value), self._form.id or "the key of the dialogue")
        return "-".join(dialogue_id.split()).replace("/", "-") or key

    def _utterances(self, dialogue: dict[str, Any], where: str) -> Iterator[Utterance]:
        form = self._form
        rows = self._rows(dialogue)
        if not rows:
            raise Fault("the dialogue has no utterance", code="corpora.empty_dialogue")
        for index, cells in enumerate(rows):
            try:
                native, canonical = self._labels.read_any(table_cell(cells.get(form.label), form.label))
                yield Utterance(
                    index=index,
                    text=self._folder.line(table_cell(cells.get(form.text), form.text), form.text),
                    speaker=None
                    if form.speaker is None
                    else self._speaker(cells.get(form.speaker), form.speaker),
                    label=canonical,
                    source_label=native,
                )
            except Fault as fault:
                self._folder.notes.problems.append(fault.at(f"{where}, utterance {index}"))

    def _rows(self, dialogue: dict[str, Any]) -> list[dict[str, Any]]:
        """The cells of each utterance by key, from objects or from parallel lists of one length."""
        if name := self._form.utterances:
            listed = dialogue.get(name)
            if not isinstance(listed, list) or not all(isinstance(one, dict) for one in listed):
                raise Fault(f"{name} is no list of objects", code="corpora.json_layout")
            return list(map(flat, listed))
        names = filter(None, (self._form.text, self._form.speaker, self._form.label))
        lists: dict[str, list[Any]] = {}
        for name in names:
            value = dialogue.get(name)
            if not isinstance(value, list):
                raise Fault(f"{name} is no list", got=repr(value)[:80], code="corpora.json_layout")
            lists[name] = value
        if len(set(map(len, lists.values()))) > 1:
            got = ", ".join(f"{len(one)} {name}" for name, one in lists.items())
            fix = "give each list one entry for every utterance"
            raise Fault("the parallel lists differ in length", got=got, fix=fix, code="corpora.lists_differ")
        return [dict(zip(lists, cells, strict=True)) for cells in zip(*lists.values(), strict=True)]

    def _speaker(self, value: Any, key: str) -> str | None:
        if value is None or value != value:  # NaN, which is not JSON, but what pandas writes
            self._folder.notes.repairs[f"{self._folder.entry.name}.speaker_missing"] += 1
            return None
        if isinstance(value, list) and all(isinstance(one, str) for one in value):
            value = joined(value)
        return self._folder.line(table_cell(value, key), key)
