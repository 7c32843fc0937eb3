"""Labelled conversations and problems as HTML; all that a visitor wrote is escaped."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from conversation import Labelled

from dialoguellm_release.errors import Problem
from dialoguellm_release.render.predictions import probability_column

COLOURS = {
    "happiness": "#7a5200",
    "anger": "#b42318",
    "fear": "#5b3cc4",
    "sadness": "#1d5fa8",
    "disgust": "#3f6b1f",
    "surprise": "#a8326b",
    "neutral": "#55606e",
    "powerful": "#93450a",
    "peaceful": "#0f6b66",
    "excitement": "#a83a0c",
    "frustration": "#7a3e3e",
    "acceptance": "#2b6b49",
}
"""White text on each has a contrast of at least 4.5 to 1."""

OTHER_COLOURS = ("#4a4e9c", "#86408c", "#2f6f8f", "#6b5b1e", "#8c3b52", "#3d6e5a")
UNSURE = "#3f4650"
NO_LABEL = "no label"

EMPTY = """<div class="emotions"><p>The emotions of the conversation appear here: a timeline for each
speaker, and every turn with its label and the probabilities of all labels.</p></div>"""


class View:
    """What is shown of a labelled conversation."""

    def __init__(self, found: Labelled) -> None:
        self._found = found
        unusual = [label for label in found.labels if label not in COLOURS]
        others = {label: OTHER_COLOURS[at % len(OTHER_COLOURS)] for at, label in enumerate(unusual)}
        self._colours = {**COLOURS, **others}

    def html(self) -> str:
        """The whole of it."""
        rows = self._found.rows
        notes = "".join(
            f'<p class="note">{escape(note[0].upper() + note[1:])}.</p>' for note in self._found.notes
        )
        turns = "".join(map(self._turn, rows))
        count = f"{len(rows)} turn{'' if len(rows) == 1 else 's'} labelled"
        return (
            f'<div class="emotions"><p class="sr-only" role="status">{count}</p>{self._legend()}'
            f"<h2>Timeline</h2>{self._timelines()}<h2>Turns</h2>{notes}<ol>{turns}</ol></div>"
        )

    def _badge(self, label: str | None, text: str) -> str:
        return f'<span class="badge" style="{self._colour(label)}">{escape(text)}</span>'

    def _colour(self, label: str | None) -> str:
        return f"--emotion:{self._colours[label] if label else UNSURE}"

    def _legend(self) -> str:
        counts = Counter(row["label"] for row in self._found.rows).most_common()
        badges = "".join(
            f"<li>{self._badge(one, f'{one or NO_LABEL}: {count}')}</li>" for one, count in counts
        )
        return f'<h2>Emotions</h2><ul class="legend">{badges}</ul>'

    def _timelines(self) -> str:
        """A timeline for each conversation."""
        found: dict[str, list[Mapping[str, Any]]] = {}
        for row in self._found.rows:
            found.setdefault(row["conversation"], []).append(row)
        if len(found) == 1:
            return self._timeline(self._found.rows)
        return "".join(
            f'<h3 dir="auto">Conversation {escape(name)}</h3>{self._timeline(rows)}'
            for name, rows in found.items()
        )

    def _timeline(self, rows: Sequence[Mapping[str, Any]]) -> str:
        """A row for each speaker, a column for each turn."""
        numbers = "".join(f'<th scope="col">{at}</th>' for at in range(1, len(rows) + 1))
        lines = ""
        for speaker in dict.fromkeys(row["speaker"] for row in rows):
            cells = (self._cell(row) if row["speaker"] == speaker else "<td></td>" for row in rows)
            lines += f'<tr><th scope="row" dir="auto">{_name(speaker)}</th>{"".join(cells)}</tr>'
        return (
            '<div class="scroll" role="region" tabindex="0" aria-label="Timeline, a row for each speaker">'
            f'<table class="timeline"><thead><tr><th scope="col">Speaker</th>{numbers}</tr></thead>'
            f"<tbody>{lines}</tbody></table></div>"
        )

    def _cell(self, row: Mapping[str, Any]) -> str:
        name = escape(row["label"] or NO_LABEL)
        return (
            f'<td class="at" style="{self._colour(row["label"])}" title="{name}">'
            f'<span aria-hidden="true">{name[:4]}</span><span class="sr-only">{name}</span></td>'
        )

    def _turn(self, row: Mapping[str, Any]) -> str:
        label, start = row["label"], row["start_s"]
        text = f"{label} {row[probability_column(label)]:.0%}" if label else row["reason"] or NO_LABEL
        when = f"<span>{_clock(start)}</span>" if start is not None else ""
        return (
            f'<li class="turn" style="{self._colour(label)}"><div class="head">'
            f'<strong dir="auto">{_name(row["speaker"])}</strong>{when}{self._badge(label, text)}</div>'
            f'<p class="said" dir="auto">{escape(row["text"])}</p>{self._shares(row)}</li>'
        )

    def _shares(self, row: Mapping[str, Any]) -> str:
        """The probability of each label, the likeliest first."""
        shares = {label: row.get(probability_column(label)) for label in self._found.labels}
        known = sorted(((share, label) for label, share in shares.items() if share is not None), reverse=True)
        lines = (
            f'<tr><th scope="row">{escape(label)}</th><td><div class="bar" style="width:{share:.1%};'
            f'{self._colour(label)}"></div></td><td>{share:.1%}</td></tr>'
            for share, label in known
        )
        table = f'<table class="shares">{"".join(lines)}</table>'
        return f"<details><summary>All probabilities</summary>{table}</details>" if known else ""


def problems(found: Iterable[Problem]) -> str:
    """What is wrong, for somebody who has no command line."""
    lines = []
    for one in found:
        details = [
            f"Expected: {one.expected}." if one.expected else "",
            f"Got: {one.got}." if one.got else "",
        ]
        if one.fix and "--" not in one.fix:
            details.append(f"To do: {one.fix}.")
        what = escape(f"{one.where}: {one.what}.")
        lines.append(f"<p><strong>{what}</strong> {escape(' '.join(filter(None, details)))}</p>")
    return f'<div class="emotions"><div class="problem" role="alert">{"".join(lines)}</div></div>'


def _name(speaker: str | None) -> str:
    return escape(speaker or "unknown")


def _clock(seconds: float) -> str:
    """A time in a recording.

    >>> _clock(3_725.4)
    '1:02:05'
    """
    minutes, second = divmod(int(seconds), 60)
    hour, minute = divmod(minutes, 60)
    return f"{hour}:{minute:02}:{second:02}" if hour else f"{minute}:{second:02}"
