"""Figures in any script: with a font of this machine, or a plain word that there is none."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dialoguellm_release.render.figure_style import drawing, name_columns, name_rows

if TYPE_CHECKING:
    from matplotlib.figure import Figure

pytestmark = pytest.mark.usefixtures("drawn_figures")


@pytest.fixture(autouse=True)
def _only_fonts_of_matplotlib(monkeypatch: pytest.MonkeyPatch) -> None:
    from matplotlib import font_manager

    fonts = [one for one in font_manager.fontManager.ttflist if "mpl-data" in one.fname]
    monkeypatch.setattr(font_manager.fontManager, "ttflist", fonts)


def drawn(path: Path, rows: list[str], columns: list[str]) -> Figure:
    with warnings.catch_warnings(), drawing(path, 6, 3) as figure:
        warnings.simplefilter("error")
        axes = figure.subplots()
        name_rows(axes, rows)
        name_columns(axes, columns)
    return figure


def test_no_box_is_drawn_without_a_word(tmp_path: Path) -> None:
    figure = drawn(tmp_path / "a.png", ["खुशी", "anger"], ["愤怒"])
    said = "no font of this machine shows these characters; the tables have them\nCJK: 2, Devanagari: 2"
    assert figure.get_supxlabel() == said


@pytest.mark.parametrize("name", ["anger", "радость", "χαρά", "فرح", "\u1d15"])
def test_a_script_that_a_font_here_has_is_shown(name: str, tmp_path: Path) -> None:
    """The usual font has all but the last letter, which another font that matplotlib brings has."""
    from matplotlib.text import Text

    figure = drawn(tmp_path / "a.png", [name], ["anger"])
    assert figure.get_supxlabel() == ""
    families = {tuple(text.get_fontfamily()) for text in figure.findobj(Text)}
    assert (families == {("DejaVu Sans",)}) == (name != "\u1d15")
