"""The dataset folder of a recipe: its corpora are read once, compared, and written as records."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from dialoguellm_release.corpora.notes import Notes
from dialoguellm_release.corpora.readers import read_corpus
from dialoguellm_release.corpora.registry import CorpusFolders, entry_of
from dialoguellm_release.dataset.counts import check_counts, reconcile, turn_statistics
from dialoguellm_release.dataset.reading import CorpusContent, ReadCorpus, read_corpora
from dialoguellm_release.dataset.records import RecordMaker, SplitTotals, SplitWriter
from dialoguellm_release.errors import DataError, Problem
from dialoguellm_release.folders import combined_sha256, write_text
from dialoguellm_release.layout import AUDIT
from dialoguellm_release.leakage.audit import Ledger, audit_as_json, make_ledger
from dialoguellm_release.leakage.shared import split_names
from dialoguellm_release.leakage.turns import Turns, dialogue_starts
from dialoguellm_release.prompts import load_prompt
from dialoguellm_release.recipes.load import Loaded
from dialoguellm_release.records import content_sha256
from dialoguellm_release.schemas.claims import ClaimsRecipe
from dialoguellm_release.schemas.counts import Reconciliation, Sizes
from dialoguellm_release.schemas.dataset_manifest import CorpusFigures, DatasetFigures, VideoProvenance
from dialoguellm_release.schemas.labels import BASIC_LABELS, SPLITS, CorpusName, Label, Split, class_labels
from dialoguellm_release.schemas.recipes.dataset import CorpusRecipe, DatasetRecipe
from dialoguellm_release.schemas.record import Dialogue

SHAPED_BY = ("pyarrow", "pydantic", "jinja2", "matplotlib", "pillow")
"""The packages whose versions shape a dataset folder, its card and its figures."""

STAGES = 2
"""Each dialogue is reported twice: when it is read, and when its records are written."""


@dataclass(frozen=True)
class Corpus:
    """A corpus of a dataset.

    Attributes:
        recipe: What the dataset recipe says of it.
        license: Of its text.
        may_redistribute: Whether the text may be passed on.
        label_space: The labels that its instruction shows.
    """

    recipe: CorpusRecipe
    license: str
    may_redistribute: bool
    label_space: tuple[Label, ...]


@dataclass(frozen=True)
class Build:
    """What a dataset is built from.

    Attributes:
        loaded: The recipe.
        folders: Where the native files of each corpus are.
        claims: The paper's counts for the reconciliation; None for none.
        skip: Corpora of the recipe that are left out.
        descriptions: Video descriptions by record id.
        video: Where these come from; None where there are none.
    """

    loaded: Loaded[DatasetRecipe]
    folders: CorpusFolders
    claims: ClaimsRecipe | None = None
    skip: Collection[CorpusName] = ()
    descriptions: Mapping[str, str] | None = None
    video: VideoProvenance | None = None

    @property
    def recipe(self) -> DatasetRecipe:
        """The recipe as it was resolved."""
        return self.loaded.recipe

    def corpora(self) -> dict[CorpusName, Corpus]:
        """The corpora that are built, in the order of the recipe.

        Raises:
            DataError: None is left.
        """
        named = {name: one for name, one in self.recipe.corpora.items() if name not in self.skip}
        if not named:
            what = "no corpus is left to build from"
            raise DataError(Problem(self.loaded.name, what, fix="skip fewer", code="dataset.no_corpus"))
        return {name: _of_registry(name, one, self.recipe) for name, one in named.items()}

    def read(self, name: CorpusName, corpus: CorpusRecipe, notes: Notes) -> Iterator[Dialogue]:
        """The dialogues of a corpus from its native files."""
        return read_corpus(entry_of(name, corpus), self.folders[name], corpus, notes)


def write_dataset(
    build: Build,
    folder: Path,
    advance: Callable[[int], None],
    *,
    read: ReadCorpus | None = None,
    corpora: Mapping[CorpusName, Corpus] | None = None,
) -> DatasetFigures:
    """Writes the data files and the audit of a dataset into an empty folder, and gives its figures.

    Args:
        build: What it is built from.
        folder: An empty folder.
        advance: Called with the number of dialogues that went through one of the `STAGES`.
        read: Gives the dialogues of a corpus; None reads the native files.
        corpora: What is built, in this order; None for the corpora of the recipe.

    Raises:
        DataError: With everything that is wrong in the corpora, or the counts that do not match.
    """
    with _paused_garbage_collection():
        return _written(build, folder, advance, read or build.read, corpora or build.corpora())


def _written(
    build: Build,
    folder: Path,
    advance: Callable[[int], None],
    read: ReadCorpus,
    chosen: Mapping[CorpusName, Corpus],
) -> DatasetFigures:
    named = {name: one.recipe for name, one in chosen.items()}
    turns, contents = read_corpora(named, build.recipe, build.folders, read, advance)
    ledger = make_ledger(turns, build.recipe.clean, lambda _: None)
    write_text(folder / AUDIT, audit_as_json(ledger.audit))
    statistics, audit = turn_statistics(turns), ledger.audit.figures
    labels = class_labels(one.label_space for one in chosen.values())
    writer = _Writer(build, folder, labels, _Decisions(turns, ledger), advance)
    del turns, ledger
    written = {name: writer.write(name, corpus, contents[name]) for name, corpus in chosen.items()}
    rows = [row for one in written.values() for row in _reconciled(one, build.claims)]
    check_counts(rows, {name: one.content.notes for name, one in written.items()})
    per_corpus = {name: _corpus_figures(one) for name, one in written.items()}
    return DatasetFigures(
        records={split: sum(_of(one, split).utterances for one in per_corpus.values()) for split in SPLITS},
        dialogues={split: sum(_of(one, split).dialogues for one in per_corpus.values()) for split in SPLITS},
        corpora=per_corpus,
        skipped=tuple(sorted(build.skip)),
        class_labels=labels,
        context_k=build.recipe.context_k,
        prompt=writer.prompt.name,
        prompt_sha256=writer.prompt.sha256,
        split_draw=next((one.content.draw for one in written.values() if one.content.draw), None),
        relabelled=dict(sorted(sum((one.relabelled for one in written.values()), Counter[str]()).items())),
        reconciliation=tuple(rows),
        audit=audit,
        statistics=statistics,
        video=build.video and _counted(build.video, written),
    )


def dataset_sha256(figures: DatasetFigures) -> str:
    """The content hash of a dataset: one over those of its splits."""
    return combined_sha256(
        (f"{name}/{split}", digest)
        for name, corpus in figures.corpora.items()
        for split, digest in corpus.content_sha256.items()
    )


@contextmanager
def _paused_garbage_collection() -> Iterator[None]:
    """Pauses the search for reference cycles, which a build does not make.

    Why: a sixth of the time of a build went into traversing the dialogues that it holds, over and over.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


