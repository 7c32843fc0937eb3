"""Predictions as rows and as a table for a terminal, and what they may be used for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from dialoguellm_release.render.tables import Column, Table

LIMITS_OF_USE = (
    "Limits of use: a label is a guess from text, not what a person feels, and no diagnosis. The model knows "
    "the corpora on its card alone, which are often scripted TV dialogue. The EU AI Act (Regulation (EU) "
    "2024/1689, article 5) prohibits inferring emotions of people at work and in education, but for medical "
    "or safety reasons; other uses need a lawful ground. Make no decision about people with it."
)
"""The one text of the limits: on stderr, in the help and in the metadata of output."""

_COLUMNS = "line conversation turn speaker text start_s end_s label margin reason"
FIXED_COLUMNS = tuple(_COLUMNS.split())
"""The columns of predictions before the probability of each label."""


def probability_column(label: str) -> str:
    """The name of the column that has the probability of a label.

    >>> probability_column("anger")
    'p_anger'
    """
    return f"p_{label}"


def columns_of(labels: Sequence[str]) -> tuple[str, ...]:
    """The columns of predictions over some labels."""
    return (*FIXED_COLUMNS, *map(probability_column, labels))


def predictions_table(rows: Iterable[Mapping[str, Any]]) -> Table:
    """Predictions for a terminal: what is said, the label, its probability and the margin."""
    held = list(rows)
    optional = [
        Column(name, "left" if name == "speaker" else "right")
        for name in ("conversation", "start_s", "speaker")
        if len({row[name] for row in held}) > 1 or (name != "conversation" and any(row[name] for row in held))
    ]
    shown = [*optional, Column("text"), Column("label"), Column("probability", "right")]
    return Table([*shown, Column("margin", "right")], [_cells(row, optional) for row in held])


def _cells(row: Mapping[str, Any], optional: Sequence[Column]) -> list[str]:
    first = ["" if row[column.header] is None else str(row[column.header]) for column in optional]
    if row["label"] is None:
        return [*first, row["text"], f"({row['reason']})", "", ""]
    shares = (row.get(probability_column(row["label"])), row["margin"])
    return [*first, row["text"], row["label"], *("" if one is None else f"{one:.2f}" for one in shares)]
