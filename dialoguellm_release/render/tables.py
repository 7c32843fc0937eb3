"""One table type, written for a terminal, as Markdown, CSV or LaTeX."""

from __future__ import annotations

import csv
import html
import io
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

Align = Literal["left", "right"]
Format = Literal["text", "markdown", "csv", "latex"]

_LATEX = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        **{character: f"\\{character}" for character in "&%$#_{}"},
    }
)

GAP = 2
"""Spaces between two columns on a terminal."""


@dataclass(frozen=True)
class Column:
    """A column of a table."""

    header: str
    align: Align = "left"


class Table:
    """Rows of text below a header, which is a `Column` where its cells are not aligned to the left."""

    def __init__(self, columns: Iterable[str | Column], rows: Iterable[Sequence[str]]) -> None:
        self.columns = tuple(Column(one) if isinstance(one, str) else one for one in columns)
        self.rows = tuple(tuple(row) for row in rows)
        if any(len(row) != len(self.columns) for row in self.rows):
            raise ValueError(f"a row does not have {len(self.columns)} cells")

    @property
    def header(self) -> tuple[str, ...]:
        """The headers of the columns."""
        return tuple(column.header for column in self.columns)

    def written(self, form: Format) -> str:
        """The table in a format by its name."""
        ways = {"text": self.text, "markdown": self.markdown, "csv": self.csv, "latex": self.latex}
        return ways[form]()

    def text(self, width: int | None = None) -> str:
        """The table for a terminal: cells are wrapped between words, and no line is longer than `width`.

        Where the columns do not fit beside each other, each row becomes a block with one line per column.
        """
        available = width or terminal_width()
        widths = self._widths(available)
        if widths is not None:
            return _laid_out(self.columns, widths, [self.header, *self.rows])
        return "\n\n".join(self._block(row, available) for row in self.rows)

    def __str__(self) -> str:
        return self.text()

    def markdown(self) -> str:
        """The table in GitHub's Markdown."""
        rules = ["---:" if column.align == "right" else "---" for column in self.columns]
        return "\n".join(map(markdown_row, [self.header, rules, *self.rows]))

    def csv(self) -> str:
        """The table as CSV with a header, without a line break at the end."""
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([self.header, *self.rows])
        return text.getvalue().removesuffix("\n")

    def latex(self) -> str:
        """The table as a LaTeX `tabular` that needs no package."""
        rows = ([cell.translate(_LATEX) for cell in row] for row in (self.header, *self.rows))
        header, *body = (" & ".join(row) + r" \\" for row in rows)
        begin = rf"\begin{{tabular}}{{{''.join(column.align[0] for column in self.columns)}}}"
        return "\n".join([begin, r"\hline", header, r"\hline", *body, r"\hline", r"\end{tabular}"])

    def html(self) -> str:
        """The table as HTML, as a notebook shows it."""

        def line(tag: str, cells: Sequence[str]) -> str:
            return f"<tr>{''.join(f'<{tag}>{html.escape(cell)}</{tag}>' for cell in cells)}</tr>"

        body = "".join(line("td", row) for row in self.rows)
        return f"<table><thead>{line('th', self.header)}</thead><tbody>{body}</tbody></table>"

    def _repr_html_(self) -> str:
        return self.html()

    def _widths(self, available: int) -> list[int] | None:
        """Widths of the columns that fit, the widest shortened first; None where a word would be broken."""
        columns = list(zip(self.header, *self.rows, strict=True))
        widths = [max(map(_cells, column)) for column in columns]
        least = [max(map(_longest_word, column)) for column in columns]
        available -= GAP * (len(columns) - 1)
        while sum(widths) > available:
            widest = max(
                (index for index in range(len(widths)) if widths[index] > least[index]),
                key=lambda index: widths[index],
                default=None,
            )
            if widest is None:
                return None
            widths[widest] -= 1
        return widths

    def _block(self, row: Sequence[str], available: int) -> str:
        names = max(map(_cells, self.header))
        widths = [names, max(1, available - names - GAP, *map(_longest_word, row))]
        return _laid_out([Column(""), Column("")], widths, list(zip(self.header, row, strict=True)))


def terminal_width() -> int:
    """The width of the terminal, `COLUMNS` where it is set, or 80."""
    return shutil.get_terminal_size((80, 24)).columns


def _laid_out(columns: Sequence[Column], widths: Sequence[int], rows: Sequence[Sequence[str]]) -> str:
    from rich.console import Console
    from rich.table import Table as Grid
    from rich.text import Text

    grid = Grid.grid(padding=(0, GAP, 0, 0), pad_edge=False)
    for column, width in zip(columns, widths, strict=True):
        grid.add_column(justify=column.align, width=width, overflow="fold")
    for row in rows:
        grid.add_row(*map(Text, row))
    total = max(sum(widths) + GAP * len(widths), 1)
    console = Console(file=io.StringIO(), width=total, color_system=None, legacy_windows=False)
    with console.capture() as captured:
        console.print(grid)
    return "\n".join(line.rstrip() for line in captured.get().rstrip("\n").split("\n"))


def _cells(text: str) -> int:
    """The width of a text on a terminal; wide characters take two cells."""
    from rich.cells import cell_len

    return max(map(cell_len, text.split("\n")))


def _longest_word(text: str) -> int:
    return max(map(_cells, text.split()), default=0)


def markdown_row(cells: Iterable[object]) -> str:
    """A line of a table in GitHub's Markdown.

    >>> markdown_row(["label", 3])
    '| label | 3 |'
    """
    texts = (" ".join(str(cell).split()).replace("|", r"\|") for cell in cells)
    return f"| {' | '.join(texts)} |"
