"""Figures of counts: bars beside the paper's, box plots of lengths, and the label spaces."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dialoguellm_release.dataset.figure_style import (
    BLUE,
    GREY,
    NUMBER_SIZE,
    ORANGE,
    PALE_BLUE,
    draw_cell,
    name_columns,
    name_rows,
    titles,
)
from dialoguellm_release.schemas.counts import SplitStatistics, Spread
from dialoguellm_release.schemas.dataset_manifest import DatasetFigures
from dialoguellm_release.schemas.labels import CorpusName, Label

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LOOKS: tuple[dict[str, Any], ...] = (
    {"color": BLUE},
    {"color": "white", "edgecolor": ORANGE, "hatch": "////"},
)
"""Hatching is for who sees no colours."""


@dataclass(frozen=True)
class _Bars:
    """One bar a row; None where there is none, and what then stands in its place."""

    name: str
    values: Sequence[float | None]
    absent: str


def draw_corpora(
    axes: Axes,
    corpora: Sequence[CorpusName],
    built: Mapping[CorpusName, int],
    claimed: Mapping[CorpusName, int],
) -> None:
    """Draws dialogues per corpus, the paper's beside them."""
    bars = [_Bars("this build", [built.get(name) for name in corpora], "not built")]
    if claimed:
        values = [claimed.get(name) for name in corpora]
        bars.append(_Bars("the paper", values, "none printed"))
    _draw_bars(
        axes, titles(corpora), bars, lambda value, total: f"{value:,.0f} ({100 * value / total:.1f} %)"
    )


def draw_labels(axes: Axes, built: Mapping[Label, int], claimed: Mapping[Label, float]) -> None:
    """Draws the share of each label, the paper's percentages beside them."""
    records = sum(built.values()) or 1
    bars = [_Bars("this build", [100 * count / records for count in built.values()], "")]
    if claimed:
        values = [claimed.get(label) for label in built]
        bars.append(_Bars("the paper", values, "none printed"))
    _draw_bars(axes, list(built), bars, lambda value, _: f"{value:.1f} %")


def _draw_bars(
    axes: Axes, rows: Sequence[str], bars: Sequence[_Bars], as_text: Callable[[float, float], str]
) -> None:
    height = 0.8 / len(bars)
    for number, (one, look) in enumerate(zip(bars, _LOOKS, strict=False)):
        places = [row + (number - (len(bars) - 1) / 2) * height for row in range(len(rows))]
        lengths = [value or 0 for value in one.values]
        axes.barh(places, lengths, 0.88 * height, label=one.name, **look)
        for place, value in zip(places, one.values, strict=True):
            text = one.absent if value is None else as_text(value, sum(lengths))
            _write(axes, value or 0, place, text)
    name_rows(axes, rows)
    axes.margins(x=0.22)
    axes.set_xlim(left=0)
    axes.set_xticks([])
    axes.spines["bottom"].set_visible(False)
    if len(bars) > 1:
        axes.legend(loc="lower right")


def draw_lengths(
    axes: Axes,
    training: Mapping[CorpusName, SplitStatistics],
    lengths_of: Callable[[SplitStatistics], Spread],
) -> None:
    """Draws a box plot a corpus."""
    spreads = [lengths_of(one) for one in training.values()]
    axes.bxp(
        [
            {"med": one.median, "q1": one.p25, "q3": one.p75, "whislo": one.p5, "whishi": one.p95}
            for one in spreads
        ],
        positions=range(len(spreads)),
        orientation="horizontal",
        widths=0.55,
        showfliers=False,
        patch_artist=True,
        boxprops={"facecolor": PALE_BLUE, "edgecolor": BLUE},
        medianprops={"color": "black", "linewidth": 2},
        whiskerprops={"color": BLUE},
        capprops={"color": BLUE},
    )
    for row, one in enumerate(spreads):
        _write(axes, one.p95, row, f" median {one.median}, longest {one.maximum}")
    name_rows(axes, titles(training))
    axes.set_xlim(0, 1.4 * max((one.p95 for one in spreads), default=1))
    axes.set_xlabel("box: middle half, line: median, whiskers: 5th to 95th percentile", color=GREY)


def draw_label_spaces(axes: Axes, figures: DatasetFigures) -> None:
    """Draws a cell for each label of a label space, the darker the more of the training records have it."""
    labels = list(figures.training_labels)
    for row, corpus in enumerate(figures.corpora.values()):
        counts = corpus.labels.get("train", {})
        records = sum(counts.values())
        for label in corpus.label_space:
            share = counts.get(label, 0) / records if records else 0
            draw_cell(axes, labels.index(label), row, share, f"{100 * share:.1f}")
    name_rows(axes, titles(figures.corpora))
    name_columns(axes, labels)
    axes.set_xlabel(
        "percent of the corpus's training records; no cell: not a label of the corpus", color=GREY
    )


def _write(axes: Axes, x: float, y: float, text: str) -> None:
    """Text just right of a point."""
    axes.annotate(
        text, (x, y), (4, 0), textcoords="offset points", va="center_baseline", fontsize=NUMBER_SIZE
    )
