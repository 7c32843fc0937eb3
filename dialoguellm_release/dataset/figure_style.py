"""How the figures of a dataset card look, and what several of them draw alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dialoguellm_release.corpora.registry import corpus_entry
from dialoguellm_release.schemas.labels import CorpusName

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BLUE, ORANGE, GREY, PALE_BLUE = "#0072B2", "#E69F00", "#595959", "#CCE3F0"
"""Colours of Okabe and Ito, which colour-blind readers tell apart."""

STYLE: dict[Any, object] = {
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 13,
    "axes.titleweight": "bold",
    "figure.constrained_layout.h_pad": 0.12,
    "font.family": "DejaVu Sans",
    "font.size": 11,
    "hatch.linewidth": 0.8,
    "legend.frameon": False,
    "savefig.dpi": 120,
    "xtick.labelsize": 10,
    "ytick.left": False,
}
NUMBER_SIZE = 9.5


def draw_cell(axes: Axes, column: int, row: int, share: float, text: str, size: float = 11) -> None:
    """Draws a cell of a table, the darker the greater its share, with a text that stays readable."""
    axes.barh(row, 0.94, 0.9, column - 0.47, color=BLUE, alpha=0.12 + 0.88 * share)
    color = "white" if share > 0.6 else "black"
    axes.text(column, row, text, ha="center", va="center", color=color, fontsize=size)


def name_rows(axes: Axes, names: Sequence[str]) -> None:
    """Names the rows, the first at the top."""
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)


def name_columns(axes: Axes, names: Sequence[str]) -> None:
    """Names the columns of a table, and draws no lines around it."""
    axes.set_xlim(-0.55, len(names) - 0.45)
    axes.set_xticks(range(len(names)), names, rotation=40, ha="right")
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)


def titles(corpora: Sequence[CorpusName] | Mapping[CorpusName, object]) -> list[str]:
    """The corpora as readers know them."""
    return [corpus_entry(name).title for name in corpora]
