"""The dialogues of a corpus: one module for each format of native files."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from dialoguellm_release.corpora.cells import Notes
from dialoguellm_release.corpora.files import CorpusFolder, open_folder
from dialoguellm_release.corpora.readers.dailydialog import read_dailydialog
from dialoguellm_release.corpora.readers.emorynlp_json import read_emorynlp_json
from dialoguellm_release.corpora.readers.iemocap import read_iemocap
from dialoguellm_release.corpora.readers.json_files import read_json_files
from dialoguellm_release.corpora.readers.meisd import read_meisd
from dialoguellm_release.corpora.readers.table import read_tables
from dialoguellm_release.errors import DataError, Problem
from dialoguellm_release.schemas.corpus import CorpusEntry, Format, JsonFormat, TableFormat
from dialoguellm_release.schemas.labels import SPLITS, Split
from dialoguellm_release.schemas.recipes.dataset import CorpusRecipe
from dialoguellm_release.schemas.record import Dialogue

UNIQUE_FORMATS: dict[str, tuple[Callable[[CorpusFolder], Iterator[Dialogue]], tuple[Split, ...]]] = {
    "emorynlp_json": (read_emorynlp_json, SPLITS),
    "dailydialog": (read_dailydialog, SPLITS),
    "meisd": (read_meisd, ()),
    "iemocap": (read_iemocap, ("train", "test")),
}
"""The formats that only one corpus has, each with its reader and the splits that must have dialogues."""


def read_corpus(entry: CorpusEntry, folder: Path, recipe: CorpusRecipe, notes: Notes) -> Iterator[Dialogue]:
    """The dialogues of a corpus in the order of its files; at its end, raises all that is wrong in them."""
    form, opened = format_of(entry, recipe), open_folder(entry, folder, notes)
    if isinstance(form, TableFormat):
        dialogues = read_tables(opened, form)
    elif isinstance(form, JsonFormat):
        dialogues = read_json_files(opened, form)
    else:
        read, splits = UNIQUE_FORMATS[form.type]
        return _checked(read(opened), splits, folder, notes)
    opened.require(form.paths)
    return _checked(dialogues, form.files, folder, notes)


def format_of(entry: CorpusEntry, recipe: CorpusRecipe) -> Format:
    """The format of the release that a recipe chooses."""
    if recipe.source in (None, entry.release):
        return entry.format
    if recipe.source is None or recipe.source not in entry.releases:
        where = f"corpora.{entry.name}.source"
        known = ", ".join([*filter(None, [entry.release]), *entry.releases]) or "none: leave source out"
        problem = Problem(where, "no such release", known, recipe.source, code="corpora.unknown_release")
        raise DataError(problem)
    return entry.releases[recipe.source]


def _checked(
    dialogues: Iterator[Dialogue], splits: Collection[Split], folder: Path, notes: Notes
) -> Iterator[Dialogue]:
    """The dialogues; a corpus or a split without any is a problem, and so is what the reader noted."""
    seen = set[Split]()
    for dialogue in dialogues:
        if any(one.label for one in dialogue.utterances):
            seen.add(dialogue.split or "train")
            yield dialogue
        else:
            notes.repairs[f"{dialogue.corpus}.dialogue_without_a_label"] += 1
    empty = [split for split in SPLITS if split in splits and split not in seen]
    if not notes.problems and not seen:
        notes.problems.append(Problem(str(folder), "no dialogue was found", code="corpora.empty"))
    elif not notes.problems:
        what = "the split has no dialogue"
        notes.problems += [Problem(f"{folder}, {one}", what, code="corpora.empty_split") for one in empty]
    notes.check()
