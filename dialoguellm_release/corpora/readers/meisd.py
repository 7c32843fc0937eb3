"""MEISD: one CSV file without speakers and without splits, whose dirt is mended by tables and counted.

Sentiments and intensities are not read: nothing here is made of them.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from operator import itemgetter

from dialoguellm_release.corpora.cells import (
    Fault,
    NativeLabels,
    Notes,
    c1_as_cp1252,
    seconds,
    utf8_as_utf8,
    whole_number,
)
from dialoguellm_release.corpora.files import CorpusFolder
from dialoguellm_release.schemas.labels import Label
from dialoguellm_release.schemas.record import Dialogue, Utterance

FILE = "MEISD_text.csv"
COLUMNS = (
    *("TV Series", "dialog_ids", "uttr_ids", "Utterances", "start_times", "end_times"),
    *("emotion", "emotion2", "emotion3"),
)


def read_meisd(folder: CorpusFolder) -> Iterator[Dialogue]:
    """The dialogues of MEISD: `split` is None and `series` the code of the TV series.

    The first label is the label, the others are `other_labels`; a source label is the mended one, which
    the registry's label map knows. Ids of utterances are the corpus's own; in a dialogue where they
    repeat or go backwards, all are the positions from 0.
    """
    folder.require([FILE])
    return _dialogues(folder)


def _dialogues(folder: CorpusFolder) -> Iterator[Dialogue]:
    labels = NativeLabels(folder.entry, folder.notes, ignores_case=True)
    begun: dict[str, int] = {}
    cells_of = itemgetter(*COLUMNS)
    numbered_rows = ((row.line, cells_of(row.cells)) for row in folder.read_table(FILE, COLUMNS))
    for (series, dialogue_id), group in itertools.groupby(numbered_rows, lambda numbered: numbered[1][:2]):
        rows = list(group)
        line = rows[0][0]
        try:
            if (first := begun.setdefault(dialogue_id, line)) != line:
                what = f"dialogue {dialogue_id} begins a second time; first on line {first}"
                fix = "put the rows of a dialogue together, under one TV Series"
                raise Fault(what, fix=fix, code="corpora.dialogue_twice")
            whole_number(dialogue_id, "dialog_ids")
            folder.line(series, "TV Series")
        except Fault as fault:
            folder.note(fault, FILE, line)
            continue
        utterances = _utterances(rows, labels, folder)
        folder.notes.public_dialogues[None] += 1
        folder.notes.public_utterances[None] += len(rows)
        if utterances:
            yield Dialogue(
                corpus=folder.entry.name,
                split=None,
                id=dialogue_id,
                series=series,
                utterances=tuple(utterances),
            )


def _utterances(
    rows: list[tuple[int, tuple[str, ...]]], labels: NativeLabels, folder: CorpusFolder
) -> list[Utterance]:
    utterances = []
    for line, row in rows:
        try:
            utterances.append(_utterance(row, labels, folder))
        except Fault as fault:
            folder.note(fault, FILE, line)
    numbers = [utterance.index for utterance in utterances]
    if all(before < after for before, after in itertools.pairwise(numbers)):
        return utterances
    folder.notes.repairs["meisd.dialogue_renumbered"] += 1
    return [replace(utterance, index=index) for index, utterance in enumerate(utterances)]


def _utterance(row: tuple[str, ...], labels: NativeLabels, folder: CorpusFolder) -> Utterance:
    _, _, number, text, start, end, *cells = row
    native, label = labels.read(cells[0])
    return Utterance(
        index=whole_number(number, "uttr_ids"),
        text=folder.line(_mended(text, folder.notes), "Utterances"),
        label=label,
        source_label=native,
        other_labels=_other_labels(cells[1:], label, labels, folder.notes),
        start_s=seconds(start),
        end_s=seconds(end),
    )


def _other_labels(cells: list[str], first: Label, labels: NativeLabels, notes: Notes) -> tuple[Label, ...]:
    others: list[Label] = []
    for cell in cells:
        found = labels.read_or_drop(cell) if cell else None
        if found is None:
            continue
        if found[1] == first or found[1] in others:
            notes.repairs["meisd.other_label_repeats_another"] += 1
        else:
            others.append(found[1])
    return tuple(others)


def _mended(text: str, notes: Notes) -> str:
    if text.isascii():
        return text
    reread = utf8_as_utf8(text)
    if reread != text:
        notes.repairs["meisd.utf8_as_utf8"] += 1
    mended = c1_as_cp1252(reread)
    if mended != reread:
        notes.repairs["meisd.c1_as_cp1252"] += 1
    return mended
