"""A user's own table becomes a dataset folder, so that a released adapter can be trained on it."""

from __future__ import annotations

import csv
import difflib
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast, get_args

from dialoguellm_release.corpora.notes import Notes
from dialoguellm_release.corpora.registry import CorpusFolders
from dialoguellm_release.dataset.build import Build, Corpus, write_dataset
from dialoguellm_release.errors import DataError, Problem
from dialoguellm_release.folders import stamp
from dialoguellm_release.recipes.load import Loaded
from dialoguellm_release.schemas.dataset_manifest import DatasetFigures
from dialoguellm_release.schemas.labels import LABELS, OWN, SPLITS, CorpusName, Split
from dialoguellm_release.schemas.recipes.dataset import CorpusRecipe, DatasetRecipe
from dialoguellm_release.schemas.record import Dialogue, Utterance

REQUIRED = ("text", "label")
OPTIONAL = ("speaker", "dialogue", "split")
LICENSE = "LicenseRef-own"
MOST_SHOWN = 20
NAMELESS = "without a name"


@dataclass(frozen=True)
class _Row:
    """A row that is right."""

    split: Split
    dialogue: str
    utterance: Utterance


def own_dialogues(path: Path) -> dict[Split, list[Dialogue]]:
    """The dialogues of a table, per split, in the order of the file.

    The columns are `text` and `label`, and where there are any `speaker`, `dialogue` (rows of the same one
    are its turns) and `split` (`train` where it is empty). Without `dialogue` each row stands alone.

    Raises:
        DataError: With every row that is wrong, by its line.
    """
    problems: list[Problem] = []
    turns: defaultdict[tuple[Split, str], list[Utterance]] = defaultdict(list)
    for row in _rows(path, problems):
        turns[row.split, row.dialogue].append(row.utterance)
    if problems:
        raise DataError(_shown(problems, path))
    found: dict[Split, list[Dialogue]] = {}
    for (split, name), utterances in turns.items():
        numbered = tuple(one.model_copy(update={"index": index}) for index, one in enumerate(utterances))
        found.setdefault(split, []).append(Dialogue(corpus=OWN, split=split, id=name, utterances=numbered))
    if "train" not in found:
        raise DataError(Problem(str(path), "has no row to train on", fix="leave the column split empty"))
    return found


def own_recipe(path: Path, prompt_name: str, context_k: int) -> Loaded[DatasetRecipe]:
    """The dataset recipe of a table."""
    recipe = DatasetRecipe(
        version=1,
        kind="dataset",
        description="Data that a user brought along.",
        pretty_name=path.stem,
        prompt=prompt_name,
        context_k=context_k,
        corpora={},
    )
    return Loaded(path.stem, recipe, {})


def write_own_dataset(
    path: Path, prompt_name: str, context_k: int, folder: Path, advance: Callable[[int], None]
) -> DatasetFigures:
    """Writes the data files of a table into an empty folder, and gives its figures.

    The label space is the labels that the table uses, in the order of the vocabulary.

    Args:
        advance: Told how many dialogues are done more, in each of the two passes.

    Raises:
        DataError: Rows of the table are wrong.
    """
    dialogues = own_dialogues(path)
    file = stamp(path, path.parent)
    used = {turn.label for found in dialogues.values() for one in found for turn in one.utterances}

    def read(_name: CorpusName, _corpus: CorpusRecipe, notes: Notes) -> Iterator[Dialogue]:
        notes.files.append(file)
        for split in SPLITS:
            yield from dialogues.get(split, ())

    own = Corpus(
        recipe=CorpusRecipe(),
        license=LICENSE,
        may_redistribute=False,
        label_space=tuple(label for label in LABELS if label in used),
    )
    build = Build(own_recipe(path, prompt_name, context_k), CorpusFolders(path.parent))
    return write_dataset(build, folder, advance, read=read, corpora={OWN: own})


def _rows(path: Path, problems: list[Problem]) -> Iterator[_Row]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            header = list(reader.fieldnames or [])
            problems += _header_problems(path, header)
            if problems:
                return
            names: dict[tuple[Split, str], str] = {}
            for number, cells in enumerate(reader, start=1):
                where = f"{path}:{reader.line_num}"
                wrong = list(_row_problems(where, cells, len(header)))
                problems += wrong
                if not wrong:
                    row, name = _row(cells, number), (cells.get("dialogue") or "").strip()
                    first = names.setdefault((row.split, row.dialogue), name)
                    if name != first:
                        what = (
                            f"dialogue {name or NAMELESS} would have the id of dialogue {first or NAMELESS}"
                        )
                        problems.append(Problem(where, what, got=row.dialogue, fix="name one otherwise"))
                    yield row
    except OSError as error:
        problems.append(Problem(str(path), f"cannot be read: {error.strerror}"))
    except UnicodeDecodeError as error:
        problems.append(Problem(str(path), f"is not UTF-8 at byte {error.start}", fix="save it as UTF-8"))
    except csv.Error as error:
        problems.append(
            Problem(str(path), f"is not CSV: {error}", fix="look for a quote that does not close")
        )


def _row(cells: Mapping[str, str], number: int) -> _Row:
    text, label = cells["text"].strip(), cells["label"].strip()
    utterance = Utterance(
        index=0,
        text=text,
        speaker=(cells.get("speaker") or "").strip() or None,
        label=label,
        source_label=label,
    )
    split = (cells.get("split") or "").strip() or "train"
    dialogue = "-".join((cells.get("dialogue") or "").split()).replace("/", "-")
    return _Row(cast("Split", split), dialogue or f"row-{number}", utterance)


def _header_problems(path: Path, header: Sequence[str]) -> Iterator[Problem]:
    known = (*REQUIRED, *OPTIONAL)
    for name in REQUIRED:
        if name not in header:
            close = difflib.get_close_matches(name, header, n=1)
            what = f"has no column {name}" + (f"; is it {close[0]}?" if close else "")
            yield Problem(f"{path}:1", what, expected=", ".join(known), got=", ".join(header))
    for name in header:
        close = difflib.get_close_matches(name, known, n=1)
        if name not in known and close and close[0] not in header:
            yield Problem(f"{path}:1", f"has a column {name}; is it {close[0]}?", got=", ".join(header))
    if len(set(header)) != len(header):
        yield Problem(f"{path}:1", "has a column twice", got=", ".join(header))


def _row_problems(where: str, cells: Mapping[str, str | None], width: int) -> Iterator[Problem]:
    if len(cells) != width or None in cells.values():
        yield Problem(where, "has more or fewer cells than the header", expected=str(width))
        return
    if not (cells["text"] or "").strip():
        yield Problem(where, "text is empty")
    label = (cells["label"] or "").strip()
    if label not in LABELS:
        close = difflib.get_close_matches(label, LABELS, n=1)
        fix = f"did you mean {close[0]}?" if close else None
        yield Problem(where, "label is not one of the vocabulary", ", ".join(LABELS), label or "nothing", fix)
    split = (cells.get("split") or "").strip()
    if split and split not in get_args(Split):
        yield Problem(where, "split is none", ", ".join(SPLITS), split)


def _shown(problems: Sequence[Problem], path: Path) -> list[Problem]:
    left_out = len(problems) - MOST_SHOWN
    more = [Problem(str(path), f"{left_out:,} rows more are wrong")] if left_out > 0 else []
    return [*problems[:MOST_SHOWN], *more]
