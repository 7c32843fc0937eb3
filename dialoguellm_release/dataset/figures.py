"""The figures of a dataset card."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dialoguellm_release.corpora.registry import title_of
from dialoguellm_release.layout import FIGURE_FILES
from dialoguellm_release.render.figure_style import (
    BLUE,
    GREY,
    NUMBER_SIZE,
    ORANGE,
    PALE_BLUE,
    draw_cell,
    drawing,
    name_columns,
    name_rows,
)
from dialoguellm_release.schemas.audit import Agreement
from dialoguellm_release.schemas.claims import ClaimsRecipe
from dialoguellm_release.schemas.counts import SplitStatistics, Spread
from dialoguellm_release.schemas.dataset_manifest import DatasetFigures
from dialoguellm_release.schemas.labels import CorpusName, Label

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


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
        axes, _titles(corpora), bars, lambda value, total: f"{value:,.0f} ({100 * value / total:.1f} %)"
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
    name_rows(axes, _titles(training))
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
    name_rows(axes, _titles(figures.corpora))
    name_columns(axes, labels)
    axes.set_xlabel(
        "percent of the corpus's training records; no cell: not a label of the corpus", color=GREY
    )


def _write(axes: Axes, x: float, y: float, text: str) -> None:
    """Text just right of a point."""
    axes.annotate(
        text, (x, y), (4, 0), textcoords="offset points", va="center_baseline", fontsize=NUMBER_SIZE
    )


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
        first, second = _titles([one.first, one.second])
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


@dataclass(frozen=True)
class _Drawing:
    """A figure to draw; one of no rows has nothing to show."""

    rows: int
    draw: Callable[[Figure], None]


def write_figures(
    folder: Path, figures: DatasetFigures, claims: ClaimsRecipe | None, *, synthetic: bool
) -> None:
    """Writes the figures of a dataset folder.

    Args:
        claims: The paper's figures, drawn beside the built ones; None for none.

    Raises:
        MissingExtraError: The extra `figures` is not installed.
    """
    origin = "Synthetic data. " if synthetic else ""
    for path, one in zip(FIGURE_FILES, _drawings(figures, claims, origin), strict=True):
        if one.rows:
            with drawing(folder / path, 8, 1.4 + 0.33 * one.rows) as figure:
                one.draw(figure)


def _drawings(figures: DatasetFigures, claims: ClaimsRecipe | None, origin: str) -> list[_Drawing]:
    """The figures in the order of the files."""
    labels, claimed = figures.training_labels, _claimed(claims)
    corpora = list(dict.fromkeys((*figures.training_dialogues, *claimed)))
    training = {name: splits["train"] for name, splits in figures.statistics.items() if "train" in splits}
    agreements = [one for one in figures.audit.agreement if one.utterances] if figures.audit else []
    bars = 2 if claims else 1

    def titled(title: str, rows: int, draw: Callable[[Axes], None]) -> _Drawing:
        def draw_on(figure: Figure) -> None:
            axes = figure.subplots()
            axes.set_title(f"{origin}{title}", pad=10)
            draw(axes)

        return _Drawing(rows, draw_on)

    return [
        titled(
            "Training dialogues per corpus",
            bars * len(corpora),
            lambda axes: draw_corpora(axes, corpora, figures.training_dialogues, claimed),
        ),
        titled(
            "Share of each label in the training records",
            bars * len(labels),
            lambda axes: draw_labels(axes, labels, claims.label_percentages if claims else {}),
        ),
        titled(
            "Utterances per training dialogue",
            2 * len(training),
            lambda axes: draw_lengths(axes, training, lambda one: one.dialogue_lengths),
        ),
        titled(
            "Words per training utterance",
            2 * len(training),
            lambda axes: draw_lengths(axes, training, lambda one: one.utterance_lengths),
        ),
        titled(
            "Label spaces, and shares of training records",
            2 * len(figures.corpora) + 2,
            lambda axes: draw_label_spaces(axes, figures),
        ),
        _Drawing(agreement_rows(agreements), lambda figure: draw_agreements(figure, agreements, origin)),
    ]


def _claimed(claims: ClaimsRecipe | None) -> dict[CorpusName, int]:
    """Training dialogues per corpus, as the paper prints them."""
    corpora = claims.corpora if claims else {}
    return {name: splits["train"].dialogues for name, splits in corpora.items() if "train" in splits}


def _titles(corpora: Sequence[CorpusName] | Mapping[CorpusName, object]) -> list[str]:
    return [title_of(name) for name in corpora]
