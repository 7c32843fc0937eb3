"""The probabilities of answers: whether they mean what they say, and what selecting by them gains."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from dialoguellm_release.schemas.labels import Label
from dialoguellm_release.schemas.scores import (
    Part,
    Probabilities,
    ProbabilityFigures,
    ProbabilityMetric,
    ReliabilityBin,
    Resampling,
    SelectedPart,
)
from dialoguellm_release.scoring.answers import Answer
from dialoguellm_release.scoring.significance import drawn_dialogues, interval

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Places = NDArray[np.int64]
    Members = NDArray[np.bool_]

BINS = 15
"""Bins of the expected calibration error, of equal width, as many as Guo et al. (2017) have."""

COVERAGES = (1.0, 0.9, 0.8, 0.7)
"""The shares of the records, the surest answers first, whose metrics are reported."""

RISK_STEPS = 20


@dataclass(frozen=True)
class AnswerProbabilities:
    """The probabilities of records (rows) and labels (columns), and the places of references and answers."""

    values: Floats
    references: Places
    answers: Places
    dialogues: Places  # the number of each record's dialogue, from 0
    temperature: float | None = None  # that the values were made with; None for those of the system

    @property
    def confidence(self) -> Floats:
        """The probability of each answer."""
        return _picked(self.values, self.answers)

    @property
    def is_wrong(self) -> Members:
        """Whether each answer is wrong."""
        wrong: Members = self.answers != self.references
        return wrong

    def part(self, members: Members) -> AnswerProbabilities:
        """Of some of the records."""
        columns = ("values", "references", "answers", "dialogues")
        return replace(self, **{name: getattr(self, name)[members] for name in columns})

    def at(self, temperature: float) -> AnswerProbabilities:
        """With a temperature: softmax(log p / temperature)."""
        import numpy as np

        with np.errstate(divide="ignore"):
            logs = np.log(self.values) / temperature
        powers = np.exp(logs - logs.max(1, keepdims=True))
        values = powers / powers.sum(1, keepdims=True)
        return replace(self, values=values, temperature=temperature)

    def nll(self) -> float:
        """The mean negative log-likelihood of the references; infinite where one has probability 0."""
        import numpy as np

        with np.errstate(divide="ignore"):
            return float(-np.log(_picked(self.values, self.references)).mean())

    def slope(self, temperature: float) -> float:
        """The slope of the negative log-likelihood over 1 / temperature."""
        import numpy as np

        logs = np.log(self.values, out=np.zeros_like(self.values), where=self.values > 0)
        expected = (self.at(temperature).values * logs).sum(1)
        return float((expected - _picked(logs, self.references)).mean())

    def surest(self, coverage: float) -> Members:
        """The records with the surest answers; of equally sure ones all or none."""
        import numpy as np

        confidence = self.confidence
        place = math.ceil(round(coverage * len(confidence), 9)) - 1
        chosen: Members = confidence >= np.sort(confidence)[::-1][place]
        return chosen


def has_probabilities(answer: Answer) -> bool:
    """Whether the answer is a label, with a probability for every label."""
    return answer.scores is not None and answer.label is not None


def probabilities_of(
    answers: Sequence[Answer],
    references: Sequence[Label],
    dialogues: Sequence[str],
    labels: Sequence[Label],
) -> AnswerProbabilities | None:
    """The probabilities of some answers; None where one has none."""
    import numpy as np

    if not answers or not all(map(has_probabilities, answers)):
        return None
    place = {label: index for index, label in enumerate(labels)}
    number = {name: index for index, name in enumerate(dict.fromkeys(dialogues))}
    return AnswerProbabilities(
        np.array([one.scores for one in answers]),
        np.array([place[label] for label in references]),
        np.array([place[str(one.label)] for one in answers]),
        np.array([number[name] for name in dialogues]),
    )


def probability_metrics(found: AnswerProbabilities, times: Floats) -> dict[ProbabilityMetric, Floats]:
    """The metrics of some probabilities, for any number of resamples at once.

    - Brier score: the squared distance between probabilities and reference, from 0 to 2. Source: Brier,
      "Verification of forecasts expressed in terms of probability", Monthly Weather Review 78 (1950).
    - Expected calibration error: the gap between the mean probability of the answers and the share of them
      that is right, in bins of equal width, weighted by their records. Source: Naeini et al., "Obtaining
      well calibrated probabilities using Bayesian binning", AAAI 2015; of the answer alone, in 15 bins: Guo
      et al., "On calibration of modern neural networks", ICML 2017.
    - Area under the risk-coverage curve: the mean, over the records as thresholds, of the share of wrong
      answers among those that are at least as sure. Source: Geifman et al., "Bias-reduced uncertainty
      estimation for deep neural classifiers", ICLR 2019.

    `times` has the shape (resamples, dialogues): how often each dialogue counts.
    """
    import numpy as np

    weights = times[:, found.dialogues]
    total, confidence = weights.sum(-1), found.confidence
    squared = ((found.values - np.eye(found.values.shape[1])[found.references]) ** 2).sum(1)
    excess = np.eye(BINS)[_bins(confidence)] * (confidence - ~found.is_wrong)[:, None]
    order = np.argsort(-confidence, kind="stable")
    surer = np.searchsorted(-confidence[order], -confidence[order], side="right") - 1
    ordered = weights[:, order]
    seen, wrong = ordered.cumsum(-1), (ordered * found.is_wrong[order]).cumsum(-1)
    risk = np.divide(wrong, seen, out=np.zeros_like(seen), where=seen > 0)[:, surer]
    return {
        "ece": np.abs(weights @ excess).sum(-1) / total,
        "brier": weights @ squared / total,
        "aurc": (ordered * risk).sum(-1) / total,
    }


def probability_figures(
    found: AnswerProbabilities, is_clean: Members | None, selected: Sequence[Part], resampling: Resampling
) -> Probabilities:
    """What is measured of the probabilities of a score, and of its surest records by `COVERAGES`."""
    dialogues = int(found.dialogues.max()) + 1
    return Probabilities(
        temperature=found.temperature,
        all=_figures(found, dialogues, resampling),
        clean=_figures(found.part(is_clean), dialogues, resampling)
        if is_clean is not None and is_clean.any()
        else None,
        selected=tuple(
            SelectedPart(
                **dict(part),
                coverage=share,
                min_probability=float(found.confidence[found.surest(share)].min()),
            )
            for share, part in zip(COVERAGES, selected, strict=True)
        ),
    )


def _figures(found: AnswerProbabilities, dialogues: int, resampling: Resampling) -> ProbabilityFigures:
    """The figures of some probabilities; dialogues without any of these records are drawn as well."""
    import numpy as np

    drawn: dict[ProbabilityMetric, list[Floats]] = {}
    for times in drawn_dialogues(dialogues, len(found.references), resampling):
        has_records = times[:, np.unique(found.dialogues)].any(-1)
        for name, values in probability_metrics(found, times[has_records]).items():
            drawn.setdefault(name, []).append(values)
    measured = probability_metrics(found, np.ones((1, dialogues)))
    bins = _bins(found.confidence)
    shares = [(step + 1) / RISK_STEPS for step in range(RISK_STEPS)]
    return ProbabilityFigures(
        metrics={name: float(values[0]) for name, values in measured.items()},
        intervals={name: interval(np.concatenate(one), resampling.level) for name, one in drawn.items()},
        bins=tuple(_bin(found.part(bins == place)) for place in range(BINS)),
        risk=tuple(float(found.is_wrong[found.surest(share)].mean()) for share in shares),
    )


def _bin(found: AnswerProbabilities) -> ReliabilityBin:
    if not len(found.answers):
        return ReliabilityBin(records=0, confidence=0, accuracy=0)
    confidence, risk = float(found.confidence.mean()), float(found.is_wrong.mean())
    return ReliabilityBin(records=len(found.answers), confidence=confidence, accuracy=1 - risk)


def _bins(confidence: Floats) -> Places:
    import numpy as np

    return np.minimum((confidence * BINS).astype(np.int64), BINS - 1)


def _picked(values: Floats, places: Places) -> Floats:
    import numpy as np

    picked: Floats = np.take_along_axis(values, places[:, None], 1)[:, 0]
    return picked
