"""A corpus file for data of a user's own: where its files are, how they are read, what its labels mean."""

from __future__ import annotations

import difflib
import os
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dialoguellm_release.corpora.cells import Notes, one_line
from dialoguellm_release.corpora.layouts import Source, UsedLabels, find_layout
from dialoguellm_release.corpora.readers import read_corpus
from dialoguellm_release.corpora.readers.table import SPLIT_NAMES
from dialoguellm_release.corpora.registry import bundled_corpora, corpus_entries
from dialoguellm_release.errors import DataError, Problem
from dialoguellm_release.schemas.corpus import CorpusEntry, CorpusLicense
from dialoguellm_release.schemas.labels import (
    LABELS,
    RESERVED_LABELS,
    RESERVED_NAMES,
    SPLITS,
    CorpusName,
    Label,
    Split,
)
from dialoguellm_release.schemas.recipes.dataset import CorpusRecipe, SplitDraw
from dialoguellm_release.tabular import SUFFIXES

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
    """A corpus file for data that was read once to the end."""

    source: Source
    entry: CorpusEntry
    columns: dict[str, str]  # column or key by what it holds
    labels: LabelSpace  # which labels it has, and what they were read as
    # Dialogues of each split that the data states; the key None is for what is drawn.
    dialogues: dict[Split | None, int]
    records: dict[Split | None, int]  # records of each, likewise
    draw: SplitDraw | None  # how the splits that are lacking are drawn; None where none is
    repairs: dict[str, int]  # how often each named rule mended or left out something

    @property
    def splits(self) -> tuple[Split, ...]:
        """The splits that the dataset will have."""
        drawn = self.draw.dialogues if self.draw else {}
        return tuple(split for split in SPLITS if self.records.get(split) or drawn.get(split))


