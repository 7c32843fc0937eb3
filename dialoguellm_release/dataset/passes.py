"""Two passes over corpora: one finds what they share, one writes their records, hashed, as a stream."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from dialoguellm_release.corpora.notes import Notes
from dialoguellm_release.corpora.registry import CorpusFolders
from dialoguellm_release.dataset.reconcile import check_counts, reconcile
from dialoguellm_release.dataset.records import RecordMaker, SplitWriter, Tally
from dialoguellm_release.dataset.survey import CorpusSurvey, ReadCorpus, survey_corpora
from dialoguellm_release.errors import DataError, Problem
from dialoguellm_release.folders import combined_sha256, write_text
from dialoguellm_release.layout import AUDIT
from dialoguellm_release.leakage.audit import Ledger, audit_as_json, audit_figures, make_ledger
from dialoguellm_release.leakage.shared import split_names
from dialoguellm_release.leakage.turns import Turns
from dialoguellm_release.prompts import Prompt, load_prompt
from dialoguellm_release.recipes.load import Loaded
from dialoguellm_release.records import content_sha256
from dialoguellm_release.schemas.audit import AuditFigures
from dialoguellm_release.schemas.claims import ClaimsRecipe
from dialoguellm_release.schemas.counts import Reconciliation, Sizes
from dialoguellm_release.schemas.dataset_manifest import CorpusFigures, DatasetFigures
from dialoguellm_release.schemas.labels import SPLITS, CorpusName, Label, Split, class_labels
from dialoguellm_release.schemas.recipes.dataset import CorpusRecipe, DatasetRecipe

PASSES = 2
"""The corpora are read twice: for the ledger, then for the records, whose `leaks` it decides."""

SHAPED_BY = ("pyarrow", "pydantic", "jinja2", "matplotlib", "pillow")
"""The packages whose versions shape a dataset folder, its card and its figures."""

NO_DESCRIPTIONS: Mapping[str, str] = {}


@dataclass(frozen=True)
class Corpus:
    """A corpus that is built.

    Attributes:
        license: Of its text.
        may_redistribute: Whether the text may be passed on.
        label_space: The labels that its instruction shows.
    """

    recipe: CorpusRecipe
    license: str
    may_redistribute: bool
    label_space: tuple[Label, ...]


def write_corpora(
    loaded: Loaded[DatasetRecipe],
    corpora: Mapping[CorpusName, Corpus],
    folders: CorpusFolders,
    folder: Path,
    read: ReadCorpus,
    advance: Callable[[int], None],
    *,
    claims: ClaimsRecipe | None = None,
    skipped: Collection[CorpusName] = (),
    descriptions: Mapping[str, str] = NO_DESCRIPTIONS,
) -> DatasetFigures:
    """Writes the data files and the audit of a dataset into an empty folder, and gives its figures.

    Args:
        corpora: What is built, in this order.
        folders: Where the split file of each corpus is.
        advance: Told how many dialogues are done more, in each of the two passes.
        claims: The paper's counts for the reconciliation; None for none.
        skipped: Corpora of the recipe that are left out.
        descriptions: Video descriptions by record id.

    Raises:
        DataError: With everything that is wrong in the corpora, or the counts that miss.
    """
    recipe = loaded.recipe
    prompt = load_prompt(recipe.prompt)
    named = {name: one.recipe for name, one in corpora.items()}
    turns, surveys = survey_corpora(named, recipe, folders, read, advance)
    fates, audit = _fates(turns, recipe, folder)
    del turns
    labels = class_labels(one.label_space for one in corpora.values())
    work = _Work(recipe, prompt, labels, folder, read, fates, descriptions, advance)
    written = {name: _write_corpus(name, corpus, surveys[name], work) for name, corpus in corpora.items()}
    rows = [row for one in written.values() for row in _reconciled(one, claims)]
    check_counts(rows, {name: one.survey.notes for name, one in written.items()})
    return _figures(recipe, prompt, written, tuple(sorted(skipped)), rows, audit)


def dataset_sha256(figures: DatasetFigures) -> str:
    """The content hash of a dataset: one over those of its splits."""
    return combined_sha256(
        (f"{name}/{split}", digest)
        for name, corpus in figures.corpora.items()
        for split, digest in corpus.content_sha256.items()
    )


class _Fates:
    """What becomes of each utterance, given in the order in which the corpora are read.

    Why: the second pass over the corpora reads what the first one read, in the same order.
    """

    def __init__(self, turns: Turns, ledger: Ledger) -> None:
        import numpy as np

        utterances = int(turns.place.max(initial=-1)) + 1
        self._leaks, self._fates = np.zeros(utterances, np.int32), np.zeros(utterances, np.int8)
        self._leaks[turns.place], self._fates[turns.place] = ledger.leaks, ledger.fates
        self._splits, self._next = turns.splits, 0

    def take(self, count: int) -> tuple[list[tuple[str, ...]], list[int]]:
        """The splits that each of the next utterances leaks into, and what becomes of it."""
        here = slice(self._next, self._next + count)
        self._next += count
        leaks = [split_names(bits, self._splits) for bits in self._leaks[here].tolist()]
        return leaks, self._fates[here].tolist()


def _fates(turns: Turns, recipe: DatasetRecipe, folder: Path) -> tuple[_Fates, AuditFigures]:
    """What becomes of each utterance, and the audit in numbers; writes the audit."""
    ledger = make_ledger(turns, recipe.clean, lambda _: None)
    write_text(folder / AUDIT, audit_as_json(ledger.audit))
    return _Fates(turns, ledger), audit_figures(ledger.audit)


@dataclass(frozen=True)
class _Work:
    """What the second pass needs, whatever the corpus."""

    recipe: DatasetRecipe
    prompt: Prompt
    labels: tuple[Label, ...]
    folder: Path
    read: ReadCorpus
    fates: _Fates
    descriptions: Mapping[str, str]
    advance: Callable[[int], None]


@dataclass
class _Written:
    """What was read and written of one corpus."""

    name: CorpusName
    corpus: Corpus
    survey: CorpusSurvey
    tallies: Mapping[Split, Tally]
    relabelled: Counter[str]


def _write_corpus(name: CorpusName, corpus: Corpus, survey: CorpusSurvey, work: _Work) -> _Written:
    recipe, prompt, notes = work.recipe, work.prompt, Notes()
    maker = RecordMaker(
        prompt, corpus.license, corpus.label_space, recipe.basic7, recipe.context_k, work.descriptions
    )
    writers: dict[Split, SplitWriter] = {}
    with ExitStack() as files:
        for dialogue in work.read(name, corpus.recipe, notes):
            leaks, own_fates = work.fates.take(len(dialogue.utterances))
            split = survey.split_of(dialogue)
            if split is not None:
                if split not in writers:
                    writers[split] = SplitWriter(work.folder, name, split, prompt, work.labels, files)
                writers[split].add(list(maker.records(dialogue, split, leaks)), own_fates)
            work.advance(1)
    _check_same_files(survey.notes, notes)
    tallies = {split: writer.tally for split, writer in writers.items()}
    return _Written(name, corpus, survey, tallies, maker.relabelled)


def _check_same_files(first: Notes, second: Notes) -> None:
    """Compares the files of the two passes; a split file is read in the first one only."""
    changed = [file.path for file in second.files if file not in first.files]
    if changed:
        what = "was changed while the dataset was built"
        raise DataError([Problem(path, what, fix="build the dataset again") for path in changed])


def _reconciled(written: _Written, claims: ClaimsRecipe | None) -> list[Reconciliation]:
    built = {split: tally.sizes for split, tally in written.tallies.items()}
    return reconcile(written.name, written.corpus.recipe, claims, written.survey.notes, built)


def _figures(
    recipe: DatasetRecipe,
    prompt: Prompt,
    written: Mapping[CorpusName, _Written],
    skipped: tuple[CorpusName, ...],
    rows: list[Reconciliation],
    audit: AuditFigures,
) -> DatasetFigures:
    corpora = {name: _corpus_figures(one) for name, one in written.items()}
    relabelled = sum((one.relabelled for one in written.values()), Counter[str]())
    return DatasetFigures(
        records={split: sum(_of(one, split).utterances for one in corpora.values()) for split in SPLITS},
        dialogues={split: sum(_of(one, split).dialogues for one in corpora.values()) for split in SPLITS},
        corpora=corpora,
        skipped=skipped,
        class_labels=class_labels(one.label_space for one in corpora.values()),
        context_k=recipe.context_k,
        prompt=prompt.name,
        prompt_sha256=prompt.sha256,
        split_draw=next((one.survey.draw for one in written.values() if one.survey.draw), None),
        relabelled=dict(sorted(relabelled.items())),
        reconciliation=tuple(rows),
        audit=audit,
    )


def _of(corpus: CorpusFigures, split: Split) -> Sizes:
    return corpus.splits.get(split, Sizes(dialogues=0, utterances=0))


def _corpus_figures(written: _Written) -> CorpusFigures:
    tallies = {split: written.tallies[split] for split in SPLITS if split in written.tallies}
    return CorpusFigures(
        license=written.corpus.license,
        may_redistribute=written.corpus.may_redistribute,
        label_space=written.corpus.label_space,
        files=tuple(written.survey.notes.files),
        unknown_files=tuple(written.survey.notes.unknown_files),
        repairs=dict(sorted(written.survey.notes.repairs.items())),
        unused=written.survey.unused,
        splits={split: tally.sizes for split, tally in tallies.items()},
        parts={split: tally.parts for split, tally in tallies.items()},
        labels={
            split: {label: tally.labels[label] for label in written.corpus.label_space}
            for split, tally in tallies.items()
        },
        content_sha256={split: content_sha256(tally.digests) for split, tally in tallies.items()},
    )
