"""A user's own table becomes a dataset folder, so that a released adapter can be trained on it."""

from __future__ import annotations

import csv
import difflib
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast, get_args

from dialoguellm_release.dataset.context import RecordMaker
from dialoguellm_release.dataset.identity import content_sha256, record_digest
from dialoguellm_release.dataset.parquet import RowWriter, record_columns, record_schema
from dialoguellm_release.errors import DataError, Problem
from dialoguellm_release.folders import combined_sha256, package_versions, stamp, stamps
from dialoguellm_release.layout import DataFile
from dialoguellm_release.prompts import load_prompt
from dialoguellm_release.recipes.load import Loaded
from dialoguellm_release.schemas.dialogue import Dialogue, Utterance
from dialoguellm_release.schemas.labels import LABELS, OWN, SPLITS, Label, Split
from dialoguellm_release.schemas.manifests.dataset import CorpusFigures, DatasetFigures, DatasetManifest
from dialoguellm_release.schemas.recipes.dataset import CorporaRecipe, DatasetRecipe
from dialoguellm_release.schemas.record import Record
from dialoguellm_release.schemas.sizes import Sizes

REQUIRED = ("text", "label")
OPTIONAL = ("speaker", "dialogue", "split")
LICENSE = "LicenseRef-own"
MOST_SHOWN = 20


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


def write_own_dataset(path: Path, prompt_name: str, context_k: int, folder: Path) -> DatasetManifest:
    """Writes the records of a table into an empty folder; gives the manifest, which is not yet written.

    The label space is the labels that the table uses, in the order of the vocabulary.

    Raises:
        DataError: Rows of the table are wrong.
    """
    prompt = load_prompt(prompt_name)
    dialogues = own_dialogues(path)
    used = {turn.label for found in dialogues.values() for one in found for turn in one.utterances}
    space = tuple(label for label in LABELS if label in used)
    maker = RecordMaker(prompt, LICENSE, space, {}, context_k)
    records = {
        split: [record for one in dialogues[split] for record in maker.records(one, split)]
        for split in SPLITS
        if split in dialogues
    }
    for split, rows in records.items():
        file = folder / DataFile(OWN, split, "clean").path
        with RowWriter(file, record_schema()) as writer:
            writer.add(record_columns(rows))
    contents = {split: content_sha256(map(record_digest, rows)) for split, rows in records.items()}
    sizes = {
        split: Sizes(dialogues=len(dialogues[split]), utterances=len(rows)) for split, rows in records.items()
    }
    own = CorpusFigures(
        license=LICENSE,
        may_redistribute=False,
        label_space=space,
        files=(stamp(path, path.parent),),
        unknown_files=(),
        repairs={},
        unused=Sizes(dialogues=0, utterances=0),
        splits=sizes,
        labels={split: _label_counts(rows, space) for split, rows in records.items()},
        content_sha256=contents,
    )
    recipe = DatasetRecipe(
        version=1,
        kind="dataset",
        description="Data that a user brought along.",
        pretty_name=path.stem,
        prompt=prompt_name,
        context_k=context_k,
        corpora=CorporaRecipe(),
    )
    return DatasetManifest(
        created_by=package_versions("pyarrow"),
        recipe=Loaded(path.stem, recipe, {}).stamp,
        inputs=own.files,
        outputs=stamps(folder),
        content_sha256=combined_sha256((f"{OWN}/{split}", digest) for split, digest in contents.items()),
        figures=_figures(own, prompt.name, prompt.sha256, context_k, records),
    )


def _figures(
    own: CorpusFigures,
    prompt: str,
    prompt_sha256: str,
    context_k: int,
    records: Mapping[Split, Sequence[Record]],
) -> DatasetFigures:
    return DatasetFigures(
        records={split: len(rows) for split, rows in records.items()},
        dialogues={split: sizes.dialogues for split, sizes in own.splits.items()},
        corpora={OWN: own},
        skipped=(),
        context_k=context_k,
        prompt=prompt,
        prompt_sha256=prompt_sha256,
        split_draw=None,
        relabelled={},
        reconciliation=(),
    )


def _label_counts(records: Sequence[Record], space: Sequence[Label]) -> dict[Label, int]:
    counts = Counter(record.label for record in records)
    return {label: counts[label] for label in space}


def _rows(path: Path, problems: list[Problem]) -> Iterator[_Row]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            header = list(reader.fieldnames or [])
            problems += _header_problems(path, header)
            if problems:
                return
            for number, cells in enumerate(reader, start=1):
                wrong = list(_row_problems(f"{path}:{reader.line_num}", cells, len(header)))
                problems += wrong
                if not wrong:
                    yield _row(cells, number)
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
        label=cast("Label", label),
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