def guess_corpus(data: Sequence[str], beside: Path, options: DataOptions, scratch: Path) -> GuessedCorpus:
    """The corpus file of data, which is read with it, for a folder; a copy that is needed is in `scratch`."""
    try:
        "".encode(options.encoding or "utf-8")
    except LookupError:
        what, expected = "no encoding of texts that is known", "a name as in cp1252, utf-16, gb18030"
        got, code = options.encoding, "corpora.unknown_encoding"
        raise DataError(Problem("--encoding", what, expected, got, code=code)) from None
    source = find_source(data, options.config, scratch)
    if wrong := [one for one in (source.title, *source.files.values()) if not one.isprintable()]:
        what, fix = "its name has characters that cannot be printed", "rename it"
        raise DataError(Problem(ascii(wrong[0]), what, fix=fix, code="corpora.unprintable_name"))
    layout = find_layout(source, options.columns, options.encoding)
    space = label_space_of(layout.used, options.label_map, options.label_names or layout.class_names)
    name, title = corpus_name(source.title), source.title
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
    folder = os.path.relpath(source.folder.resolve(), beside.resolve())
    entry = CorpusEntry(
        version=1,
        kind="corpus",
        name=name,
        title=title,
        description=f"the texts of {data[0] if source.is_copy else title}",
        text_license=license_,
        label_license=license_,
        format=layout.format.model_copy(update={"ignores_case": space.ignores_case}),
        data=f"{title}-data" if source.is_copy else folder,
        label_space=space.labels,
        label_map=space.label_map,
        dropped_labels=space.dropped,
    )
    notes, dialogues, records = Notes(), Counter[Split | None](), Counter[Split | None]()
    for one in read_corpus(entry, source.folder, CorpusRecipe(), notes):
        dialogues[one.split] += 1
        records[one.split] += sum(turn.label is not None for turn in one.utterances)
    if not records["train"]:
        where, fix = str(source.folder), "leave the split of the rows to train on empty, or call it train"
        code = "corpora.nothing_to_train_on"
        raise DataError(Problem(where, "no row to train on", fix=fix, code=code))
    each, draw = int(dialogues["train"] * options.held_out), None
    shares = {split: 0 if records[split] else each for split in SPLITS}
    if any(shares.values()):
        shares["train"] = dialogues["train"] - sum(shares.values())
        draw = SplitDraw(seed=HELD_OUT_SEED, dialogues=shares)
        entry = entry.model_copy(update={"splits": "drawn"})
        dialogues[None], records[None] = dialogues.pop("train"), records.pop("train")
    there = [split for split in (*SPLITS, None) if records[split]]
    return GuessedCorpus(
        source=source,
        entry=entry,
        columns=layout.columns,
        labels=space,
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


MAX_LABELS = 64
"""More are no label space, but a column of something else."""

_NUMBER = re.compile(r"(-?\d{1,9})(?:\.0)?", re.ASCII)
_MISSING = frozenset({"nan", "null", "n/a", "#n/a", "<na>"})
_SEPARATORS = re.compile(r"\s*[,;|/+&]\s*")


@dataclass(frozen=True)
class LabelSpace:
    """How the labels of files are read."""

    labels: tuple[Label, ...]  # the label space in its order
    # Every native label to the one that is meant; empty where all are kept as they are.
    label_map: dict[str, Label]
    dropped: dict[str, str]  # native labels that stand for none, with the reason
    ignores_case: bool  # whether case and outer white space mean nothing
    counts: dict[Label, int]  # how many utterances have each label of the label space
    suggested: dict[Label, Label]  # for labels outside the canonical vocabulary, the nearest one in it


def label_space_of(used: UsedLabels, stated: Mapping[str, str], names: Sequence[str]) -> LabelSpace:
    """The label space that files and their user ask for."""
    stated, names = {one: to.strip() for one, to in stated.items()}, [one.strip() for one in names]
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
        where, most = next(iter(used.first.values())), f"at most {MAX_LABELS}"
        problems.append(Problem(where, what, most, fix=fix, code="corpora.too_many_labels"))
    if twice := [one for one, count in Counter(filter(None, names)).items() if count > 1]:
        what, fix = f"names {', '.join(twice)} twice", "name each label once, and join labels with --map"
        problems.append(Problem("--label-names", what, fix=fix, code="corpora.label_name_twice"))
    if problems:
        raise DataError(problems)
    meant = {one: stated.get(one, stated.get(name, name)) for one, name in named.items()}
    dropped = {one: "stands for no label" for one, label in meant.items() if not label}
    label_map = {one: label for one, label in meant.items() if label}
    if not label_map:
        what = "every label stands for none" if natives else "no utterance has a label"
        where, fix = next(iter(used.first.values()), "--label"), "name a label for some of them with --map"
        fix = fix if natives else "name the column of the label with --label"
        raise DataError(Problem(where, what, got=", ".join(natives), fix=fix, code="corpora.all_unlabelled"))
    counts = Counter[Label]()
    for one, label in label_map.items():
        counts[label] += natives[one]
    order = [stated.get(name, name) for name in names] or [*(one for one in LABELS if one in counts), *counts]
    labels = tuple(dict.fromkeys(one for one in order if one))
    if outside := [label for label in counts if label not in labels]:
        what, fix = f"the data also has {', '.join(outside)}", "name every label, or map it with --map"
        raise DataError(Problem("--label-names", what, fix=fix, code="corpora.unknown_label"))
    if problems := _doubtful(labels, names):
        raise DataError(problems)
    return LabelSpace(
        labels=labels,
        label_map=label_map if any(one != label for one, label in label_map.items()) else {},
        dropped=dropped,
        ignores_case=ignores_case,
        counts={label: counts[label] for label in labels},
        suggested={label: near for label in labels if label not in LABELS and (near := nearest_label(label))},
    )


def _doubtful(labels: Sequence[Label], names: Sequence[str]) -> list[Problem]:
    """Labels that cannot be one, or differ in case, accents or characters without a shape alone."""
    alike = defaultdict[str, list[Label]](list)
    for label in labels:
        folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", label).casefold())
        alike[re.sub("[\u00ad\u200b-\u200f\u2060\ufe00-\ufe0f\ufeff]", "", folded)].append(label)
    what, fix = "labels that look alike", "make them one with --map, or name all labels with --label-names"
    problems = [
        Problem("the labels", what, None, ", ".join(map(ascii, same)), fix, code="corpora.labels_alike")
        for same in alike.values()
        if len(same) > 1 and not set(same) <= set(names)
    ]
    what, code = "no name of a label", "corpora.no_label"
    expected = f"one line of at most 64 characters, not {' or '.join(sorted(RESERVED_LABELS))}"
    unfit = [one for one in labels if one != one_line(one) or len(one) > 64 or one in RESERVED_LABELS]
    return problems + [Problem("the labels", what, expected, ascii(one), code=code) for one in unfit]


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
            where = used.first.get(one, "the label")
            fix = "name every label, from that of 0 on: --label-names NAME,NAME,..."
            problems.append(Problem(where, what, got=one, fix=fix, code="corpora.numbered_labels"))
    return named, problems


def _several(natives: Mapping[str, int], used: UsedLabels) -> list[Problem]:
    """Cells that hold more than one label."""
    cells = dict(used.lists)
    for one in natives:
        parts = _SEPARATORS.split(one)
        if len(parts) > 1 and all(part in natives or part.lower() in LABELS for part in parts):
            where = next(at for cell, at in used.first.items() if one in (cell, cell.strip().lower()))
            cells[where] = one
    what, fix = "several labels in one cell", "keep one label for each utterance"
    return [
        Problem(where, what, "one label", cell, fix, code="corpora.several_labels")
        for where, cell in list(cells.items())[:5]
    ]


_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")


def find_source(data: Sequence[str], config: str | None, scratch: Path) -> Source:
    """The files that are meant."""
    named = [(_named_split(one), one) for one in data]
    if len(named) == 1 and named[0][0] is None:
        return _of_one(data[0], config, scratch)
    problems, files = list[Problem](), dict[Split, Path]()
    for split, one in named:
        if split is None or split in files:
            what = "its split is not stated" if split is None else f"is a second file of {split}"
            fix = "name each split once: --data train=FILE --data validation=FILE --data test=FILE"
            problems.append(Problem(one, what, fix=fix, code="corpora.unnamed_file"))
        else:
            files[split] = Path(one.partition("=")[2])
    if problems:
        raise DataError(problems)
    folder = Path(os.path.commonpath([path.resolve().parent for path in files.values()]))
    names = {split: os.path.relpath(path.resolve(), folder) for split, path in files.items()}
    return Source(folder.name or "corpus", folder, {one: names[one] for one in SPLITS if one in names})


def _named_split(data: str) -> Split | None:
    name, separator, _ = data.partition("=")
    return SPLIT_NAMES.get(name.lower()) if separator else None


def _of_one(data: str, config: str | None, scratch: Path) -> Source:
    path = Path(data)
    if path.is_dir():
        return _of_folder(path, config, scratch)
    is_repository = not path.exists() and path.suffix.lower() not in SUFFIXES and _REPOSITORY.fullmatch(data)
    return (
        _loaded(data, config, scratch) if is_repository else Source(path.stem, path.parent, {None: path.name})
    )


def _of_folder(folder: Path, config: str | None, scratch: Path) -> Source:
    """The files of a folder whose names state the splits; else what `datasets` finds in it."""
    is_saved = any((folder / name).is_file() for name in ("dataset_dict.json", "state.json"))
    names = sorted(one.name for one in folder.iterdir() if one.suffix.lower() in SUFFIXES)
    splits = [_split_in(name) for name in names]
    if config or is_saved or "train" not in splits or None in splits or len(set(splits)) < len(splits):
        return _loaded(str(folder), config, scratch, is_saved=is_saved)
    files = dict(zip(splits, names, strict=True))
    return Source(folder.resolve().name, folder, {one: files[one] for one in SPLITS if one in files})


def _split_in(name: str) -> Split | None:
    words = [SPLIT_NAMES[word] for word in re.split(r"[^a-z]+", name.lower()) if word in SPLIT_NAMES]
    return words[0] if len(words) == 1 else None


def _loaded(data: str, config: str | None, scratch: Path, *, is_saved: bool = False) -> Source:
    """A Parquet file for each split of what `datasets` loads, with the names of class labels."""
    import datasets

    try:
        found: Any = datasets.load_from_disk(data) if is_saved else datasets.load_dataset(data, config)
    except (OSError, ValueError, RuntimeError, datasets.exceptions.DatasetsError) as error:
        what = f"`datasets` cannot load it: {' '.join(str(error).split())[:300] or type(error).__name__}"
        fix = "name a file, a folder with train and test files, or a dataset repository; --config chooses one"
        raise DataError(Problem(data, what, fix=fix, code="corpora.not_loaded")) from error
    tables = {"train": found} if isinstance(found, datasets.Dataset) else dict(found)
    splits = {name: SPLIT_NAMES.get(name.lower()) for name in tables}
    if len(tables) == 1:
        splits = dict.fromkeys(tables, "train")
    if None in splits.values() or len(set(splits.values())) < len(splits):
        fix = "save the splits that are meant as files, and name them: --data train=FILE --data test=FILE"
        what, got = "its splits are not train, validation and test", ", ".join(tables)
        raise DataError(Problem(data, what, got=got, fix=fix, code="corpora.splits"))
    for name, table in tables.items():
        table.to_parquet(scratch / f"{splits[name]}.parquet")
    title = Path(data).resolve().name if Path(data).is_dir() else data.rpartition("/")[2]
    files: dict[Split | None, str] = {one: f"{one}.parquet" for one in SPLITS if one in splits.values()}
    return Source(title, scratch, files, is_copy=True)
