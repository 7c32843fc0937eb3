"""What a dataset is built from: the dialogues of its corpora with their splits, and video descriptions."""

from __future__ import annotations

import hashlib
import os
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from pydantic import JsonValue

from dialoguellm_release.corpora.cells import Notes
from dialoguellm_release.corpora.registry import CorpusFolders
from dialoguellm_release.dataset.records import SplitTotals, utterance_table
from dialoguellm_release.errors import DataError, Problem, ReleaseError
from dialoguellm_release.folders import stamp
from dialoguellm_release.leakage.shared import find_shared, word_for_word
from dialoguellm_release.leakage.turns import TurnCollector, Turns
from dialoguellm_release.recipes.load import Loaded
from dialoguellm_release.record_columns import by_distinct
from dialoguellm_release.records import ROWS_AT_ONCE
from dialoguellm_release.schemas.audit import Sizes
from dialoguellm_release.schemas.dataset_manifest import VideoProvenance
from dialoguellm_release.schemas.labels import SPLITS, CorpusName, Label, Split
from dialoguellm_release.schemas.recipes.dataset import CorpusRecipe, DatasetRecipe, SplitDraw
from dialoguellm_release.schemas.record import Dialogue
from dialoguellm_release.tabular import read_rows

if TYPE_CHECKING:
    import pyarrow as pa

SPLIT_COLUMNS = ("dialogue_id", "split")
_TURN = {
    "split": "split",
    "dialogue_id": "dialogue_id",
    "utterance_index": "index",
    "input": "text",
    "label": "label",
}
"""The columns of turns, and those of utterances that they are made of."""


class Drawable(NamedTuple):
    """A dialogue whose split is still to be drawn."""

    id: str
    series: str | None  # the stratum of the draw; None where none is known
    utterances: int  # how many it has


def read_split(path: Path, dialogues: Sequence[Drawable]) -> dict[str, Split]:
    """The split of each dialogue that a table with the columns `dialogue_id` and `split` names."""
    known = {dialogue.id for dialogue in dialogues}
    assigned: dict[str, Split] = {}
    problems: list[Problem] = []
    for row in read_rows(path, SPLIT_COLUMNS):
        dialogue_id, split = (str(row.cells[name]) for name in SPLIT_COLUMNS)
        if dialogue_id not in known:
            what, code = f"the corpus has no dialogue {dialogue_id}", "dataset.unknown_dialogue"
            problems.append(Problem(row.where, what, code=code))
        elif dialogue_id in assigned:
            what, code = f"names dialogue {dialogue_id} a second time", "dataset.duplicate_dialogue"
            problems.append(Problem(row.where, what, code=code))
        elif split not in SPLITS:
            expected, code = ", ".join(SPLITS), "dataset.unknown_split"
            problems.append(Problem(row.where, "not a split", expected, split, code=code))
        else:
            assigned[dialogue_id] = split
    if problems:
        raise DataError(problems)
    return assigned


def draw_split(
    dialogues: Sequence[Drawable], draw: SplitDraw, may_be_held_out: Callable[[Drawable], bool]
) -> dict[str, Split]:
    """The drawn split of each dialogue; one that is left over is not in the result.

    Every series gives to every split in proportion to its size, as far as it has dialogues that may be
    held out. Within a series the order is that of a seeded hash of the id, so a dialogue more or less
    moves few others.
    """

    def lot(dialogue: Drawable) -> bytes:
        return hashlib.sha256(f"{draw.seed}/{dialogue.id}".encode()).digest()

    by_series: defaultdict[str, list[Drawable]] = defaultdict(list)
    for dialogue in sorted(dialogues, key=lot):
        by_series[dialogue.series or ""].append(dialogue)
    weights = {series: len(members) for series, members in sorted(by_series.items())}
    assigned: dict[str, Split] = {}
    order: tuple[Split, ...] = ("test", "validation", "train")
    for split in order:
        eligible = {
            series: [
                one.id
                for one in by_series[series]
                if one.id not in assigned and (split == "train" or may_be_held_out(one))
            ]
            for series in weights
        }
        wanted, caps = draw.dialogues[split], {series: len(ids) for series, ids in eligible.items()}
        if sum(caps.values()) < wanted:
            what, fix = "there are too few dialogues to draw from", "ask for fewer in the dataset recipe"
            where, got = f"split.dialogues.{split}", f"{sum(caps.values())} that may be in it"
            raise DataError(Problem(where, what, str(wanted), got, fix, code="dataset.too_few_dialogues"))
        for series, share in apportion(wanted, weights, caps).items():
            assigned |= dict.fromkeys(eligible[series][:share], split)
    return assigned


