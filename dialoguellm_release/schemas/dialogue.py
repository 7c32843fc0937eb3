"""What every reader makes of a corpus: dialogues of utterances."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Self

from pydantic import Field, model_validator

from dialoguellm_release.schemas.base import Count, Schema, Text
from dialoguellm_release.schemas.labels import CorpusName, Label, Split

Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]

DialogueId = Annotated[str, Field(pattern=r"^[^/\s]+$")]
"""A part of a record's id: without `/` and white space."""


class Utterance(Schema):
    """One turn of a dialogue, with the emotion that the corpus gives it.

    Attributes:
        index: The corpus's own number of the turn in its dialogue where it has one that is unique there,
            else the position from 0. A gap means that the corpus left turns out.
        text: What is said, as in the corpus but for mended encodings and outer white space.
        speaker: Who says it; None where the corpus does not tell.
        label: The canonical label.
        source_label: The label as the corpus spells it.
        other_labels: Further canonical labels where annotators gave several; never `label` itself.
        start_s: Start in the video in seconds; None where there is no video.
        end_s: Likewise its end; may precede `start_s` where the corpus has it so.
    """

    index: Count
    text: Text
    speaker: Text | None = None
    label: Label
    source_label: Text
    other_labels: tuple[Label, ...] = ()
    start_s: Seconds | None = None
    end_s: Seconds | None = None


class Dialogue(Schema):
    """A sequence of utterances in the order in which they are spoken.

    Attributes:
        id: The corpus's own id, unique in its corpus and split; without `/`.
        split: None where the corpus has no official split and one has still to be drawn.
        series: The stratum of such a draw (for MEISD the TV series); None elsewhere.
    """

    corpus: CorpusName
    split: Split | None
    id: DialogueId
    series: Text | None = None
    utterances: Annotated[tuple[Utterance, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _indices_keep_the_order(self) -> Self:
        indices = [utterance.index for utterance in self.utterances]
        if any(later <= earlier for earlier, later in pairwise(indices)):
            raise ValueError(f"utterance indices do not grow: {indices}")
        return self
