"""The figures of a score folder: confusion matrix, reliability diagram, and risk against coverage."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from dialoguellm_release.render.figure_style import (
    BLUE,
    GREY,
    ORANGE,
    PALE_BLUE,
    draw_cell,
    drawing,
    name_columns,
    name_rows,
)
from dialoguellm_release.schemas.manifests import CONFUSION_FIGURE, COVERAGE_FIGURE, RELIABILITY_FIGURE
from dialoguellm_release.schemas.scores import Probabilities, ScoreFigures

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def write_figures(folder: Path, figures: ScoreFigures) -> None:
    """Writes every figure of a score into its folder."""
    _write_confusion(folder, figures)
    given = [one for one in (figures.probabilities, figures.calibrated) if one is not None]
    if given:
        _write_reliability(folder, given)
        _write_coverage(folder, given)


def _write_confusion(folder: Path, figures: ScoreFigures) -> None:
    """A heat map: shade by the share of the reference, numbers by count."""
    labels = list(figures.per_label)
    counts = figures.confusion_matrix
    has_invalid = any(row[-1] for row in counts)
    columns = [*labels, "invalid"] if has_invalid else labels
    width = 2.4 + 0.72 * len(columns)
    with drawing(folder / CONFUSION_FIGURE, width, 1.4 + 0.62 * len(labels)) as figure:
        axes = figure.subplots()
        for row, line in enumerate(counts):
            for column, count in enumerate(line[: len(columns)]):
                draw_cell(axes, column, row, count / (sum(line) or 1), f"{count:,.0f}")
        name_rows(axes, labels)
        name_columns(axes, columns)
        axes.set_xlabel("predicted")
        axes.set_ylabel("reference")


def _write_reliability(folder: Path, given: list[Probabilities]) -> None:
    """For each bin of probabilities the share of right answers, above how many records it has."""
    with drawing(folder / RELIABILITY_FIGURE, 5.2 * len(given), 5.6) as figure:
        rows = figure.subplots(2, len(given), squeeze=False, sharex=True, height_ratios=[3, 1])
        for one, above, below in zip(given, *rows, strict=True):
            _draw_reliability(one, above)
            _draw_counts(one, below)
        rows[0][0].set_ylabel("share of right answers")
        rows[1][0].set_ylabel("records")
        figure.legend(
            *rows[0][0].get_legend_handles_labels(), loc="outside lower center", fontsize=9, ncols=3
        )


def _draw_reliability(given: Probabilities, axes: Axes) -> None:
    bins = given.all.bins
    centres = [(place + 0.5) / len(bins) for place in range(len(bins))]
    heights = [one.accuracy for one in bins]
    axes.bar(centres, heights, 1 / len(bins), color=PALE_BLUE, edgecolor=BLUE, label="right answers")
    filled = [one for one in bins if one.records]
    means = [one.confidence for one in filled]
    axes.plot(
        means, [one.accuracy for one in filled], "o", color=BLUE, clip_on=False, label="mean probability"
    )
    axes.plot([0, 1], [0, 1], "--", color=GREY, label="perfectly calibrated")
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.set_title(f"{_name(given)}, ECE {given.all.metrics['ece']:.4f}", fontsize=11)


def _draw_counts(given: Probabilities, axes: Axes) -> None:
    bins = given.all.bins
    for place, one in enumerate(bins):
        centre = (place + 0.5) / len(bins)
        axes.bar(centre, one.records, 1 / len(bins), color=PALE_BLUE, edgecolor=BLUE)
        if one.records:
            axes.text(centre, one.records, f"{one.records:,}", ha="center", va="bottom", fontsize=7)
    axes.set_ylim(0, 1.25 * max(one.records for one in bins))
    axes.set_xlabel("probability of the answer")


def _write_coverage(folder: Path, given: list[Probabilities]) -> None:
    """The share of wrong answers among the surest of the records."""
    with drawing(folder / COVERAGE_FIGURE, 6.4, 4.2) as figure:
        axes = figure.subplots()
        for one, colour, line in zip(given, (BLUE, ORANGE), ("-o", "--s"), strict=False):
            shares = [100 * (place + 1) / len(one.all.risk) for place in range(len(one.all.risk))]
            label = f"{_name(one)}, area {one.all.metrics['aurc']:.4f}"
            risk = [100 * value for value in one.all.risk]
            axes.plot(shares, risk, line, color=colour, markersize=4, label=label)
        axes.axhline(100 * given[0].all.risk[-1], color=GREY, linestyle=":", label="chosen at random")
        axes.set_xlim(0, 102)
        axes.set_ylim(bottom=0)
        axes.set_xlabel("coverage: records that are labelled, the surest first (%)")
        axes.set_ylabel("wrong answers among them (%)")
        axes.legend(fontsize=9)


def _name(given: Probabilities) -> str:
    return "Probabilities as given" if given.temperature is None else f"Temperature {given.temperature:.3f}"
