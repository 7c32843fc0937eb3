"""Dialogues as readers give them, records as the dataset has them, and rows without text."""

from __future__ import annotations

from dataclasses import dataclass
from operator import lt
from typing import Annotated, TypeVar

from pydantic import Field, model_validator

from dialoguellm_release.schemas.base import Count, Schema, Sha256, Text
from dialoguellm_release.schemas.labels import CorpusName, Label, Split

Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]

Row = TypeVar("Row", "Record", "StandoffRow")

DialogueId = Annotated[str, Field(pattern=r"^[^/\s]+$")]
"""A part of a record's id: without `/` and white space."""


@dataclass(slots=True, kw_only=True)
class Utterance:
    """One turn of a dialogue, with the emotion that the corpus gives it.

    Attributes:
        index: The corpus's own number of the turn in its dialogue where it has one that is unique there,
            else the position from 0. A gap means that the corpus left turns out.
        text: What is said, as in the corpus but for mended encodings and outer white space.
        label: The canonical label; None for an utterance that is only context, of which no record is made.
        source_label: The label as the corpus spells it.
        speaker: Who says it; None where the corpus does not say.
        other_labels: Further canonical labels where annotators gave several; never `label` itself.
        start_s: Start in the video in seconds; None where there is no video.
        end_s: The end in seconds; may precede `start_s` where the corpus has it so.
    """

    index: Count
    text: Text
    label: Label | None
    source_label: Text | None
    speaker: Text | None = None
    other_labels: tuple[Label, ...] = ()
    start_s: Seconds | None = None
    end_s: Seconds | None = None


@dataclass(frozen=True, slots=True)
class Dialogue:
    """A sequence of utterances in the order in which they are spoken.

    Why a plain object: a build makes an utterance for each record, and checks all columns of the records.

    Attributes:
        id: The corpus's own id, unique in its corpus and split; without `/`.
        split: None where the corpus has no official split, so that one is drawn.
        series: The stratum of such a draw, as the TV series; None where there is none.
    """

    corpus: CorpusName
    split: Split | None
    id: DialogueId
    utterances: tuple[Utterance, ...]
    series: Text | None = None

    def __post_init__(self) -> None:
        indices = [utterance.index for utterance in self.utterances]
        if not indices or not all(map(lt, indices, indices[1:])):
            raise ValueError(f"utterance indices do not grow: {indices}")


def record_id(corpus: CorpusName, split: Split, dialogue_id: str, utterance_index: int) -> str:
    """What names a record: unique in the dataset.

    >>> record_id("my_corpus", "train", "12", 3)
    'my_corpus/train/12/3'
    """
    return f"{corpus}/{split}/{dialogue_id}/{utterance_index}"


def _id_and_labels_agree(row: Row) -> Row:
    if row.id != record_id(row.corpus, row.split, row.dialogue_id, row.utterance_index):
        raise ValueError("id is not corpus/split/dialogue_id/utterance_index")
    if row.output != row.label:
        raise ValueError("output and label differ")
    return row


class Record(Schema):
    """One utterance as an instruction (paper section 3.3); `COLUMN_NOTES` says what each column holds."""

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

    _agree = model_validator(mode="after")(_id_and_labels_agree)


COLUMN_NOTES: dict[str, str] = {
    "id": "`corpus/split/dialogue_id/utterance_index`; unique",
    "instruction": "the task, and the labels to choose from",
    "video_description": "what is seen while the utterance is spoken; null where there is none",
    "context": "the utterances before this one in its dialogue, oldest first, as `Speaker: text`, "
    "or `text` where the corpus names no speakers",
    "input": "the utterance to label",
    "output": "the label that is trained and scored",
    "label": "the same as a ClassLabel over the common vocabulary",
    "source_label": "the label as the corpus spells it",
    "other_labels": "further labels that annotators gave",
    "corpus": "the corpus that the record is from",
    "split": "`train`, `validation` or `test`",
    "dialogue_id": "the corpus's own id of the dialogue, unique in its corpus and split",
    "utterance_index": "the utterance's place in its dialogue; a gap means that the corpus left turns out",
    "speaker": "who speaks; null where the corpus does not tell",
    "start_s": "start in the video in seconds; null where there is none",
    "end_s": "end in the video in seconds; null where there is none",
    "license": "the licence of the record's text",
    "leaks": "splits on the other side of the line between training and held-out that share text with the "
    "record, see Leakage",
}
"""What each column of the dataset holds."""

COLUMNS: tuple[str, ...] = tuple(Record.model_fields)

SFT_COLUMNS = ("id", "prompt", "completion", "label", "corpus", "split", "dialogue_id", "utterance_index")
"""The columns of the config `sft`: what a trainer takes, and where it comes from."""


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

    _agree = model_validator(mode="after")(_id_and_labels_agree)


STANDOFF_COLUMNS: tuple[str, ...] = tuple(StandoffRow.model_fields)
