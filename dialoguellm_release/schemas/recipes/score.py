"""The score recipe: which records are scored, how, and by which metric."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import model_validator

from dialoguellm_release.schemas.base import Positive, Recipe, Schema
from dialoguellm_release.schemas.labels import CorpusName, Label, Split
from dialoguellm_release.schemas.scores import FewShotRule, MetricName, Resampling, ScorerName


class FewShot(Schema):
    """Examples in the prompt, from the training split alone.

    Attributes:
        choose: `balanced` shows every record the same ones, as many of each label as possible, drawn by the
            seed; `nearest` shows each record those with the highest cosine of TF-IDF, the nearest last.
        seed: Of the draw; `nearest` has no use for it.
    """

    shots: Positive
    choose: FewShotRule = "balanced"
    seed: int = 2310


class ScoreRecipe(Recipe):
    """A scoring run.

    Attributes:
        headline: The metric by which the corpus is usually compared.
        without: The label that `micro_f1_without` leaves out.
        scorer: How the answer of a model is read; `auto` is `first_token` where no two labels share their
            first token, else `full_likelihood`. Baselines ignore it.
        max_length: Longest prompt in tokens; context is shortened to it as in training.
        batch_size: Prompts in one forward pass.
        max_new_tokens: Longest generated answer in tokens, where the scorer generates freely.
        max_records: Only the first so many records; None for all.
        few_shot: Examples in the prompt of a model; None for none. Baselines ignore them.
        intervals: How intervals are computed.
    """

    kind: Literal["score"]
    corpus: CorpusName
    split: Split
    headline: MetricName = "weighted_f1"
    without: Label = "neutral"
    scorer: Literal["auto"] | ScorerName = "auto"
    max_length: Positive
    batch_size: Positive
    max_new_tokens: Positive = 16
    max_records: Positive | None = None
    few_shot: FewShot | None = None
    intervals: Resampling = Resampling()

    @model_validator(mode="after")
    def _examples_are_not_scored(self) -> Self:
        if self.few_shot is not None and self.split == "train":
            raise ValueError("few_shot draws from the training split, which is what is scored")
        return self
