"""What a paper claims, as data: figures that a card may quote as the paper's."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from dialoguellm_release.schemas.base import Schema, Text
from dialoguellm_release.schemas.labels import CorpusName, Label, Split
from dialoguellm_release.schemas.manifest import Sizes


class ClaimsRecipe(Schema):
    """The figures that a publication prints.

    Attributes:
        source: Where they are printed.
        corpora: Dialogues and utterances per corpus and split, as printed.
        training_dialogues: The printed total of training dialogues.
        label_percentages: Share of each label in percent, as printed; a label that is not named has none
            printed.
    """

    version: Literal[1]
    kind: Literal["claims"]
    description: Text
    source: Text
    corpora: dict[CorpusName, dict[Split, Sizes]]
    training_dialogues: int
    label_percentages: dict[Label, Annotated[float, Field(ge=0, le=100)]] = {}
