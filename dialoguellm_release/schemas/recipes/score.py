"""The score recipe: which records are scored, and how."""

from __future__ import annotations

from typing import Literal

from dialoguellm_release.schemas.base import Schema, Text
from dialoguellm_release.schemas.labels import CorpusName, Split
from dialoguellm_release.schemas.recipes.backbone import Positive


class ScoreRecipe(Schema):
    """A scoring run.

    Attributes:
        scorer: `first_token` compares the first tokens of the labels in one forward pass and is refused
            where they are not unique; `full_likelihood` sums the log-probabilities of whole labels.
        max_length: Longest prompt in tokens; context is shortened to it as in training.
        max_records: Only the first so many records; None for all.
    """

    version: Literal[1]
    kind: Literal["score"]
    description: Text
    corpus: CorpusName
    split: Split
    scorer: Literal["first_token", "full_likelihood"]
    max_length: Positive
    batch_size: Positive
    max_records: Positive | None = None
