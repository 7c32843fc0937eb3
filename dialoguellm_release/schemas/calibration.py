"""`calibration.json` of an adapter folder: the temperature of its probabilities, and its origin."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from dialoguellm_release.schemas.base import Schema, Sha256
from dialoguellm_release.schemas.labels import CorpusName, Label
from dialoguellm_release.schemas.scores import PROBABILITY_METRICS, ScorerName

CALIBRATION = "calibration.json"
"""The file in an adapter folder. No manifest lists it, and it is no part of the adapter's content."""

MIN_TEMPERATURE, MAX_TEMPERATURE = 0.05, 20.0
"""Between these the temperature is searched; outside, the records do not determine it."""


class CalibrationErrors(Schema):
    """How far probabilities are from what happened; 0 is perfect.

    Attributes:
        nll: Mean negative log-likelihood of the references, in nats.
        ece: Expected calibration error.
        brier: Brier score.
    """

    nll: Annotated[float, Field(ge=0)]
    ece: Annotated[float, Field(ge=0, le=1)]
    brier: Annotated[float, Field(ge=0, le=2)]


class Calibration(Schema):
    """The temperature of an adapter: its probabilities become softmax(log p / temperature).

    Attributes:
        label_space: The labels that the probabilities were over.
        scorer: How the probabilities were read off the model.
        records: How many the temperature was fitted on.
        dataset_content_sha256: The dataset of these records.
        adapter_content_sha256: The adapter that gave the probabilities; it belongs to no other.
        score_content_sha256: The score folder that held them.
        before: Of these records, with the probabilities as the model gives them.
        after: Of the same records, with the temperature.
    """

    version: Literal[1] = 1
    temperature: Annotated[float, Field(ge=MIN_TEMPERATURE, le=MAX_TEMPERATURE)]
    corpus: CorpusName
    split: Literal["validation"]
    label_space: tuple[Label, ...]
    scorer: ScorerName
    records: Annotated[int, Field(ge=1)]
    dataset_content_sha256: Sha256
    adapter_content_sha256: Sha256
    score_content_sha256: Sha256
    before: CalibrationErrors
    after: CalibrationErrors

    def fits(self, scorer: ScorerName, label_space: tuple[Label, ...]) -> bool:
        """Whether it is of probabilities that were read this way, over these labels."""
        return (self.scorer, self.label_space) == (scorer, label_space)

    @property
    def errors(self) -> list[tuple[str, float, float]]:
        """Each error by its title, before and after."""
        before, after = self.before, self.after
        return [
            ("Negative log-likelihood", before.nll, after.nll),
            (PROBABILITY_METRICS["ece"], before.ece, after.ece),
            (PROBABILITY_METRICS["brier"], before.brier, after.brier),
        ]
