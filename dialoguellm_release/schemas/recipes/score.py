"""The score recipe: which records are scored, how, and by what they are compared."""

from __future__ import annotations

from typing import Literal

from dialoguellm_release.schemas.base import Schema, Text
from dialoguellm_release.schemas.labels import CorpusName, Label, Split
from dialoguellm_release.schemas.recipes.backbone import Positive
from dialoguellm_release.schemas.scores import MetricName, Resampling, ScorerName


class ScoreRecipe(Schema):
    """A scoring run.

    Attributes:
        headline: The metric by which the corpus is usually compared.
        without: The label that `micro_f1_without` leaves out.
        scorer: How the answer is read off a model; `auto` is `first_token` where the tokenizer gives every
            label a first token of its own, else `full_likelihood`. Baselines have no use for it.
        max_length: Longest prompt in tokens; context is shortened to it as in training.
        batch_size: Prompts in one forward pass.
        max_new_tokens: Longest generated answer in tokens, where the scorer generates freely.
        max_records: Only the first so many records; None for all.
        intervals: How sure the figures are.
    """

    version: Literal[1]
    kind: Literal["score"]
    description: Text
    corpus: CorpusName
    split: Split
    headline: MetricName = "weighted_f1"
    without: Label = "neutral"
    scorer: Literal["auto"] | ScorerName = "auto"
    max_length: Positive
    batch_size: Positive
    max_new_tokens: Positive = 16
    max_records: Positive | None = None
    intervals: Resampling = Resampling()
