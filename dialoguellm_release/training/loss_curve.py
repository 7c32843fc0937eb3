"""The loss curve of a training, as the card shows it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dialoguellm_release.errors import MissingExtraError
from dialoguellm_release.schemas.manifests import LOSS_FIGURE
from dialoguellm_release.training.watch import LogEntry


def write_loss_curve(folder: Path, log: Sequence[LogEntry]) -> None:
    """Writes the picture of training and validation loss over the steps; the same log, the same bytes.

    Raises:
        MissingExtraError: The extra `figures` is not installed.
    """
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("figures", "matplotlib") from error

    path = folder / LOSS_FIGURE
    path.parent.mkdir()
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        figure = Figure(figsize=(7, 3.5), dpi=120, layout="constrained")
        axes = figure.subplots()
        for key, name, color, line in (
            ("loss", "training", "#0072B2", "-"),
            ("eval_loss", "validation", "#E69F00", "o--"),
        ):
            entries = [entry for entry in log if key in entry]
            if entries:
                steps, losses = [entry["step"] for entry in entries], [entry[key] for entry in entries]
                axes.plot(steps, losses, line, color=color, label=name)
        axes.set(xlabel="step", ylabel="loss per token of the answer")
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False)
        figure.savefig(path, metadata={"Software": None})
