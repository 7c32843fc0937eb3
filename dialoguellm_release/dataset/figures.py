"""The figures of a dataset card: counts as pictures, the same bytes each time, none with text of a corpus."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dialoguellm_release.corpora.registry import corpus_entry
from dialoguellm_release.errors import MissingExtraError
from dialoguellm_release.schemas.claims import ClaimsRecipe
from dialoguellm_release.schemas.labels import CORPORA, CorpusName, Label
from dialoguellm_release.schemas.manifest import (
    FIGURE_FILES,
    DatasetFigures,
    DatasetManifest,
    SplitStatistics,
    Spread,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_BLUE, _ORANGE, _GREY, _PALE_BLUE = "#0072B2", "#E69F00", "#595959", "#CCE3F0"
_LOOKS: tuple[dict[str, Any], ...] = (
    {"color": _BLUE},
    {"color": "white", "edgecolor": _ORANGE, "hatch": "////"},
)
"""Colours of Okabe and Ito, which colour-blind readers tell apart, and hatching for who sees none."""

_STYLE: dict[Any, object] = {
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
_NUMBER_SIZE = 9.5


@dataclass(frozen=True)
class _Bars:
    """One bar a row; None where there is none, and what then stands in its place."""

    name: str
    values: Sequence[float | None]
    absent: str


def write_figures(folder: Path, manifest: DatasetManifest, claims: ClaimsRecipe | None) -> None:
    """Writes the figures of a dataset folder.

    Args:
        claims: The paper's figures, drawn beside the built ones; None for none.

    Raises:
        MissingExtraError: The extra `figures` is not installed.
    """
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("figures", "matplotlib") from error

    figures = manifest.figures
    origin = "Synthetic data. " if manifest.recipe.resolved["synthetic"] else ""
    (folder / FIGURE_FILES[0]).parent.mkdir()
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)
        for path, (title, rows, draw) in zip(FIGURE_FILES, _drawings(figures, claims), strict=True):
            figure = Figure(figsize=(8, 1.4 + 0.33 * rows), layout="constrained")
            axes = figure.subplots()
            axes.set_title(f"{origin}{title}", pad=10)
            draw(axes)
            figure.savefig(folder / path, format="png", metadata={"Software": None})


def _drawings(
    figures: DatasetFigures, claims: ClaimsRecipe | None
) -> list[tuple[str, int, Callable[[Axes], None]]]:
    """Title, height in rows and drawing of each figure, in the order of the files."""
    labels = figures.training_labels
    corpora = [name for name in CORPORA if name in figures.training_dialogues or name in _claimed(claims)]
    training = {name: splits["train"] for name, splits in figures.statistics.items() if "train" in splits}
    bars = 2 if claims else 1
    return [
        (
            "Training dialogues per corpus",
            bars * len(corpora),
            lambda axes: _draw_corpora(axes, corpora, figures.training_dialogues, _claimed(claims)),
        ),
        (
            "Share of each label in the training records",
            bars * len(labels),
            lambda axes: _draw_labels(axes, labels, claims.label_percentages if claims else {}),
        ),
        (
            "Utterances per training dialogue",
            2 * len(training),
            lambda axes: _draw_lengths(axes, training, lambda one: one.dialogue_lengths),
        ),
        (
            "Words per training utterance",
            2 * len(training),
            lambda axes: _draw_lengths(axes, training, lambda one: one.utterance_lengths),
        ),
        (
            "Label spaces, and shares of training records",
            2 * len(figures.corpora) + 2,
            lambda axes: _draw_label_spaces(axes, figures),
        ),
    ]


def _draw_corpora(
    axes: Axes,
    corpora: Sequence[CorpusName],
    built: Mapping[CorpusName, int],
    claimed: Mapping[CorpusName, int],
) -> None:
    bars = [_Bars("this build", [built.get(name) for name in corpora], "not built")]
    if claimed:
        values = [claimed.get(name) for name in corpora]
        bars.append(_Bars("the paper", values, "none printed"))
    _draw_bars(
        axes, _titles(corpora), bars, lambda value, total: f"{value:,.0f} ({100 * value / total:.1f} %)"
    )


def _draw_labels(axes: Axes, built: Mapping[Label, int], claimed: Mapping[Label, float]) -> None:
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
    _name_rows(axes, rows)
    axes.margins(x=0.22)
    axes.set_xlim(left=0)
    axes.set_xticks([])
    axes.spines["bottom"].set_visible(False)
    if len(bars) > 1:
        axes.legend(loc="lower right")


def _draw_lengths(
    axes: Axes,
    training: Mapping[CorpusName, SplitStatistics],
    lengths_of: Callable[[SplitStatistics], Spread],
) -> None:
    """A box plot a corpus."""
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
        boxprops={"facecolor": _PALE_BLUE, "edgecolor": _BLUE},
        medianprops={"color": "black", "linewidth": 2},
        whiskerprops={"color": _BLUE},
        capprops={"color": _BLUE},
    )
    for row, one in enumerate(spreads):
        _write(axes, one.p95, row, f" median {one.median}, longest {one.maximum}")
    _name_rows(axes, _titles(training))
    axes.set_xlim(0, 1.4 * max((one.p95 for one in spreads), default=1))
    axes.set_xlabel("box: middle half, line: median, whiskers: 5th to 95th percentile", color=_GREY)


def _draw_label_spaces(axes: Axes, figures: DatasetFigures) -> None:
    """A cell for each label of a label space, the darker the more of the training records have it."""
    labels = list(figures.training_labels)
    for row, corpus in enumerate(figures.corpora.values()):
        counts = corpus.labels.get("train", {})
        records = sum(counts.values())
        for label in corpus.label_space:
            share = counts.get(label, 0) / records if records else 0
            column = labels.index(label)
            axes.barh(row, 0.94, 0.9, column - 0.47, color=_BLUE, alpha=0.12 + 0.88 * share)
            color = "white" if share > 0.6 else "black"
            axes.text(column, row, f"{100 * share:.1f}", ha="center", va="center", color=color)
    _name_rows(axes, _titles(figures.corpora))
    axes.set_xlim(-0.55, len(labels) - 0.45)
    axes.set_xticks(range(len(labels)), labels, rotation=40, ha="right")
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    axes.set_xlabel(
        "percent of the corpus's training records; no cell: not a label of the corpus", color=_GREY
    )


def _write(axes: Axes, x: float, y: float, text: str) -> None:
    """Text just right of a point."""
    axes.annotate(
        text, (x, y), (4, 0), textcoords="offset points", va="center_baseline", fontsize=_NUMBER_SIZE
    )


def _name_rows(axes: Axes, names: Sequence[str]) -> None:
    """The names of the rows, the first at the top."""
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)


def _claimed(claims: ClaimsRecipe | None) -> dict[CorpusName, int]:
    """Training dialogues per corpus, as the paper prints them."""
    corpora = claims.corpora if claims else {}
    return {name: splits["train"].dialogues for name, splits in corpora.items() if "train" in splits}


def _titles(corpora: Sequence[CorpusName] | Mapping[CorpusName, object]) -> list[str]:
    return [corpus_entry(name).title for name in corpora]