class _Decisions:
    """What the audit decides for the records of each dialogue, by its split and id."""

    def __init__(self, turns: Turns, ledger: Ledger) -> None:
        starts = dialogue_starts(turns)
        ends = [*starts[1:].tolist(), len(turns.split)]
        names = [turns.dialogue_ids[one] for one in turns.dialogue[starts].tolist()]
        splits = [turns.splits[one] for one in turns.split[starts].tolist()]
        places = map(slice, starts.tolist(), ends)
        self._places = dict(zip(zip(splits, names, strict=True), places, strict=True))
        self._splits, self._ledger = turns.splits, ledger

    def of(
        self, corpus: CorpusName, split: Split, dialogue_id: str
    ) -> tuple[list[tuple[str, ...]], list[int]]:
        """The splits that each record of a dialogue leaks into, and what becomes of the record."""
        place = self._places[(corpus, split), dialogue_id]
        leaks = [split_names(bits, self._splits) for bits in self._ledger.leaks[place].tolist()]
        return leaks, self._ledger.decisions[place].tolist()


@dataclass
class _Written:
    """What was read and written of one corpus."""

    name: CorpusName
    corpus: Corpus
    content: CorpusContent
    totals: Mapping[Split, SplitTotals]
    relabelled: Counter[str]


class _Writer:
    """Writes the corpora of a dataset as records."""

    def __init__(
        self,
        build: Build,
        folder: Path,
        labels: tuple[Label, ...],
        decisions: _Decisions,
        advance: Callable[[int], None],
    ) -> None:
        self.prompt = load_prompt(build.recipe.prompt)
        self._build, self._folder, self._labels = build, folder, labels
        self._decisions, self._advance = decisions, advance

    def write(self, name: CorpusName, corpus: Corpus, content: CorpusContent) -> _Written:
        """Writes the records of a corpus, whose dialogues are then no longer held."""
        recipe, descriptions = self._build.recipe, self._build.descriptions or {}
        terms = (corpus.license, corpus.label_space)
        maker = RecordMaker(self.prompt, *terms, recipe.basic7, recipe.context_k, descriptions)
        writers: dict[Split, SplitWriter] = {}
        dialogues, content.dialogues = content.dialogues, []
        with ExitStack() as files:
            for dialogue in dialogues:
                split = content.split_of(dialogue)
                if split is not None:
                    if split not in writers:
                        where = (self._folder, name, split)
                        writers[split] = SplitWriter(*where, self.prompt, self._labels, files)
                    leaks, decided = self._decisions.of(name, split, dialogue.id)
                    writers[split].add(list(maker.records(dialogue, split, leaks)), decided)
                self._advance(1)
        totals = {split: writers[split].totals for split in SPLITS if split in writers}
        return _Written(name, corpus, content, totals, maker.relabelled)


