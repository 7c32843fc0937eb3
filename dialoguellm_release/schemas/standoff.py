"""The stand-off row: what is published of a record whose text may not leave."""

from __future__ import annotations

from typing import Self

from pydantic import model_validator

from dialoguellm_release.schemas.base import Count, Schema, Sha256, Text
from dialoguellm_release.schemas.dialogue import DialogueId, Seconds
from dialoguellm_release.schemas.labels import CorpusName, Label, Split
from dialoguellm_release.schemas.record import record_id


class StandoffRow(Schema):
    """Ids, labels and positions of a record, in the column order of the config `standoff`.

    Why: instruction, context, input and speaker are left out. A speaker's name is part of what the corpus
    wrote down, and who has the corpus has the name; `window_hmac` covers it.

    Attributes:
        output: The label that is trained and scored; `label` is the same as a class id.
        leaks: Splits that share text with the record, never records; None where no audit was made.
        window_hmac: HMAC-SHA256 of the utterance with its neighbours, by speaker and text; None where
            its dialogue has no other utterance.
    """

    id: Text
    output: Label
    label: Label
    source_label: Text
    other_labels: tuple[Label, ...]
    corpus: CorpusName
    split: Split
    dialogue_id: DialogueId
    utterance_index: Count
    start_s: Seconds | None
    end_s: Seconds | None
    license: Text
    leaks: tuple[Text, ...] | None
    window_hmac: Sha256 | None

    @model_validator(mode="after")
    def _id_and_labels_agree(self) -> Self:
        if self.id != record_id(self.corpus, self.split, self.dialogue_id, self.utterance_index):
            raise ValueError("id is not corpus/split/dialogue_id/utterance_index")
        if self.output != self.label:
            raise ValueError("output and label differ")
        return self


STANDOFF_COLUMNS: tuple[str, ...] = tuple(StandoffRow.model_fields)
