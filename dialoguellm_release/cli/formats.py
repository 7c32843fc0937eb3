"""A table as aligned text, Markdown, LaTeX or CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence

import typer

from dialoguellm_release.cli import output

Rows = Sequence[tuple[str, ...]]


def check_format(name: str) -> None:
    """Refuses what is no format."""
    if name not in FORMATS:
        raise typer.BadParameter(f"--format: {name} is none of {', '.join(FORMATS)}")


def written(rows: Rows, form: str) -> str:
    """Rows, of which the first is the header, in a format by its name."""
    return FORMATS[form](rows)


def _text(rows: Rows) -> str:
    return output.table(list(rows))


def _markdown(rows: Rows) -> str:
    from dialoguellm_release.cards.markdown import table

    return table(rows[0], rows[1:])


def _csv(rows: Rows) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().removesuffix("\n")


def _latex(rows: Rows) -> str:
    """A `tabular` that needs no package."""
    header, *body = (" & ".join(map(_escaped, row)) + r" \\" for row in rows)
    begin = rf"\begin{{tabular}}{{{'l' * len(rows[0])}}}"
    return "\n".join([begin, r"\hline", header, r"\hline", *body, r"\hline", r"\end{tabular}"])


def _escaped(text: str) -> str:
    r"""Text as LaTeX shows it.

    >>> _escaped("100 % of a_b")
    '100 \\% of a\\_b'
    """
    return text.translate(_LATEX)


_LATEX = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        **{character: f"\\{character}" for character in "&%$#_{}"},
    }
)
FORMATS: dict[str, Callable[[Rows], str]] = {
    "text": _text,
    "markdown": _markdown,
    "latex": _latex,
    "csv": _csv,
}
