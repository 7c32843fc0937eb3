"""The figures of a dataset card."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from heapq import nlargest
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dialoguellm_release.corpora.registry import title_of
from dialoguellm_release.layout import AGREEMENT_FIGURE, COUNT_FIGURES
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
from dialoguellm_release.schemas.audit import Agreement, Spread
from dialoguellm_release.schemas.claims import ClaimsRecipe
from dialoguellm_release.schemas.dataset_manifest import DatasetFigures
from dialoguellm_release.schemas.labels import CorpusName

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    Drawn = tuple[int, Callable[[Axes], None]]
    """The height of a figure in rows, and what draws it."""

_LOOKS: tuple[dict[str, Any], ...] = (
    {"color": BLUE},
    {"color": "white", "edgecolor": ORANGE, "hatch": "////"},
)
"""Hatching is for readers who see no colours."""

_HEADING_ROWS = 4
"""The height of a panel's title and column names, in rows."""

_MOST_PANELS = 15
"""The pairs of six corpora; a picture of all pairs of twenty is 80,000 pixels high."""


def write_figures(
    folder: Path,
    figures: DatasetFigures,
    claims: ClaimsRecipe | None,
    *,
    synthetic: bool,
    titles: Mapping[CorpusName, str] | None = None,
) -> None:
    """Writes the figures of a dataset folder; one that would be empty is left out."""
    origin = "Synthetic data. " if synthetic else ""

    def named(name: CorpusName) -> str:
        return (titles or {}).get(name) or title_of(name)

    training = {name: splits["train"] for name, splits in figures.statistics.items() if "train" in splits}
    drawn: tuple[tuple[str, Drawn], ...] = (
        ("Training dialogues per corpus", _dialogues(figures, claims, named)),
        ("Share of each label in the training records", _label_shares(figures, claims)),
        (
            "Utterances per training dialogue",
            _lengths({named(name): one.dialogue_lengths for name, one in training.items()}),
        ),
        (
            "Words per training utterance",
            _lengths({named(name): one.utterance_lengths for name, one in training.items()}),
        ),
        ("Label spaces, and shares of training records", _label_spaces(figures, named)),
    )
    for path, (title, (rows, draw)) in zip(COUNT_FIGURES, drawn, strict=True):
        if rows:
            with drawing(folder / path, 8, _height(rows)) as figure:
                axes = figure.subplots()
                axes.set_title(f"{origin}{title}", pad=10)
                draw(axes)
    shared = [one for one in figures.audit.agreement if one.utterances] if figures.audit else []
    if shared:
        most = nlargest(_MOST_PANELS, shared, key=attrgetter("utterances"))
        agreements = [one for one in shared if one in most]
        heights = [_HEADING_ROWS + len(one.counts) for one in agreements]
        with drawing(folder / AGREEMENT_FIGURE, 8, _height(sum(heights))) as figure:
            if len(shared) > len(agreements):
                what = f"The {len(agreements)} pairs of corpora with most in common, of {len(shared)}"
                figure.suptitle(what)
            panels = figure.subplots(len(agreements), 1, squeeze=False, height_ratios=heights)
            for axes, one in zip(panels[:, 0], agreements, strict=True):
                _draw_agreement(axes, one, origin, (named(one.first), named(one.second)))


def _height(rows: int) -> float:
    return 1.4 + 0.33 * rows


def _dialogues(
    figures: DatasetFigures, claims: ClaimsRecipe | None, named: Callable[[CorpusName], str]
) -> Drawn:
    """Dialogues per corpus, the paper's beside them."""
    corpora = claims.corpora if claims else {}
    claimed = {name: splits["train"].dialogues for name, splits in corpora.items() if "train" in splits}
    built = figures.training_dialogues
    names = list(dict.fromkeys((*built, *claimed)))
    bars = {"this build": [built.get(name) for name in names]}
    if claimed:
        bars["the paper"] = [claimed.get(name) for name in names]
    return _bars(
        [named(name) for name in names],
        bars,
        lambda value, total: f"{value:,.0f} ({100 * value / total:.1f} %)",
    )


