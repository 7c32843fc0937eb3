"""The score folder: predictions, scores, manifest, and the confusion matrix as a picture."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from dialoguellm_release.errors import MissingExtraError
from dialoguellm_release.folders import canonical_json, sha256_of_text, write_text
from dialoguellm_release.records import record_files
from dialoguellm_release.render.figure_style import drawing
from dialoguellm_release.schemas.manifests import CONFUSION_FIGURE, FileStamp
from dialoguellm_release.schemas.recipes.score import ScoreRecipe
from dialoguellm_release.schemas.scores import ScoreFigures
from dialoguellm_release.scoring.metrics import figures_of
from dialoguellm_release.scoring.predictions import PREDICTIONS, write_predictions
from dialoguellm_release.scoring.task import Scored

SCORES = "scores.json"


@dataclass(frozen=True)
class WrittenScores:
    """The figures of a score folder, its content hash, and the data files that were scored."""

    figures: ScoreFigures
    content_sha256: str
    files: tuple[FileStamp, ...]


def write_scores(settings: ScoreRecipe, dataset: Path, scored: Scored, folder: Path) -> WrittenScores:
    """Writes predictions, scores and, where matplotlib is installed, the confusion matrix into a folder."""
    figures = figures_of(scored, settings)
    write_predictions(scored, folder / PREDICTIONS)
    write_text(folder / SCORES, figures.model_dump_json(indent=2) + "\n")
    with suppress(MissingExtraError):
        write_confusion(folder, figures)
    return WrittenScores(figures, _content_sha256(scored, figures), _inputs(dataset, settings, scored))


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


DARK = 0.6
"""From this share of its row on, a cell is dark, and its number white."""


def write_confusion(folder: Path, figures: ScoreFigures) -> None:
    """Writes the heat map of a score folder: shade by the share of the reference, numbers by count.

    Raises:
        MissingExtraError: The extra `figures` is not installed.
    """
    labels = list(figures.per_label)
    counts = figures.confusion_matrix
    has_invalid = any(row[-1] for row in counts)
    columns = [*labels, "invalid"] if has_invalid else labels
    shares = [[cell / (sum(row) or 1) for cell in row[: len(columns)]] for row in counts]
    width = 2.4 + 0.72 * len(columns)
    with drawing(folder / CONFUSION_FIGURE, width, 1.4 + 0.62 * len(labels)) as figure:
        axes = figure.subplots()
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
        axes.set_xticks(range(len(columns)), columns, rotation=35, ha="right", rotation_mode="anchor")
        axes.set_yticks(range(len(labels)), labels)
        axes.set_xlabel("predicted")
        axes.set_ylabel("reference")
        for row, line in enumerate(shares):
            for column, share in enumerate(line):
                colour = "white" if share >= DARK else "#262626"
                number = f"{counts[row][column]:,.0f}"
                axes.text(column, row, number, ha="center", va="center", color=colour)
        axes.spines[:].set_visible(True)
