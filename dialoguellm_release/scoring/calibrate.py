"""The temperature of an adapter, fitted on its probabilities in the score folder of a validation split."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

from dialoguellm_release.errors import DataError, Problem, needing
from dialoguellm_release.folders import file_problems, read_manifest
from dialoguellm_release.schemas.manifests import (
    MAX_TEMPERATURE,
    MIN_TEMPERATURE,
    AdapterManifest,
    Calibration,
    CalibrationErrors,
    ScoreManifest,
)
from dialoguellm_release.scoring.folder import PREDICTIONS, read_probabilities
from dialoguellm_release.scoring.probabilities import AnswerProbabilities, probability_metrics

MIN_RECORDS = 100
"""On fewer records no temperature is fitted."""


def fit_calibration(scores: Path, adapter: Path) -> Calibration:
    """The calibration of an adapter by its score on a validation split, of the clean records where known."""
    scored, trained = read_manifest(scores, ScoreManifest), read_manifest(adapter, AdapterManifest)
    figures = scored.figures
    if problems := [*file_problems(scores, scored), *_score_problems(scores, scored, trained)]:
        raise DataError(problems, outcome="no temperature was fitted")
    found = read_probabilities(scores / PREDICTIONS, figures.protocol.label_space)
    temperature = fit_temperature(found, str(scores))
    assert figures.protocol.scorer is not None
    return Calibration(
        temperature=temperature,
        corpus=figures.protocol.corpus,
        split="validation",
        label_space=figures.protocol.label_space,
        scorer=figures.protocol.scorer,
        records=len(found.references),
        dataset_content_sha256=figures.protocol.dataset_content_sha256,
        adapter_content_sha256=trained.content_sha256,
        score_content_sha256=scored.content_sha256,
        before=_errors(found),
        after=_errors(found.at(temperature)),
    )


def fit_temperature(found: AnswerProbabilities, where: str) -> float:
    """The temperature with the least negative log-likelihood of the references.

    The likelihood is concave in 1/T, so the root of its slope, by Brent's method, is the only optimum.

    Source: temperature scaling, Guo et al., "On calibration of modern neural networks", ICML 2017.
    """
    with needing("score"):
        from scipy.optimize import brentq

    if problems := list(_record_problems(found, where)):
        raise DataError(problems, outcome="no temperature was fitted")
    low, high = (found.slope(one) for one in (MIN_TEMPERATURE, MAX_TEMPERATURE))
    if not low > 0 > high:
        why = (
            "nearly every answer is right" if low <= 0 else "the probabilities say nothing of the references"
        )
        what = f"its records do not determine a temperature: {why}"
        expected = f"one from {MIN_TEMPERATURE} to {MAX_TEMPERATURE:g}"
        fix = "use the probabilities as they are, or score more records of the validation split"
        problem = Problem(where, what, expected, fix=fix, code="calibration.not_determined")
        raise DataError(problem, outcome="no temperature was fitted")
    return float(brentq(found.slope, MIN_TEMPERATURE, MAX_TEMPERATURE, xtol=1e-9))


def _score_problems(scores: Path, scored: ScoreManifest, trained: AdapterManifest) -> Iterator[Problem]:
    figures, where = scored.figures, str(scores)
    protocol, system = figures.protocol, figures.system
    if protocol.split != "validation":
        fix = f"score the validation split: dlm-release score run {scored.recipe.name} --set split=validation"
        what = "is not a score of the validation split"
        yield Problem(where, what, "validation", protocol.split, fix, code="calibration.other_split")
    if system.adapter_content_sha256 != trained.content_sha256:
        what = "was not made with this adapter"
        expected, got = f"content {trained.content_sha256}", f"content {system.adapter_content_sha256}"
        yield Problem(where, what, expected, got, code="calibration.other_adapter")
    if figures.probabilities is None:
        fix = "score with scorer: auto, first_token or full_likelihood"
        what = "has no probabilities"
        yield Problem(
            where, what, got=f"scorer {protocol.scorer}", fix=fix, code="calibration.no_probabilities"
        )
    if not (scores / PREDICTIONS).is_file():
        what, fix = f"has no {PREDICTIONS}", "score again: a published score may come without it"
        yield Problem(where, what, fix=fix, code="calibration.no_predictions")
    if protocol.shots:
        what, fix = "showed examples in its prompts", "score without few_shot"
        yield Problem(where, what, "no examples", str(protocol.shots), fix, code="calibration.examples")


def _record_problems(found: AnswerProbabilities, where: str) -> Iterator[Problem]:
    records = len(found.references)
    if records < MIN_RECORDS:
        what, expected = "has too few records for a temperature", f"{MIN_RECORDS} records or more"
        yield Problem(where, what, expected, f"{records:,}", code="calibration.too_few_records")
    elif (found.references == found.references[0]).all():
        what = "every reference is the same label, which determines no temperature"
        yield Problem(where, what, code="calibration.one_label")
    if records and not math.isfinite(found.nll()):
        what = "gives some references the probability 0, which no temperature can change"
        yield Problem(where, what, code="calibration.zero_probability")


def _errors(found: AnswerProbabilities) -> CalibrationErrors:
    import numpy as np

    metrics = probability_metrics(found, np.ones((1, int(found.dialogues.max()) + 1)))
    return CalibrationErrors(nll=found.nll(), ece=float(metrics["ece"][0]), brier=float(metrics["brier"][0]))