def _label_shares(figures: DatasetFigures, claims: ClaimsRecipe | None) -> Drawn:
    """The share of each label, the paper's percentages beside them."""
    built, claimed = figures.training_labels, claims.label_percentages if claims else {}
    records = sum(built.values()) or 1
    bars: dict[str, list[float | None]] = {"this build": [100 * one / records for one in built.values()]}
    if claimed:
        bars["the paper"] = [claimed.get(label) for label in built]
    return _bars(list(built), bars, lambda value, _: f"{value:.1f} %")


def _bars(
    rows: Sequence[str], bars: Mapping[str, Sequence[float | None]], as_text: Callable[[float, float], str]
) -> Drawn:
    """Groups of bars, by the name of their kind; None where there is none."""

    def draw(axes: Axes) -> None:
        height = 0.8 / len(bars)
        for number, ((name, values), look) in enumerate(zip(bars.items(), _LOOKS, strict=False)):
            places = [row + (number - (len(bars) - 1) / 2) * height for row in range(len(rows))]
            lengths = [value or 0 for value in values]
            axes.barh(places, lengths, 0.88 * height, label=name, **look)
            absent = "none printed" if number else "not built"
            for place, value in zip(places, values, strict=True):
                _write(axes, value or 0, place, absent if value is None else as_text(value, sum(lengths)))
        name_rows(axes, rows)
        axes.margins(x=0.22)
        axes.set_xlim(left=0)
        axes.set_xticks([])
        axes.spines["bottom"].set_visible(False)
        if len(bars) > 1:
            axes.legend(loc="lower right")

    return len(bars) * len(rows), draw


def _lengths(spreads: Mapping[str, Spread]) -> Drawn:
    """A box plot a corpus, by its title."""

    def draw(axes: Axes) -> None:
        axes.bxp(
            [
                {"med": one.median, "q1": one.p25, "q3": one.p75, "whislo": one.p5, "whishi": one.p95}
                for one in spreads.values()
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
        for row, one in enumerate(spreads.values()):
            _write(axes, one.p95, row, f" median {one.median}, longest {one.maximum}")
        name_rows(axes, list(spreads))
        axes.set_xlim(0, 1.4 * max(one.p95 for one in spreads.values()))
        axes.set_xlabel("box: middle half, line: median, whiskers: 5th to 95th percentile", color=GREY)

    return 2 * len(spreads), draw


def _label_spaces(figures: DatasetFigures, named: Callable[[CorpusName], str]) -> Drawn:
    """A cell for each label of a label space, the darker the more of the training records have it."""
    labels = list(figures.training_labels)

    def draw(axes: Axes) -> None:
        for row, corpus in enumerate(figures.corpora.values()):
            counts = corpus.labels.get("train", {})
            records = sum(counts.values()) or 1
            for label in corpus.label_space:
                share = counts.get(label, 0) / records
                draw_cell(axes, labels.index(label), row, share, f"{100 * share:.1f}")
        name_rows(axes, [named(name) for name in figures.corpora])
        name_columns(axes, labels)
        what = "percent of the corpus's training records; no cell: not a label of the corpus"
        axes.set_xlabel(what, color=GREY)

    return 2 * len(figures.corpora) + 2, draw


def _draw_agreement(axes: Axes, one: Agreement, origin: str, titles: tuple[str, str]) -> None:
    """A heat map of the labels of two corpora."""
    first, second = titles
    kappa = "" if one.kappa is None else f", kappa {one.kappa:.2f}"
    axes.set_title(f"{origin}{first} and {second}: {one.utterances:,} utterances{kappa}", pad=10)
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
    what = f"label in {second}: percent of the row, and utterances; framed: the same label"
    axes.set_xlabel(what, color=GREY)


def _write(axes: Axes, x: float, y: float, text: str) -> None:
    """Text just right of a point."""
    axes.annotate(
        text, (x, y), (4, 0), textcoords="offset points", va="center_baseline", fontsize=NUMBER_SIZE
    )
