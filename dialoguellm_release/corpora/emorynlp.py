"""EmoryNLP, the CSV release: the turns that have subtitle times, one file a split."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache

from dialoguellm_release.corpora.faults import Fault, filled, whole_number
from dialoguellm_release.corpora.files import CorpusFolder
from dialoguellm_release.corpora.grouping import DialogueRows
from dialoguellm_release.corpora.labels import NativeLabels
from dialoguellm_release.corpora.tables import Row, read_table
from dialoguellm_release.corpora.times import seconds
from dialoguellm_release.schemas.labels import Split
from dialoguellm_release.schemas.record import Dialogue, Utterance

FILES: dict[Split, str] = {
    "train": "emorynlp_train_final.csv",
    "validation": "emorynlp_dev_final.csv",
    "test": "emorynlp_test_final.csv",
}
SCENE = ("Season", "Episode", "Scene_ID")
COLUMNS = (*SCENE, "Utterance_ID", "Utterance", "Speaker", "Emotion", "Start_Time", "End_Time")


def read_emorynlp(folder: CorpusFolder) -> Iterator[Dialogue]:
    """The scenes of the CSV release, with the ids that the JSON release gives them (`s01_e02_c01`).

    Raises:
        DataError: Files are missing.
    """
    folder.require(FILES.values())
    return _dialogues(folder)


def joined(speakers: list[str]) -> str:
    """The speakers of a turn as one name.

    Raises:
        Fault: There is none, or one without a name.
    """
    if not speakers or not all(name.strip() for name in speakers):
        raise Fault("a turn needs a speaker with a name", got=repr(speakers))
    return ", ".join(name.strip() for name in speakers)


def _dialogues(folder: CorpusFolder) -> Iterator[Dialogue]:
    labels = NativeLabels(folder.entry, folder.notes)
    for split, name in FILES.items():
        rows = DialogueRows(folder, split)
        for line, row in read_table(folder, name, COLUMNS):
            try:
                season, episode, scene = map(whole_number, row[:3], SCENE)
                utterance = _utterance(row, labels)
                rows.add(f"s{season:02}_e{episode:02}_c{scene:02}", utterance, line)
            except Fault as fault:
                folder.note(fault, name, line)
        yield from rows.dialogues()


def _utterance(row: Row, labels: NativeLabels) -> Utterance:
    _, _, _, number, text, speaker, emotion, start, end = row
    native, label = labels.read(emotion)
    return Utterance(
        index=whole_number(number, "Utterance_ID"),
        text=filled(text, "Utterance"),
        speaker=_speaker(speaker),
        label=label,
        source_label=native,
        start_s=seconds(start),
        end_s=seconds(end),
    )


@cache
def _speaker(cell: str) -> str:
    """The speakers in a cell, which holds a Python list of names."""
    try:
        names = ast.literal_eval(cell)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        names = None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise Fault("Speaker is not a list of names", expected="['NAME', ...]", got=repr(cell))
    return joined(names)