def apportion(total: int, weights: Mapping[str, int], caps: Mapping[str, int]) -> dict[str, int]:
    """Whole shares of a total in proportion to weights, by largest remainder, none above its cap.

    What a capped one cannot take is shared among the others in the same way. The sum is `total` where the
    caps allow it, else the sum of the caps.

    >>> apportion(10, {"a": 5, "b": 3, "c": 2}, {"a": 9, "b": 1, "c": 9})
    {'a': 6, 'b': 1, 'c': 3}
    """
    shares = dict.fromkeys(weights, 0)
    while left := min(total, sum(caps.values())) - sum(shares.values()):
        open_weights = {name: weight for name, weight in weights.items() if shares[name] < caps[name]}
        whole = sum(open_weights.values())
        exact = {name: Fraction(left * weight, whole) for name, weight in open_weights.items()}
        given = {name: int(share) for name, share in exact.items()}
        by_remainder = sorted(exact, key=lambda name: (given[name] - exact[name], name))
        for name in by_remainder[: left - sum(given.values())]:
            given[name] += 1
        for name, share in given.items():
            shares[name] = min(caps[name], shares[name] + share)
    return shares


def series_table(dialogues: Sequence[Drawable], assigned: Mapping[str, Split]) -> dict[str, JsonValue]:
    """Dialogues per series and split, `unused` among them."""
    table: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for dialogue in dialogues:
        table[dialogue.series or ""][assigned.get(dialogue.id, "unused")] += 1
    return {series: dict(sorted(counts.items())) for series, counts in sorted(table.items())}


ReadCorpus = Callable[[CorpusName, CorpusRecipe, Notes], Iterator[Dialogue]]
"""Gives the dialogues of a corpus; fills the notes while they are read."""


