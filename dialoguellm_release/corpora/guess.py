"""A corpus file for a table of a user: columns by their usual names, labels and splits as they are used."""

from __future__ import annotations

import difflib
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dialoguellm_release.corpora.cells import one_line, table_cell
from dialoguellm_release.corpora.notes import Fault, Notes
from dialoguellm_release.corpora.readers import read_corpus
from dialoguellm_release.corpora.registry import bundled_corpora
from dialoguellm_release.errors import DataError, Problem
from dialoguellm_release.schemas.corpus import CorpusEntry, CorpusLicense, TableColumns, TableFormat
from dialoguellm_release.schemas.labels import LABELS, RESERVED_NAMES, SPLITS, CorpusName, Label, Split
from dialoguellm_release.schemas.recipes.dataset import CorpusRecipe
from dialoguellm_release.tabular import read_rows

COLUMN_NAMES: dict[str, tuple[str, ...]] = {
    "text": ("text", "utterance", "sentence", "message", "content", "turn"),
    "label": ("label", "emotion", "emotionlabel", "class"),
    "speaker": ("speaker", "speakername", "name", "role"),
    "dialogue": ("dialogue", "dialogueid", "dialog", "dialogid", "conversation", "conversationid", "convid"),
    "split": ("split", "set", "partition", "subset"),
}
"""The usual names of columns, in lower case and without separators."""


@dataclass(frozen=True)
class GuessedCorpus:
    """A corpus file for a table, read once to the end.

    Attributes:
        records: Utterances of each split.
    """

    entry: CorpusEntry
    records: dict[Split, int]


def corpus_of_table(data: Path, beside: Path, columns: Mapping[str, str] | None = None) -> GuessedCorpus:
    """The corpus file of a table, which is read with it.

    Args:
        data: CSV, TSV, JSON Lines or Parquet.
        beside: The folder that the corpus file is written to.
        columns: Names of columns by `text`, `label`, `speaker`, `dialogue` and `split`, where they are not
            the usual ones.

    Raises:
        DataError: Columns or rows of the table are wrong, each named by its line.
    """
    name = corpus_name(data.stem)
    rows = read_rows(data)
    if not rows:
        raise DataError(Problem(str(data), "has no row", code="corpora.empty"))
    found = _columns(data, list(rows[0].cells), columns or {})
    form = TableFormat(
        type="table",
        file=data.name,
        columns=TableColumns.model_validate(found),
        default_split="train",
        may_be_empty=("speaker",),
    )
    license_ = CorpusLicense(
        id=f"LicenseRef-{name.replace('_', '-')}-not-stated",
        name="not stated",
        stated_in="nowhere; state it in the corpus file",
        verified=False,
        redistribute="unknown",
        share_alike="unknown",
        non_commercial="unknown",
        research_only="unknown",
        signed_form="unknown",
    )
    entry = CorpusEntry(
        version=1,
        kind="corpus",
        name=name,
        title=data.stem,
        description=f"the texts of {data.name}",
        text_license=license_,
        label_license=license_,
        format=form,
        data=os.path.relpath(data.resolve().parent, beside.resolve()),
        label_space=_labels(data, (row.cells.get(found["label"]) for row in rows)),
    )
    notes = Notes()
    dialogues = list(read_corpus(entry, data.parent, CorpusRecipe(), notes))
    records = {split: sum(len(one.utterances) for one in dialogues if one.split == split) for split in SPLITS}
    if not records["train"]:
        fix = "leave the column of splits empty for rows to train on"
        raise DataError(Problem(str(data), "no row to train on", fix=fix, code="corpora.nothing_to_train_on"))
    return GuessedCorpus(entry, records)


def corpus_name(stem: str) -> CorpusName:
    """A free name for the corpus of a file.

    >>> corpus_name("My table (2)")
    'my_table_2'
    """
    name = re.sub(r"[^a-z0-9]+", "_", stem.lower()).strip("_")[:48] or "table"
    if not name[0].isalpha():
        name = f"table_{name}"
    return f"own_{name}" if name in RESERVED_NAMES or name in bundled_corpora() else name


def _columns(data: Path, header: list[str], stated: Mapping[str, str]) -> dict[str, str]:
    """The columns of a table by what they hold."""
    found, problems = dict[str, str](), list[Problem]()
    for role, names in COLUMN_NAMES.items():
        usual = [column for column in header if _plain(column) in names]
        chosen = stated.get(role) or (usual[0] if usual else None)
        if chosen is None and role in ("text", "label"):
            near = [column for column in header if difflib.get_close_matches(_plain(column), names, n=1)]
            hint = f"; is it {near[0]}?" if near else ""
            what, fix = f"no column of the {role} was found{hint}", f"name it with --{role}"
            problems.append(
                Problem(str(data), what, got=", ".join(header), fix=fix, code="corpora.no_column")
            )
        elif chosen is not None and chosen not in header:
            what = f"has no column {chosen}"
            problems.append(Problem(str(data), what, got=", ".join(header), code="corpora.no_column"))
        elif len(usual) > 1 and role not in stated:
            what, fix = f"several columns may be the {role}: {', '.join(usual)}", f"choose with --{role}"
            problems.append(Problem(str(data), what, fix=fix, code="corpora.ambiguous_column"))
        elif chosen is not None:
            found[role] = chosen
    if problems:
        raise DataError(problems)
    return found


def _plain(column: str) -> str:
    return re.sub(r"[\W_]+", "", column.lower())


def _labels(data: Path, cells: Iterable[Any]) -> tuple[Label, ...]:
    """The labels that a table uses: those of the vocabulary in its order, then others as they come."""
    used: dict[str, None] = {}
    for cell in cells:
        with suppress(Fault):  # the reader tells of it with its line, as of a label that is too long
            label = table_cell(cell, "label")
            if label and label == one_line(label) and len(label) <= 64:
                used[label] = None
    spellings = defaultdict[str, list[str]](list)
    for label in used:
        spellings[label.casefold()].append(label)
    twice = [" and ".join(labels) for labels in spellings.values() if len(labels) > 1]
    if twice:
        what, fix = "has labels that differ in case alone", "write each label in one way"
        raise DataError(
            Problem(str(data), what, got="; ".join(twice), fix=fix, code="corpora.labels_differ_in_case")
        )
    return (*(label for label in LABELS if label in used), *(label for label in used if label not in LABELS))
