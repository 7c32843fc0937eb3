"""Figures in tests: sketched, as drawing them takes longer than the rest of a small build, or in full."""

from __future__ import annotations

import hashlib
import io
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from dialoguellm_release.dataset import figures as dataset_figures
from dialoguellm_release.render import figure_style
from dialoguellm_release.scoring import figures as score_figures

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.figure import Figure

_drawn = figure_style._saved
_writers: dict[str, Callable[..., None]] = {
    "dialoguellm_release.dataset.figures.write_figures": dataset_figures.write_figures,
    "dialoguellm_release.scoring.folder.write_figures": score_figures.write_figures,
}


@contextmanager
def figures_sketched() -> Iterator[None]:
    """Figures are sketched, see `_sketched`; those of equal contents once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(figure_style, "_saved", _sketched)
        for name, write in _writers.items():
            patch.setattr(name, _remembered(write))
        yield


@contextmanager
def figures_in_full() -> Iterator[None]:
    """Figures are drawn as users get them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(figure_style, "_saved", _drawn)
        for name, write in _writers.items():
            patch.setattr(name, write)
        yield


def _remembered(write: Callable[..., None]) -> Callable[..., None]:
    """Writes figures; what was asked for before in this process is copied."""
    kept: dict[str, dict[str, bytes]] = {}

    def written(folder: Path, *of: object, **more: Any) -> None:
        if sys.modules.get("matplotlib", write) is None:  # a test has taken it away
            write(folder, *of, **more)
        key = repr((of, more))
        if key not in kept:
            with tempfile.TemporaryDirectory() as made:
                write(Path(made), *of, **more)
                files = [path for path in Path(made).rglob("*") if path.is_file()]
                kept[key] = {str(path.relative_to(made)): path.read_bytes() for path in files}
        for name, content in kept[key].items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(content)

    return written


def _sketched(figure: Figure, path: Path) -> set[str]:
    """Writes a picture of one point for a figure, with a hash of every text and shape that is on it.

    What is on a figure decides the bytes of the file, as when it is drawn; no character lacks a font.
    """
    from PIL import Image, PngImagePlugin

    hashed = hashlib.sha256("\n".join(map(_described, figure.findobj())).encode()).hexdigest()
    told = PngImagePlugin.PngInfo()
    told.add_text("content", hashed)
    sink = io.BytesIO()
    Image.new("L", (1, 1)).save(sink, "png", pnginfo=told)
    path.write_bytes(sink.getvalue())
    return set()


def _described(artist: Artist) -> str:
    """An artist's kind, and the text or the places that it shows."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch
    from matplotlib.text import Text

    shown: object = None
    if isinstance(artist, Text):
        shown = artist.get_text(), artist.get_position()
    elif isinstance(artist, Line2D):
        shown = artist.get_path(), artist.get_color()
    elif isinstance(artist, Patch):
        shown = artist.get_path(), artist.get_extents().bounds, artist.get_facecolor()
    return f"{type(artist).__name__}: {shown}"
