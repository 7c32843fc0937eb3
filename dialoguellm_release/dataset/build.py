"""The dataset folder of a recipe: its corpora are read once, compared, and written as records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING

from dialoguellm_release.corpora.cells import Notes
from dialoguellm_release.corpora.readers import read_corpus
from dialoguellm_release.corpora.registry import CorpusFolders, entry_of
from dialoguellm_release.dataset.counts import check_counts, reconcile, turn_statistics
from dialoguellm_release.dataset.reading import CorpusContent, ReadCorpus, read_corpora
from dialoguellm_release.dataset.records import RecordMaker, SplitWriter
from dialoguellm_release.errors import DataError, Problem
from dialoguellm_release.folders import combined_sha256, write_text
from dialoguellm_release.layout import AUDIT
from dialoguellm_release.leakage.audit import Ledger, audit_as_json, make_ledger, part_sizes
from dialoguellm_release.leakage.shared import split_names
from dialoguellm_release.leakage.turns import Turns, dialogue_starts
from dialoguellm_release.prompts import prompt_of
from dialoguellm_release.recipes.load import Loaded
from dialoguellm_release.records import content_sha256, paused_garbage_collection, return_memory
from dialoguellm_release.schemas.claims import ClaimsRecipe
from dialoguellm_release.schemas.corpus import CorpusEntry
from dialoguellm_release.schemas.dataset_manifest import CorpusFigures, DatasetFigures, VideoProvenance
from dialoguellm_release.schemas.labels import SPLITS, CorpusName, Label, Split, class_labels
from dialoguellm_release.schemas.recipes.dataset import CorpusRecipe, DatasetRecipe
from dialoguellm_release.schemas.record import Dialogue

if TYPE_CHECKING:
    import pyarrow as pa

    from dialoguellm_release.leakage.turns import Decisions

SHAPED_BY = ("pyarrow", "pydantic", "jinja2", "matplotlib", "pillow")
"""The packages whose versions shape a dataset folder, its card and its figures."""

STAGES = 2
"""Each dialogue is reported twice: when it is read, and when its records are written."""


@dataclass(frozen=True)
class Build:
    """What a dataset is built from."""

    loaded: Loaded[DatasetRecipe]
    folders: CorpusFolders  # where the native files of each corpus are
    claims: ClaimsRecipe | None = None  # the paper's counts for the reconciliation; None for none
    skip: Collection[CorpusName] = ()  # corpora of the recipe that are left out
    descriptions: Mapping[str, str] | None = None  # video descriptions by record id
    video: VideoProvenance | None = None  # where these come from; None where there are none

    @property
    def recipe(self) -> DatasetRecipe:
        """The recipe as it was resolved."""
        return self.loaded.recipe

    def corpora(self) -> dict[CorpusName, CorpusEntry]:
        """The corpora that are built, in the order of the recipe, with the label space that they get."""
        names = [name for name in self.recipe.corpora if name not in self.skip]
        if not names:
            what = "no corpus is left to build from"
            raise DataError(Problem(self.loaded.name, what, fix="skip fewer", code="dataset.no_corpus"))
        return {name: _checked_entry(name, self.recipe) for name in names}

    def read(self, name: CorpusName, corpus: CorpusRecipe, notes: Notes) -> Iterator[Dialogue]:
        """The dialogues of a corpus from its native files."""
        return read_corpus(entry_of(name, corpus), self.folders[name], corpus, notes)


@paused_garbage_collection()
def write_dataset(
    build: Build, folder: Path, advance: Callable[[int], None], *, read: ReadCorpus | None = None
) -> DatasetFigures:
    """Writes the data files and the audit of a dataset into an empty folder, and gives its figures."""
    corpora, recipe = build.corpora(), build.recipe
    named = {name: recipe.corpora[name] for name in corpora}
    with TemporaryFile(dir=folder) as spill, ExitStack() as files:
        turns, contents = read_corpora(named, recipe, build.folders, read or build.read, spill, advance)
        ledger = make_ledger(turns, recipe.clean)
        write_text(folder / AUDIT, audit_as_json(ledger.audit))
        statistics, audit = turn_statistics(turns), ledger.audit.figures
        labels = class_labels(one.label_space for one in corpora.values())
        writer = _Writer(build, folder, labels, _Decisions(turns, ledger), advance, files)
        del turns, ledger
        for name, entry in corpora.items():
            return_memory()
            writer.write(name, entry, contents[name])
    rows = [
        row
        for name, content in contents.items()
        for row in reconcile(name, named[name], build.claims, content.notes, content.sizes)
    ]
    check_counts(rows, {name: content.notes for name, content in contents.items()})
    sizes = [content.sizes for content in contents.values()]
    return DatasetFigures(
        records={split: sum(one[split].utterances for one in sizes if split in one) for split in SPLITS},
        dialogues={split: sum(one[split].dialogues for one in sizes if split in one) for split in SPLITS},
        corpora={
            name: _corpus_figures(entry, contents[name], recipe.corpora[name])
            for name, entry in corpora.items()
        },
        skipped=tuple(sorted(build.skip)),
        class_labels=labels,
        context_k=recipe.context_k,
        prompt=writer.prompt.name,
        prompt_sha256=writer.prompt.sha256,
        split_draws={name: one.draw for name, one in contents.items() if one.draw},
        relabelled=dict(sorted(writer.relabelled.items())),
        reconciliation=tuple(rows),
        audit=audit,
        statistics=statistics,
        video=build.video and build.video.model_copy(update={"records": _described(contents)}),
    )


def dataset_sha256(figures: DatasetFigures) -> str:
    """The content hash of a dataset: one over those of its splits."""
    return combined_sha256(
        (f"{name}/{split}", digest)
        for name, corpus in figures.corpora.items()
        for split, digest in corpus.content_sha256.items()
    )


class _Decisions:
    """What the audit decides for the records of each dialogue, by its split and id."""

    def __init__(self, turns: Turns, ledger: Ledger) -> None:
        starts = dialogue_starts(turns)
        names = [turns.dialogue_ids[one] for one in turns.dialogue[starts].tolist()]
        places = map(range, starts.tolist(), [*starts[1:].tolist(), len(turns.split)])
        self._places = dict(zip(zip(turns.split[starts].tolist(), names, strict=True), places, strict=True))
        self._splits, self._ledger = turns.splits, ledger

    def of(self, corpus: CorpusName, split: Split, dialogues: Iterable[str]) -> tuple[pa.Array, Decisions]:
        """The splits that each record of some dialogues leaks into, and what becomes of the record."""
        import numpy as np
        import pyarrow as pa

        number = self._splits.index((corpus, split))
        found = (self._places.get((number, one), range(0)) for one in dialogues)
        places = np.fromiter(chain.from_iterable(found), dtype=np.int64)
        bits, coded = np.unique(self._ledger.leaks[places], return_inverse=True)
        leaks = [split_names(int(one), self._splits) for one in bits.tolist()]
        return pa.array(leaks, pa.list_(pa.string())).take(pa.array(coded)), self._ledger.decisions[places]


class _Writer:
    """Writes the corpora of a dataset as records."""

    def __init__(
        self,
        build: Build,
        folder: Path,
        labels: tuple[Label, ...],
        decisions: _Decisions,
        advance: Callable[[int], None],
        files: ExitStack,
    ) -> None:
        self.prompt = prompt_of(build.recipe)
        self.relabelled = Counter[str]()
        self._build, self._folder, self._labels = build, folder, labels
        self._decisions, self._advance, self._files = decisions, advance, files

    def write(self, name: CorpusName, entry: CorpusEntry, content: CorpusContent) -> None:
        """Writes the records of a corpus."""
        recipe, descriptions = self._build.recipe, self._build.descriptions or {}
        terms = (entry.text_license.id, entry.label_space, recipe.relabel)
        shown = (recipe.context_of(name), recipe.speakers)
        maker = RecordMaker(self.prompt, *terms, *shown, descriptions)
        writers: dict[Split, SplitWriter] = {}
        for held in content.utterances:
            for split, utterances in content.by_split(held):
                if split not in writers:
                    where = (self._folder, name, split)
                    writers[split] = SplitWriter(*where, self.prompt, self._labels, self._files)
                dialogues = utterances["dialogue_id"].unique().to_pylist()
                leaks, decided = self._decisions.of(name, split, dialogues)
                writers[split].add(maker.columns(name, split, utterances, leaks), decided)
                writers[split].totals.context_only += utterances["label"].null_count
                self._advance(len(dialogues))
        for one in writers.values():
            one.finish()
        content.totals = {split: writers[split].totals for split in SPLITS if split in writers}
        self.relabelled += maker.relabelled


def _checked_entry(name: CorpusName, recipe: DatasetRecipe) -> CorpusEntry:
    corpus = recipe.corpora[name]
    entry = entry_of(name, corpus)
    if entry.splits != "native" and corpus.split is None:
        what = f"the files of {name} state no splits, and the recipe does not say how they come about"
        fix = f"add corpora.{name}.split: a seed and how many dialogues, or a split file"
        where = f"corpora.{name}.split"
        raise DataError(Problem(where, what, fix=fix, code="dataset.split_missing"))
    label_space = recipe.shared_labels or entry.label_space
    if lacking := [label for label in entry.label_space if label not in (*label_space, *recipe.relabel)]:
        what = (
            f"{', '.join(lacking)} of {name} is not in label_space, and relabel does not say what replaces it"
        )
        fix = f"add to relabel in the dataset recipe: {', '.join(f'{label}: LABEL' for label in lacking)}"
        expected = ", ".join(label_space)
        raise DataError(Problem("relabel", what, expected, fix=fix, code="dataset.relabel_incomplete"))
    return entry.model_copy(update={"label_space": label_space})


def _described(contents: Mapping[CorpusName, CorpusContent]) -> dict[CorpusName, dict[Split, int]]:
    """How many records have a video description, of the corpora where some have."""
    counts = {
        name: {split: totals.described for split, totals in content.totals.items()}
        for name, content in contents.items()
    }
    return {name: splits for name, splits in counts.items() if any(splits.values())}


def _corpus_figures(entry: CorpusEntry, content: CorpusContent, recipe: CorpusRecipe) -> CorpusFigures:
    notes, totals = content.notes, content.totals
    return CorpusFigures(
        license=entry.text_license.id,
        may_redistribute=entry.text_license.redistribute == "yes",
        label_space=entry.label_space,
        context_k=recipe.context_k,
        files=tuple(notes.files),
        unknown_files=tuple(notes.unknown_files),
        repairs=dict(sorted(notes.repairs.items())),
        unused=content.unused,
        splits=content.sizes,
        context_only={split: one.context_only for split, one in totals.items() if one.context_only},
        parts={split: part_sizes(one.decisions) for split, one in totals.items()},
        labels={
            split: {label: one.labels[label] for label in entry.label_space} for split, one in totals.items()
        },
        content_sha256={
            split: content_sha256(map(Future.result, one.digests)) for split, one in totals.items()
        },
    )
