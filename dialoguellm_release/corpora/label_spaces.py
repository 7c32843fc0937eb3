"""The label space of data of a user's own: labels as they are, named by numbers, or mapped to others."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from dialoguellm_release.corpora.cells import Fault, one_line, table_cell
from dialoguellm_release.corpora.registry import corpus_entries
from dialoguellm_release.errors import DataError, Problem
from dialoguellm_release.schemas.labels import LABELS, Label

MAX_LABELS = 64
"""More are no label space, but a column of something else."""

_NUMBER = re.compile(r"(-?\d{1,9})(?:\.0)?", re.ASCII)
_MISSING = frozenset({"nan", "null", "n/a", "#n/a", "<na>"})
_SEPARATORS = re.compile(r"\s*[,;|/+&]\s*")


@dataclass
class UsedLabels:
    """The labels that files hold.

    Attributes:
        counts: How many utterances have each, in the order in which they come.
        first: Where each comes first.
        missing: How many utterances have none.
        lists: Where a cell is a list of labels.
    """

    counts: Counter[str] = field(default_factory=Counter)
    first: dict[str, str] = field(default_factory=dict)
    missing: int = 0
    lists: dict[str, str] = field(default_factory=dict)

    def add(self, cell: Any, where: str) -> None:
        """Takes the cell of an utterance; what is no label is left to the reader, which names its line."""
        if isinstance(cell, list) or (isinstance(cell, str) and re.fullmatch(r"\s*\[.*\]\s*", cell)):
            self.lists[where] = str(cell)
            return
        with suppress(Fault):
            label = table_cell(cell, "label")
            if not label.strip():
                self.missing += 1
            elif label.strip() == one_line(label) and len(label) <= 64:
                self.counts[label] += 1
                self.first.setdefault(label, where)


@dataclass(frozen=True)
class LabelSpace:
    """How the labels of files are read.

    Attributes:
        labels: The label space in its order.
        label_map: Every native label to the one that is meant; empty where all are kept as they are.
        dropped: Native labels that stand for none, with the reason.
        ignores_case: Whether case and outer white space mean nothing.
        counts: How many utterances have each label of the label space.
        suggested: For labels outside the canonical vocabulary, the nearest one in it.
    """

    labels: tuple[Label, ...]
    label_map: dict[str, Label]
    dropped: dict[str, str]
    ignores_case: bool
    counts: dict[Label, int]
    suggested: dict[Label, Label]


def label_space_of(used: UsedLabels, stated: Mapping[str, str], names: Sequence[str]) -> LabelSpace:
    """The label space that files and their user ask for."""
    natives, ignores_case = _natives(used.counts, names)
    if ignores_case:
        stated = {one.strip().lower(): to for one, to in stated.items()}
    named, problems = _named(natives, used, stated, names)
    problems += _several(natives, used)
    if unknown := [one for one in stated if one not in natives and one not in named.values()]:
        what, fix = f"no utterance has the label {', '.join(unknown)}", "map labels that the data has"
        problems.append(Problem("--map", what, ", ".join(natives), fix=fix, code="corpora.unknown_label"))
    if len(natives) > MAX_LABELS:
        what, fix = f"{len(natives):,} different labels", "name the column of the label with --label"
        where = next(iter(used.first.values()))
        problems.append(
            Problem(where, what, f"at most {MAX_LABELS}", fix=fix, code="corpora.too_many_labels")
        )
    if problems:
        raise DataError(problems)
    meant = {one: stated.get(one, stated.get(name, name)) for one, name in named.items()}
    dropped = {one: "stands for no label" for one, label in meant.items() if not label}
    label_map = {one: label for one, label in meant.items() if label}
    counts = Counter[Label]()
    for one, label in label_map.items():
        counts[label] += natives[one]
    order = [stated.get(name, name) for name in names] or [*(one for one in LABELS if one in counts), *counts]
    labels = tuple(dict.fromkeys(one for one in order if one))
    if outside := [label for label in counts if label not in labels]:
        what, fix = f"the data also has {', '.join(outside)}", "name every label, or map it with --map"
        raise DataError(Problem("--label-names", what, fix=fix, code="corpora.unknown_label"))
    return LabelSpace(
        labels=labels,
        label_map=label_map if any(one != label for one, label in label_map.items()) else {},
        dropped=dropped,
        ignores_case=ignores_case,
        counts={label: counts[label] for label in labels},
        suggested={label: near for label in labels if label not in LABELS and (near := nearest_label(label))},
    )


def nearest_label(label: Label) -> Label | None:
    """The canonical label that one outside the vocabulary may mean; None where none is near.

    What the bundled corpora map their own labels to are the synonyms.
    """
    known = {one: one for one in LABELS}
    for entry in corpus_entries().values():
        words = {
            **entry.label_map,
            **{one: entry.label_map.get(to, to) for one, to in entry.spellings.items()},
        }
        known.update({one.lower(): to for one, to in words.items() if to in LABELS and len(one) > 2})
    near = difflib.get_close_matches(label.lower(), known, n=1, cutoff=0.75)
    return known[near[0]] if near else None


def _natives(counts: Mapping[str, int], names: Sequence[str]) -> tuple[Counter[str], bool]:
    """The native labels with their counts; in lower case where they differ in case or white space alone."""
    lower = {one: one.strip().lower() for one in counts}
    is_canonical = any(low in LABELS and one not in LABELS for one, low in lower.items())
    are_distinct = len(set(lower.values())) == len(lower) and all(one == one.strip() for one in lower)
    if set(counts) <= set(names) or (are_distinct and not is_canonical):
        return Counter(counts), False
    merged = Counter[str]()
    for one, count in counts.items():
        merged[lower[one]] += count
    return merged, True


def _named(
    natives: Mapping[str, int], used: UsedLabels, stated: Mapping[str, str], names: Sequence[str]
) -> tuple[dict[str, str], list[Problem]]:
    """The name of each native label, which is empty where it stands for none."""
    numbers = {one: int(match[1]) for one in natives if (match := _NUMBER.fullmatch(one))}
    named = {one: "" if one.lower() in _MISSING else one for one in natives}
    problems = list[Problem]()
    if not numbers or all(one in stated or not named[one] for one in natives):
        return named, problems
    for one, number in numbers.items():
        if number < 0:
            named[one] = ""
        elif number < len(names):
            named[one] = names[number]
        elif one not in stated:
            what = "no name has this number" if names else "the label is a number without a name"
            where, fix = (
                used.first.get(one, "the label"),
                "name every label, from that of 0 on: --label-names NAME,NAME,...",
            )
            problems.append(Problem(where, what, got=one, fix=fix, code="corpora.numbered_labels"))
    return named, problems


def _several(natives: Mapping[str, int], used: UsedLabels) -> list[Problem]:
    """Cells that hold more than one label."""
    cells = dict(used.lists)
    for one in natives:
        parts = _SEPARATORS.split(one)
        if len(parts) > 1 and all(part in natives for part in parts):
            cells[
                next(where for cell, where in used.first.items() if one in (cell, cell.strip().lower()))
            ] = one
    what, fix = "several labels in one cell", "keep one label for each utterance"
    return [
        Problem(where, what, "one label", cell, fix, code="corpora.several_labels")
        for where, cell in list(cells.items())[:5]
    ]
