"""Rows gathered into dialogues by their keys, wherever in the file they stand."""

from __future__ import annotations

from collections.abc import Iterator
from operator import attrgetter
from typing import Any

from dialoguellm_release.corpora.faults import Fault
from dialoguellm_release.corpora.files import CorpusFolder
from dialoguellm_release.schemas.labels import Split
from dialoguellm_release.schemas.record import Dialogue, Utterance

_FIELDS = tuple(Utterance.model_fields)
_values = attrgetter(*_FIELDS)


class DialogueRows:
    """The dialogues of one split in the order in which they begin; each utterance key stands once.

    Utterances stand by their index, which in the public files is the order of the rows too.

    Why: the rows of a dialogue may stand anywhere, so those of the whole split have to be held; as tuples,
    which take a fifth of what the models take.
    """

    def __init__(self, folder: CorpusFolder, split: Split | None) -> None:
        self._folder = folder
        self.split = split
        self._dialogues: dict[str, dict[int, tuple[int, tuple[Any, ...]]]] = {}

    def add(self, dialogue_id: str, utterance: Utterance, line: int) -> None:
        """Adds the utterance of a line.

        Raises:
            Fault: An earlier line has the same key.
        """
        rows = self._dialogues.setdefault(dialogue_id, {})
        if utterance.index in rows:
            first, _ = rows[utterance.index]
            what = f"dialogue {dialogue_id}, utterance {utterance.index} a second time; first on line {first}"
            raise Fault(what, fix="keep one of the two lines")
        rows[utterance.index] = line, _values(utterance)

    def dialogues(self) -> Iterator[Dialogue]:
        """The dialogues; counts them as what the public file holds."""
        self._folder.notes.public_dialogues[self.split] += len(self._dialogues)
        self._folder.notes.public_utterances[self.split] += sum(map(len, self._dialogues.values()))
        for dialogue_id, rows in self._dialogues.items():
            utterances = (dict(zip(_FIELDS, rows[index][1], strict=True)) for index in sorted(rows))
            yield Dialogue(
                corpus=self._folder.entry.name,
                split=self.split,
                id=dialogue_id,
                utterances=tuple(map(Utterance.model_validate, utterances)),
            )
