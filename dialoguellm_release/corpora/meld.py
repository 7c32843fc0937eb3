"""MELD: one CSV file a split, in the present form or the one from before November 2020."""

from __future__ import annotations

from collections.abc import Iterator

from dialoguellm_release.corpora.faults import Fault, filled, whole_number
from dialoguellm_release.corpora.files import CorpusFolder
from dialoguellm_release.corpora.grouping import DialogueRows
from dialoguellm_release.corpora.labels import NativeLabels
from dialoguellm_release.corpora.tables import Row, read_table
from dialoguellm_release.corpora.text import c1_as_cp1252
from dialoguellm_release.corpora.times import seconds
from dialoguellm_release.schemas.labels import Split
from dialoguellm_release.schemas.record import Dialogue, Utterance

FILES: dict[Split, str] = {
    "train": "train_sent_emo.csv",
    "validation": "dev_sent_emo.csv",
    "test": "test_sent_emo.csv",
}
COLUMNS = ("Dialogue_ID", "Utterance_ID", "Utterance", "Speaker", "Emotion", "StartTime", "EndTime")


def read_meld(folder: CorpusFolder) -> Iterator[Dialogue]:
    """The dialogues of MELD; ids and indexes are the corpus's own, so gaps show.

    Raises:
        DataError: Files are missing.
    """
    folder.require(FILES.values())
    return _dialogues(folder)


def _dialogues(folder: CorpusFolder) -> Iterator[Dialogue]:
    labels = NativeLabels(folder.entry, folder.notes)
    for split, name in FILES.items():
        rows = DialogueRows(folder, split)
        for line, row in read_table(folder, name, COLUMNS):
            try:
                dialogue_id = str(whole_number(row[0], "Dialogue_ID"))
                rows.add(dialogue_id, _utterance(row, labels, folder), line)
            except Fault as fault:
                folder.note(fault, name, line)
        yield from rows.dialogues()


def _utterance(row: Row, labels: NativeLabels, folder: CorpusFolder) -> Utterance:
    _, number, text, speaker, emotion, start, end = row
    native, label = labels.read(emotion)
    mended_text, mended_speaker = c1_as_cp1252(text), c1_as_cp1252(speaker)
    if mended_text != text or mended_speaker != speaker:
        folder.notes.repairs["meld.c1_as_cp1252"] += 1
    return Utterance(
        index=whole_number(number, "Utterance_ID"),
        text=filled(mended_text, "Utterance"),
        speaker=filled(mended_speaker, "Speaker"),
        label=label,
        source_label=native,
        start_s=seconds(start),
        end_s=seconds(end),
    )
