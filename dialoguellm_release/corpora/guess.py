"""A corpus file for data of a user's own: how its files are read, by the usual names of columns and keys."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from dialoguellm_release.corpora.cells import Notes
from dialoguellm_release.corpora.label_spaces import LabelSpace, label_space_of
from dialoguellm_release.corpora.layouts import find_layout
from dialoguellm_release.corpora.readers import read_corpus
from dialoguellm_release.corpora.registry import bundled_corpora
from dialoguellm_release.corpora.sources import Source, find_source
from dialoguellm_release.errors import DataError, Problem
from dialoguellm_release.schemas.corpus import CorpusEntry, CorpusLicense
from dialoguellm_release.schemas.labels import RESERVED_NAMES, SPLITS, CorpusName, Split
from dialoguellm_release.schemas.recipes.dataset import CorpusRecipe, SplitDraw

HELD_OUT_SEED = 42


@dataclass(frozen=True)
class DataOptions:
    """What is known of data of a user's own and cannot be read in it, or should not be guessed.

    Attributes:
        columns: Names of columns by `text`, `label`, `speaker`, `dialogue` and `split`, where they are not
            the usual ones; in JSON, names of keys.
        encoding: Of texts; None is UTF-8, or UTF-16 with a byte-order mark.
        label_map: Labels of the data to those that are meant; an empty one makes its rows context.
        label_names: The labels in the order of their ids; of labels in words, the label space in its order.
        held_out: The share of the dialogues that each split gets that the data lacks.
        config: Of a folder or repository that `datasets` loads.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    encoding: str | None = None
    label_map: Mapping[str, str] = field(default_factory=dict)
    label_names: Sequence[str] = ()
    held_out: float = 0.1
    config: str | None = None


@dataclass(frozen=True)
class GuessedCorpus:
    """A corpus file for data that was read once to the end.

    Attributes:
        columns: Column or key by what it holds.
        labels: Which labels it has, and what they were read as.
        dialogues: Dialogues of each split that the data states; the key None is for what is drawn.
        records: Records of each, likewise.
        draw: How the splits that are lacking are drawn; None where none is.
        repairs: How often each named rule mended or left out something.
    """

    source: Source
    entry: CorpusEntry
    columns: dict[str, str]
    labels: LabelSpace
    dialogues: dict[Split | None, int]
    records: dict[Split | None, int]
    draw: SplitDraw | None
    repairs: dict[str, int]

    @property
    def splits(self) -> tuple[Split, ...]:
        """The splits that the dataset will have."""
        drawn = self.draw.dialogues if self.draw else {}
        return tuple(split for split in SPLITS if self.records.get(split) or drawn.get(split))


def guess_corpus(data: Sequence[str], beside: Path, options: DataOptions, scratch: Path) -> GuessedCorpus:
    """The corpus file of data, which is read with it."""
    try:
        "".encode(options.encoding or "utf-8")
    except LookupError:
        what, expected = "no encoding of texts that is known", "a name as in cp1252, utf-16, gb18030"
        got, code = options.encoding, "corpora.unknown_encoding"
        raise DataError(Problem("--encoding", what, expected, got, code=code)) from None
    source = find_source(data, options.config, scratch)
    layout = find_layout(source, options.columns, options.encoding)
    space = label_space_of(layout.used, options.label_map, options.label_names or layout.class_names)
    name = corpus_name(source.title)
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
        title=source.title,
        description=f"the texts of {data[0] if source.is_copy else source.title}",
        text_license=license_,
        label_license=license_,
        format=layout.format.model_copy(update={"ignores_case": space.ignores_case}),
        data=f"{source.title}-data"
        if source.is_copy
        else os.path.relpath(source.folder.resolve(), beside.resolve()),
        label_space=space.labels,
        label_map=space.label_map,
        dropped_labels=space.dropped,
    )
    return _read(GuessedCorpus(source, entry, layout.columns, space, {}, {}, None, {}), options.held_out)


def _read(guessed: GuessedCorpus, held_out: float) -> GuessedCorpus:
    """The same with what a reading finds: the records of each split, and how lacking splits are drawn."""
    entry, notes = guessed.entry, Notes()
    dialogues, records = Counter[Split | None](), Counter[Split | None]()
    for one in read_corpus(entry, guessed.source.folder, CorpusRecipe(), notes):
        dialogues[one.split] += 1
        records[one.split] += sum(turn.label is not None for turn in one.utterances)
    if not records["train"]:
        where, fix = (
            str(guessed.source.folder),
            "leave the split of the rows to train on empty, or call it train",
        )
        raise DataError(Problem(where, "no row to train on", fix=fix, code="corpora.nothing_to_train_on"))
    each = int(dialogues["train"] * held_out)
    lacking = [split for split in SPLITS if not records[split]]
    draw = None
    if each and lacking:
        shares = {split: each if split in lacking else 0 for split in SPLITS}
        shares["train"] = dialogues["train"] - sum(shares.values())
        draw = SplitDraw(seed=HELD_OUT_SEED, dialogues=shares)
        entry = entry.model_copy(update={"splits": "drawn"})
        dialogues[None], records[None] = dialogues.pop("train"), records.pop("train")
    there = [split for split in (*SPLITS, None) if records[split]]
    return replace(
        guessed,
        entry=entry,
        dialogues={split: dialogues[split] for split in there},
        records={split: records[split] for split in there},
        draw=draw,
        repairs=dict(sorted(notes.repairs.items())),
    )


def corpus_name(stem: str) -> CorpusName:
    """A free name for the corpus of a file.

    >>> corpus_name("My table (2)")
    'my_table_2'
    """
    name = re.sub(r"[^a-z0-9]+", "_", stem.lower()).strip("_")[:48] or "table"
    if not name[0].isalpha():
        name = f"table_{name}"
    return f"own_{name}" if name in RESERVED_NAMES or name in bundled_corpora() else name
