"""The figures of a dataset card: counts as pictures, the same bytes each time, none with text of a corpus."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dialoguellm_release.dataset.figure_agreement import agreement_rows, draw_agreements
from dialoguellm_release.dataset.figure_counts import (
    draw_corpora,
    draw_label_spaces,
    draw_labels,
    draw_lengths,
)
from dialoguellm_release.dataset.figure_style import STYLE
from dialoguellm_release.errors import MissingExtraError
from dialoguellm_release.layout import FIGURE_FILES
from dialoguellm_release.schemas.claims import ClaimsRecipe
from dialoguellm_release.schemas.dataset_manifest import DatasetFigures, DatasetManifest
from dialoguellm_release.schemas.labels import CORPORA, CorpusName

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class _Drawing:
    """A figure to draw; one of no rows has nothing to show."""

    rows: int
    draw: Callable[[Figure], None]


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

    origin = "Synthetic data. " if manifest.recipe.resolved["synthetic"] else ""
    (folder / FIGURE_FILES[0]).parent.mkdir()
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        for path, drawing in zip(FIGURE_FILES, _drawings(manifest.figures, claims, origin), strict=True):
            if drawing.rows:
                figure = Figure(figsize=(8, 1.4 + 0.33 * drawing.rows), layout="constrained")
                drawing.draw(figure)
                figure.savefig(folder / path, format="png", metadata={"Software": None})


def _drawings(figures: DatasetFigures, claims: ClaimsRecipe | None, origin: str) -> list[_Drawing]:
    """The figures in the order of the files."""
    labels, claimed = figures.training_labels, _claimed(claims)
    corpora = [name for name in CORPORA if name in figures.training_dialogues or name in claimed]
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
