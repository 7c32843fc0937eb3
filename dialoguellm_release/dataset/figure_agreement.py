"""The heat map of label agreement: what one corpus calls what another one calls so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from dialoguellm_release.dataset.figure_style import GREY, draw_cell, name_columns, name_rows, titles
from dialoguellm_release.schemas.audit import Agreement

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

HEADING_ROWS = 4
"""The height of a panel's title and column names, in rows."""


def agreement_rows(agreements: Sequence[Agreement]) -> int:
    """The height of the figure, in rows."""
    return sum(HEADING_ROWS + len(one.counts) for one in agreements)


def draw_agreements(figure: Figure, agreements: Sequence[Agreement], origin: str) -> None:
    """Draws a panel for each two corpora, one below the other.

    Args:
        origin: Stands before every title.
    """
    heights = [HEADING_ROWS + len(one.counts) for one in agreements]
    panels = figure.subplots(len(agreements), 1, squeeze=False, height_ratios=heights)
    for axes, one in zip(panels[:, 0], agreements, strict=True):
        first, second = titles([one.first, one.second])
        kappa = "" if one.kappa is None else f", kappa {one.kappa:.2f}"
        axes.set_title(f"{origin}{first} and {second}: {one.utterances:,} utterances{kappa}", pad=10)
        _draw_panel(axes, one, first, second)


def _draw_panel(axes: Axes, one: Agreement, first: str, second: str) -> None:
    columns = list(dict.fromkeys(column for cells in one.counts.values() for column in cells))
    size = min(11, 77 / len(columns))
    for row, (label, cells) in enumerate(one.counts.items()):
        for place, column in enumerate(columns):
            if cells[column]:
                share = one.shares[label][column]
                draw_cell(axes, place, row, share, f"{100 * share:.0f} % ({cells[column]:,})", size)
            if column == label:
                axes.barh(row, 0.94, 0.9, place - 0.47, fill=False, edgecolor="black")
    name_rows(axes, list(one.counts))
    name_columns(axes, columns)
    axes.set_ylabel(f"label in {first}")
    axes.set_xlabel(
        f"label in {second}: percent of the row, and utterances; framed: the same label", color=GREY
    )