def _of_registry(name: CorpusName, corpus: CorpusRecipe, recipe: DatasetRecipe) -> Corpus:
    entry = entry_of(name, corpus)
    if entry.splits != "native" and corpus.split is None:
        what = f"the files of {name} state no splits, and the recipe does not say how they come about"
        fix = f"add corpora.{name}.split: a seed and how many dialogues, or a split file"
        where = f"corpora.{name}.split"
        raise DataError(Problem(where, what, fix=fix, code="dataset.split_missing"))
    terms = entry.text_license
    label_space = entry.label_space if recipe.label_space == "corpus" else BASIC_LABELS
    if lacking := [label for label in entry.label_space if label not in (*label_space, *recipe.basic7)]:
        what = f"basic7 does not say which of the seven labels stands for {', '.join(lacking)} of {name}"
        fix = "add them to basic7 in the dataset recipe"
        raise DataError(Problem("basic7", what, fix=fix, code="dataset.basic7_incomplete"))
    return Corpus(corpus, terms.id, terms.redistribute == "yes", label_space)


def _reconciled(written: _Written, claims: ClaimsRecipe | None) -> list[Reconciliation]:
    built = {split: totals.sizes for split, totals in written.totals.items()}
    return reconcile(written.name, written.corpus.recipe, claims, written.content.notes, built)


def _counted(video: VideoProvenance, written: Mapping[CorpusName, _Written]) -> VideoProvenance:
    """The provenance of descriptions with the count of records that have one."""
    counts = {
        name: {split: totals.described for split, totals in one.totals.items()}
        for name, one in written.items()
    }
    records = {name: splits for name, splits in counts.items() if any(splits.values())}
    return video.model_copy(update={"records": records})


def _of(corpus: CorpusFigures, split: Split) -> Sizes:
    return corpus.splits.get(split, Sizes(dialogues=0, utterances=0))


def _corpus_figures(written: _Written) -> CorpusFigures:
    notes, corpus, totals = written.content.notes, written.corpus, written.totals
    return CorpusFigures(
        license=corpus.license,
        may_redistribute=corpus.may_redistribute,
        label_space=corpus.label_space,
        files=tuple(notes.files),
        unknown_files=tuple(notes.unknown_files),
        repairs=dict(sorted(notes.repairs.items())),
        unused=written.content.unused,
        splits={split: one.sizes for split, one in totals.items()},
        parts={split: one.parts for split, one in totals.items()},
        labels={
            split: {label: one.labels[label] for label in corpus.label_space} for split, one in totals.items()
        },
        content_sha256={split: content_sha256(one.digests) for split, one in totals.items()},
    )