class Spill:
    """Tables in a file, one after the other, so that they take no memory until they are read again."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._starts = file, list[int]()

    def append(self, table: pa.Table) -> None:
        """Writes a table behind the others."""
        import pyarrow as pa

        self._starts.append(self._file.seek(0, os.SEEK_END))
        with pa.ipc.new_stream(self._file, table.schema) as stream:
            stream.write_table(table)

    def __iter__(self) -> Iterator[pa.Table]:
        import pyarrow as pa

        for start in self._starts:
            self._file.seek(start)
            yield pa.ipc.open_stream(self._file).read_all()


@dataclass
class CorpusContent:
    """What is read of one corpus."""

    utterances: Spill  # some thousand at once, of whole dialogues, in the order of its files
    notes: Notes = field(default_factory=Notes)  # its files, and what was noticed in them
    undrawn: list[Drawable] = field(default_factory=list)  # the dialogues to which the corpus gives no split
    # The split of each of them by its id; one that is not here is left out.
    assigned: dict[str, Split] = field(default_factory=dict)
    # How they were drawn, for the manifest; None where nothing had to be.
    draw: dict[str, JsonValue] | None = None
    totals: dict[Split, SplitTotals] = field(default_factory=dict)  # what was written of each split

    def by_split(self, held: pa.Table) -> Iterator[tuple[Split, pa.Table]]:
        """The utterances of a table split by split, without those that are left out."""
        import pyarrow.compute as pc

        split = held["split"].cast("string")
        if self.assigned:
            split = pc.coalesce(split, by_distinct(held["dialogue_id"].cast("string"), self.assigned.get))
        there = split.unique().to_pylist()
        for one in SPLITS:
            if one in there:
                yield one, held if len(there) == 1 else held.filter(pc.equal(split, one))

    def rows(self, *columns: str, is_drawn: bool) -> Iterator[tuple[Any, ...]]:
        """Columns of every utterance whose split is drawn, or given by the files."""
        for held in self.utterances:
            is_wanted = held["split"].is_null() if is_drawn else held["split"].is_valid()
            found = held.filter(is_wanted).select(columns)
            yield from zip(*(one.to_pylist() for one in found.columns), strict=True)

    @property
    def sizes(self) -> dict[Split, Sizes]:
        """How much was written of each split."""
        return {
            split: Sizes(dialogues=one.dialogues, utterances=one.records)
            for split, one in self.totals.items()
        }

    @property
    def unused(self) -> Sizes:
        """What is left out."""
        left = [one for one in self.undrawn if one.id not in self.assigned]
        return Sizes(dialogues=len(left), utterances=sum(one.utterances for one in left))


def read_corpora(
    named: Mapping[CorpusName, CorpusRecipe],
    recipe: DatasetRecipe,
    folders: CorpusFolders,
    read: ReadCorpus,
    spill: IO[bytes],
    advance: Callable[[int], None],
) -> tuple[Turns, dict[CorpusName, CorpusContent]]:
    """The turns of all corpora that go into the dataset, and the content of each, held in a file."""
    collector, contents, problems = TurnCollector(named), dict[CorpusName, CorpusContent](), list[Problem]()
    for name, corpus in named.items():
        contents[name] = content = CorpusContent(Spill(spill))
        try:
            for dialogues in batched_dialogues(read(name, corpus, content.notes)):
                _collect(dialogues, recipe, content, collector)
                advance(len(dialogues))
        except ReleaseError as error:
            problems.extend(error.problems)
    if problems:
        raise DataError(problems)
    turns = collector.turns()
    for name, corpus in named.items():
        if contents[name].undrawn:
            assert corpus.split is not None
            turns = _assigned(name, corpus.split, folders[name], contents[name], turns)
    return turns, contents


def batched_dialogues(dialogues: Iterable[Dialogue]) -> Iterator[list[Dialogue]]:
    """Dialogues with some thousand utterances at once."""
    batch, utterances = list[Dialogue](), 0
    for dialogue in dialogues:
        batch.append(dialogue)
        utterances += len(dialogue.utterances)
        if utterances >= ROWS_AT_ONCE:
            yield batch
            batch, utterances = [], 0
    if batch:
        yield batch


def _collect(
    dialogues: Sequence[Dialogue], recipe: DatasetRecipe, content: CorpusContent, collector: TurnCollector
) -> None:
    """Keeps dialogues of one corpus, and adds their labelled utterances to the turns."""
    import numpy as np
    import pyarrow as pa

    drawn = [one for one in dialogues if one.split is None]
    content.undrawn += [Drawable(one.id, one.series, len(one.utterances)) for one in drawn]
    table = utterance_table(dialogues)
    content.utterances.append(table)
    is_record = table["label"].is_valid().to_numpy()
    sizes = np.array([len(one.utterances) for one in dialogues])
    before = np.cumsum(is_record) - is_record
    before -= np.repeat(before[np.cumsum(sizes) - sizes], sizes)
    if not is_record.all():
        table = table.filter(pa.array(is_record))
    turns = {name: table[one].combine_chunks() for name, one in _TURN.items()}
    turns["corpus"] = pa.repeat(dialogues[0].corpus, len(table))
    turns["label"] = by_distinct(
        turns["label"].cast("string"), lambda one: recipe.relabel.get(one, one), pa.string()
    )
    context_k = recipe.context_of(dialogues[0].corpus)
    collector.add(pa.table(turns), np.minimum(before[is_record], context_k))


def _assigned(name: CorpusName, draw: SplitDraw, source: Path, content: CorpusContent, turns: Turns) -> Turns:
    """The turns with the dialogues of a corpus in their splits, which are read from a file or drawn.

    No dialogue is held out that shares something word for word with a training split, or is the same
    sequence of utterances as a dialogue there, however short: others can be drawn instead.
    """
    if draw.split_file is not None:
        path = source / draw.split_file
        content.assigned = read_split(path, content.undrawn)
        stamped = stamp(path, source)
        content.notes.files.append(stamped.model_copy(update={"path": f"{name}/{stamped.path}"}))
        drawn: dict[str, JsonValue] = {"split_file": draw.split_file}
    else:
        shared = find_shared(turns)
        barred = shared.speech.where(word_for_word(shared, min_dialogue=1) != 0).dialogues_of(name)
        _stratify(content)
        content.assigned = draw_split(content.undrawn, draw, lambda one: one.id not in barred)
        drawn = {"seed": draw.seed, "barred_from_held_out": len(barred)}
    given = set(content.rows("split", "dialogue_id", is_drawn=False))
    if twice := [one for one, split in content.assigned.items() if (split, one) in given]:
        what = f"dialogues are drawn into a split that already has one of the same id: {', '.join(twice[:5])}"
        fix = "draw none for a split that the files have, or give each dialogue an id of its own"
        raise DataError(Problem(name, what, fix=fix, code="dataset.duplicate_dialogue"))
    content.draw = {**drawn, "dialogues": series_table(content.undrawn, content.assigned)}
    return turns.assigned(name, content.assigned)


def _stratify(content: CorpusContent) -> None:
    """Gives undrawn dialogues without a series their rarest label as the stratum of the draw.

    The rarest label first is the order of Sechidis, Tsoumakas and Vlahavas, "On the stratification of
    multi-label data", ECML PKDD 2011; a dialogue is drawn as a whole, so it counts for one label alone.
    """
    if all(one.series for one in content.undrawn):
        return
    undrawn = defaultdict[str, list[Label]](list)
    for dialogue, label in content.rows("dialogue_id", "label", is_drawn=True):
        if label:
            undrawn[dialogue].append(label)
    counts = Counter(label for labels in undrawn.values() for label in labels)
    content.undrawn = [
        one
        if one.series or not undrawn[one.id]
        else one._replace(series=min(undrawn[one.id], key=lambda label: (counts[label], label)))
        for one in content.undrawn
    ]


def arranged(
    loaded: Loaded[DatasetRecipe], texts: Mapping[str, str], provenance: VideoProvenance | None
) -> tuple[Mapping[str, str], VideoProvenance | None]:
    """Descriptions by record id as the recipe wants them, with a provenance that says so."""
    use = loaded.recipe.video
    if use is not None and provenance is None:
        what = f"the recipe {loaded.name} needs video descriptions"
        fix = "name the folder that `dlm-release video describe` made"
        raise DataError(Problem("--video", what, fix=fix, code="dataset.no_descriptions"))
    if use is None or use.shuffle_seed is None or provenance is None:
        return texts, provenance
    shuffled_by = provenance.model_copy(update={"shuffle_seed": use.shuffle_seed})
    return shuffled(texts, use.shuffle_seed), shuffled_by


def shuffled(texts: Mapping[str, str], seed: int) -> dict[str, str]:
    """Each description at another record of the same corpus and split; one that is alone there stays.

    Why a turn of a shuffled circle, and no plain shuffle: that leaves some where they were.
    """
    groups: defaultdict[str, list[str]] = defaultdict(list)
    for name in sorted(texts):
        corpus, split, *_ = name.split("/")
        groups[f"{corpus}/{split}"].append(name)
    moved = {}
    for group, names in groups.items():
        random.Random(f"{seed} {group}").shuffle(names)
        moved.update({name: texts[other] for name, other in zip(names, [*names[1:], names[0]], strict=True)})
    return moved
