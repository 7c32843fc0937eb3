"""Figures in tests: sketched, as drawing them takes longer than the rest of a small build, or in full."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dialoguellm_release.render import figure_style

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.figure import Figure

_drawn = figure_style._saved


@contextmanager
def figures_sketched() -> Iterator[None]:
    """Figures are sketched: see `_sketched`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(figure_style, "_saved", _sketched)
        yield


@contextmanager
def figures_in_full() -> Iterator[None]:
    """Figures are drawn as users get them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(figure_style, "_saved", _drawn)
        yield


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
