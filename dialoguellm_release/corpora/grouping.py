"""Rows gathered into dialogues by their keys, wherever in the file they stand."""

from __future__ import annotations

from collections.abc import Iterator
from operator import attrgetter

from dialoguellm_release.corpora.faults import Fault
from dialoguellm_release.corpora.files import CorpusFolder
from dialoguellm_release.schemas.dialogue import Dialogue, Utterance
from dialoguellm_release.schemas.labels import Split

_index = attrgetter("index")


class DialogueRows:
    """The dialogues of one split in the order in which they begin; each utterance key stands once.

    Utterances stand by their index, which in the public files is the order of the rows too.
    """

    def __init__(self, folder: CorpusFolder, split: Split) -> None:
        self._folder = folder
        self._split: Split = split
        self._dialogues: dict[str, list[Utterance]] = {}
        self._lines: dict[tuple[str, int], int] = {}

    def add(self, dialogue_id: str, utterance: Utterance, line: int) -> None:
        """Adds the utterance of a line.

        Raises:
            Fault: An earlier line has the same key.
        """
        first = self._lines.setdefault((dialogue_id, utterance.index), line)
        if first != line:
            what = f"dialogue {dialogue_id}, utterance {utterance.index} a second time; first on line {first}"
            raise Fault(what, fix="keep one of the two lines")
        self._dialogues.setdefault(dialogue_id, []).append(utterance)

    def dialogues(self) -> Iterator[Dialogue]:
        """The dialogues; counts them as what the public file holds."""
        self._folder.notes.public_dialogues[self._split] += len(self._dialogues)
        self._folder.notes.public_utterances[self._split] += len(self._lines)
        for dialogue_id, utterances in self._dialogues.items():
            yield Dialogue(
                corpus=self._folder.entry.name,
                split=self._split,
                id=dialogue_id,
                utterances=tuple(sorted(utterances, key=_index)),
            )
