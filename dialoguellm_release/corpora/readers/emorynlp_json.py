"""EmoryNLP, the official JSON release: all turns, one file a split."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from dialoguellm_release.corpora.cells import Fault, NativeLabels
from dialoguellm_release.corpora.files import CorpusFolder
from dialoguellm_release.corpora.readers.json_files import parsed_json
from dialoguellm_release.corpora.readers.table import DialogueRows, joined
from dialoguellm_release.errors import Problem, problems_of
from dialoguellm_release.schemas.labels import Split
from dialoguellm_release.schemas.record import Dialogue, Utterance

FILES: dict[Split, str] = {
    "train": "emotion-detection-trn.json",
    "validation": "emotion-detection-dev.json",
    "test": "emotion-detection-tst.json",
}
REBUILT_TRAIN = "emotion-detection-trn.rebuilt.json"


class _Turn(BaseModel):
    model_config = ConfigDict(strict=True)

    utterance_id: Annotated[str, Field(pattern=r"^s[0-9]{2}_e[0-9]{2}_c[0-9]{2}_u[0-9]{3}$")]
    speakers: list[str]
    transcript: str
    emotion: str


class _Scene(BaseModel):
    utterances: list[_Turn]


class _Episode(BaseModel):
    scenes: list[_Scene]


class _Season(BaseModel):
    episodes: list[_Episode]


def read_emorynlp_json(folder: CorpusFolder) -> Iterator[Dialogue]:
    """The scenes of the JSON release under its official file names; it has no times."""
    folder.refuse([_missing(folder, name) for name in FILES.values() if not folder.has(name)])
    return _dialogues(folder)


def _missing(folder: CorpusFolder, name: str) -> Problem:
    if name != FILES["train"] or not folder.has(REBUILT_TRAIN):
        return folder.missing(name)
    return Problem(
        str(folder.path / name),
        f"is missing; {REBUILT_TRAIN} is there, but it is not the official file",
        fix=f"get the official file, or rename {REBUILT_TRAIN} to take it in its place",
        code="corpora.file_missing",
    )


def _dialogues(folder: CorpusFolder) -> Iterator[Dialogue]:
    labels = NativeLabels(folder.entry, folder.notes)
    for split, name in FILES.items():
        text = folder.read_text(name)
        document = None if text is None else parsed_json(folder, name, text)
        if text is None or document is None:
            continue
        try:
            season = _Season.model_validate(document)
        except ValidationError as error:
            where, what = str(folder.path / name), "not the JSON release"
            folder.notes.problems += problems_of(error, where, what, code="corpora.json_layout")
            continue
        rows = DialogueRows(folder, split)
        lines = _Lines(text)
        for episode in season.episodes:
            for scene in episode.scenes:
                for turn in scene.utterances:
                    line = lines.next_of(turn.utterance_id)
                    dialogue_id, _, number = turn.utterance_id.rpartition("_u")
                    try:
                        rows.add(dialogue_id, _utterance(int(number), turn, labels, folder), line)
                    except Fault as fault:
                        folder.note(fault, name, line)
        yield from rows.dialogues()


class _Lines:
    """The lines of a text on which the utterance ids stand, asked for in the order of the file."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._offset = 0
        self._line = 1

    def next_of(self, utterance_id: str) -> int:
        offset = self._text.index(f'"{utterance_id}"', self._offset)
        self._line += self._text.count("\n", self._offset, offset)
        self._offset = offset + 1
        return self._line


def _utterance(index: int, turn: _Turn, labels: NativeLabels, folder: CorpusFolder) -> Utterance:
    native, label = labels.read(turn.emotion)
    return Utterance(
        index=index,
        text=folder.line(turn.transcript, "transcript"),
        speaker=folder.line(joined(turn.speakers), "speakers"),
        label=label,
        source_label=native,
    )
