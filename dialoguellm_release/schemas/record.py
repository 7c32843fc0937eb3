"""The record: one row of the dataset, and what every row must satisfy."""

from __future__ import annotations

from typing import Self

from pydantic import model_validator

from dialoguellm_release.schemas.base import Count, Schema, Text
from dialoguellm_release.schemas.dialogue import DialogueId, Seconds
from dialoguellm_release.schemas.labels import CorpusName, Label, Split


def record_id(corpus: CorpusName, split: Split, dialogue_id: str, utterance_index: int) -> str:
    """What names a record: unique in the dataset.

    >>> record_id("meld", "train", "12", 3)
    'meld/train/12/3'
    """
    return f"{corpus}/{split}/{dialogue_id}/{utterance_index}"


class Record(Schema):
    """One utterance as an instruction (paper section 3.3), in the column order of the dataset.

    Attributes:
        id: As `record_id` makes it.
        instruction: The task and the labels to choose from.
        video_description: None where there is none.
        context: The utterances before this one, oldest first, as `Speaker: text`, or `text` where the
            corpus does not tell the speakers. Past only, same dialogue.
        input: The utterance to label.
        output: The label that is trained and scored.
        label: The same as a class id (in Parquet a ClassLabel over the canonical vocabulary).
        source_label: The label as the corpus spells it.
        other_labels: Further labels that annotators gave.
        license: SPDX id, or a `LicenseRef-` of the corpus registry.
        leaks: Splits that share text with this record; None where no audit was made.
    """

    id: Text
    instruction: Text
    video_description: Text | None
    context: tuple[Text, ...]
    input: Text
    output: Label
    label: Label
    source_label: Text
    other_labels: tuple[Label, ...]
    corpus: CorpusName
    split: Split
    dialogue_id: DialogueId
    utterance_index: Count
    speaker: Text | None
    start_s: Seconds | None
    end_s: Seconds | None
    license: Text
    leaks: tuple[Text, ...] | None

    @model_validator(mode="after")
    def _id_and_labels_agree(self) -> Self:
        if self.id != record_id(self.corpus, self.split, self.dialogue_id, self.utterance_index):
            raise ValueError("id is not corpus/split/dialogue_id/utterance_index")
        if self.output != self.label:
            raise ValueError("output and label differ")
        return self


COLUMNS: tuple[str, ...] = tuple(Record.model_fields)
