"""The confusion matrix as a picture: the same bytes each time."""

from __future__ import annotations

from pathlib import Path

from dialoguellm_release.errors import MissingExtraError
from dialoguellm_release.schemas.scores import ScoreFigures

CONFUSION = "figures/confusion.png"
DARK = 0.6
"""From this share of its row on, a cell is dark, and its number white."""


def write_confusion(folder: Path, figures: ScoreFigures) -> None:
    """Writes the heat map of a score folder: shade by the share of the reference, numbers by count.

    Raises:
        MissingExtraError: The extra `figures` is not installed.
    """
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("figures", "matplotlib") from error

    labels = list(figures.per_label)
    counts = figures.confusion_matrix
    has_invalid = any(row[-1] for row in counts)
    columns = [*labels, "invalid"] if has_invalid else labels
    shares = [[cell / (sum(row) or 1) for cell in row[: len(columns)]] for row in counts]
    (folder / CONFUSION).parent.mkdir()
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update({"font.family": "DejaVu Sans", "font.size": 10, "savefig.dpi": 120})
        size = 1.8 + 0.72 * len(columns)
        figure = Figure(figsize=(size + 0.6, 1.4 + 0.62 * len(labels)), layout="constrained")
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
        figure.savefig(folder / CONFUSION, format="png", metadata={"Software": None})
