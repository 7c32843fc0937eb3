"""The loss curve of a training, as the card shows it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dialoguellm_release.render.figure_style import BLUE, ORANGE, drawing
from dialoguellm_release.schemas.manifests import LOSS_FIGURE
from dialoguellm_release.training.watch import LogEntry


def write_loss_curve(folder: Path, log: Sequence[LogEntry]) -> None:
    """Writes the picture of training and validation loss over the steps; the same log, the same bytes.

    Raises:
        MissingExtraError: The extra `figures` is not installed.
    """
    with drawing(folder / LOSS_FIGURE, 7, 3.5) as figure:
        axes = figure.subplots()
        for key, name, color, line in (
            ("loss", "training", BLUE, "-"),
            ("eval_loss", "validation", ORANGE, "o--"),
        ):
            entries = [entry for entry in log if key in entry]
            if entries:
                steps, losses = [entry["step"] for entry in entries], [entry[key] for entry in entries]
                axes.plot(steps, losses, line, color=color, label=name)
        axes.set(xlabel="step", ylabel="loss per token of the answer")
        axes.legend()
