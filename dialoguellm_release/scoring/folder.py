"""The score folder: predictions, scores and manifest."""

from __future__ import annotations

from pathlib import Path

from dialoguellm_release.folders import (
    canonical_json,
    package_versions,
    sha256_of_text,
    stamps,
    write_text,
)
from dialoguellm_release.recipes.load import Loaded
from dialoguellm_release.records import record_files
from dialoguellm_release.schemas.manifests import FileStamp, ScoreManifest
from dialoguellm_release.schemas.recipes.score import ScoreRecipe
from dialoguellm_release.schemas.scores import ScoreFigures
from dialoguellm_release.scoring.measure import figures_of
from dialoguellm_release.scoring.predictions import PREDICTIONS, write_predictions
from dialoguellm_release.scoring.scored import Scored

SCORES = "scores.json"


def write_scores(recipe: Loaded[ScoreRecipe], dataset: Path, scored: Scored, folder: Path) -> ScoreManifest:
    """Writes predictions and scores into a staged folder; its manifest, still to be written, comes back."""
    settings = recipe.recipe
    figures = figures_of(scored, settings)
    write_predictions(scored, folder / PREDICTIONS)
    write_text(folder / SCORES, figures.model_dump_json(indent=2) + "\n")
    return ScoreManifest(
        created_by=package_versions(*scored.packages, "pyarrow"),
        recipe=recipe.stamp,
        inputs=_inputs(dataset, settings, scored),
        outputs=stamps(folder),
        content_sha256=_content_sha256(scored, figures),
        figures=figures,
    )


def _inputs(dataset: Path, settings: ScoreRecipe, scored: Scored) -> tuple[FileStamp, ...]:
    held_out = record_files(dataset, settings.corpus, settings.split)
    if scored.system.kind != "baseline":
        return held_out
    return (*record_files(dataset, settings.corpus, "train"), *held_out)


def _content_sha256(scored: Scored, figures: ScoreFigures) -> str:
    """The hash of what was predicted, of what and by what; not of the last digits of any figure."""
    lines = [
        f"{record.id} {answer.label} {answer.is_drawn}"
        for record, answer in zip(scored.records, scored.answers, strict=True)
    ]
    return sha256_of_text(
        "\n".join([*lines, canonical_json(figures.protocol), canonical_json(figures.system)])
    )
