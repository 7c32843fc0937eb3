"""What all figures share: colours, fonts, cells of a heat map, and files with the same bytes each time."""

from __future__ import annotations

import re
import unicodedata
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dialoguellm_release.errors import needing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, ORANGE, GREY, PALE_BLUE = "#0072B2", "#E69F00", "#595959", "#CCE3F0"
"""Colours of Okabe and Ito, which colour-blind readers can tell apart."""

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


@contextmanager
def drawing(path: Path, width: float, height: float) -> Iterator[Figure]:
    """A figure to draw on; the file is written when the block ends, and depends on the drawing alone."""
    with needing("figures"):
        import matplotlib
        from matplotlib.figure import Figure

    path.parent.mkdir(exist_ok=True)
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        figure = Figure(figsize=(width, height), layout="constrained")
        yield figure
        if lacking := _saved(figure, path):
            _add_fonts(figure, lacking)
            if lacking := _saved(figure, path):
                figure.supxlabel(_without_font(lacking), color=GREY, fontsize=NUMBER_SIZE)
                _saved(figure, path)


def _saved(figure: Figure, path: Path) -> set[str]:
    """Writes a figure; the characters that its fonts lack, of which matplotlib warns and draws boxes."""
    lacking = set[str]()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        figure.savefig(path, format="png", metadata={"Software": None})
    for one in caught:
        if match := re.match(r"Glyph (\d+) \(.* missing from font", str(one.message)):
            lacking.add(chr(int(match[1])))
        else:
            warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)
    return lacking


def _add_fonts(figure: Figure, lacking: set[str]) -> None:
    """Has a figure look for characters in those fonts of this machine that have most of them."""
    from matplotlib import font_manager, rcParams
    from matplotlib.text import Text

    wanted, families = {ord(character) for character in lacking}, list(rcParams["font.family"])
    fonts = {one.name: one for one in font_manager.fontManager.ttflist if "Last Resort" not in one.name}
    held = {name: wanted & set(font_manager.get_font(one.fname).get_charmap()) for name, one in fonts.items()}
    while wanted & held[best := max(sorted(held), key=lambda name: len(wanted & held[name]))]:
        families.append(best)
        wanted -= held[best]
    rcParams["font.family"] = families
    for text in figure.findobj(Text):
        text.set_fontfamily(families)


def _without_font(lacking: set[str]) -> str:
    r"""What a figure says of the characters that it shows as boxes.

    >>> _without_font({"भ", "य", "情"})
    'no font of this machine shows these characters; the tables have them\nCJK: 1, Devanagari: 2'
    """
    scripts = Counter(unicodedata.name(one, "unknown script").split()[0] for one in lacking)
    named = [f"{name if name == 'CJK' else name.title()}: {count}" for name, count in sorted(scripts.items())]
    return "no font of this machine shows these characters; the tables have them\n" + ", ".join(named)


def draw_cell(axes: Axes, column: int, row: int, share: float, text: str, size: float = 11) -> None:
    """Draws a cell of a heat map, the darker the greater its share, with a text that stays readable."""
    from matplotlib.patches import Rectangle

    cell = Rectangle((column - 0.47, row - 0.45), 0.94, 0.9, facecolor=BLUE, alpha=0.12 + 0.88 * share)
    axes.add_artist(cell)
    color = "white" if share > 0.6 else "black"
    shown = axes.text(column, row, text, ha="center", va="center", color=color, fontsize=size)
    for inside in (cell, shown):
        inside.set_in_layout(False)  # measuring each would take longer than drawing all


def name_rows(axes: Axes, names: Sequence[str]) -> None:
    """Names the rows, the first at the top."""
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)


def name_columns(axes: Axes, names: Sequence[str]) -> None:
    """Names the columns of a heat map, and draws no lines around it."""
    axes.set_xlim(-0.55, len(names) - 0.45)
    axes.set_xticks(range(len(names)), names, rotation=40, ha="right")
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
