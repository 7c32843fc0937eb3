"""Predictions that were made elsewhere, scored as our own are."""

from __future__ import annotations

from pathlib import Path

from dialoguellm_release.schemas.recipes.score import ScoreRecipe
from dialoguellm_release.schemas.scores import System
from dialoguellm_release.scoring.predictions import read_answers
from dialoguellm_release.scoring.scored import Scored, protocol_of, read_task


def score_predictions(settings: ScoreRecipe, dataset: Path, predictions: Path) -> Scored:
    """The answers in a file; the protocol says nothing of how they came about, for nobody here knows it.

    Raises:
        DataError: The file does not hold one prediction for each record, and nothing else.
    """
    task = read_task(settings, dataset)
    return Scored(
        split=task.split,
        answers=read_answers(predictions, task),
        protocol=protocol_of(task, settings),
        system=System(name=predictions.stem, kind="predictions"),
        packages=("numpy",),
    )
