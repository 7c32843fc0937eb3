"""The dataset folder from the native corpora: read, split, validated, hashed and written as a stream."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import JsonValue

from dialoguellm_release.corpora.notes import Notes
from dialoguellm_release.corpora.read import read_corpus
from dialoguellm_release.corpora.registry import corpus_entry
from dialoguellm_release.dataset.context import RecordMaker
from dialoguellm_release.dataset.identity import content_sha256, record_digest
from dialoguellm_release.dataset.leakage import TextIndex
from dialoguellm_release.dataset.parquet import (
    RowWriter,
    record_columns,
    record_schema,
    sft_schema,
)
from dialoguellm_release.dataset.reconcile import check_counts, reconcile
from dialoguellm_release.dataset.splits import draw_split, read_split, series_table
from dialoguellm_release.errors import DataError, Problem, ReleaseError
from dialoguellm_release.folders import combined_sha256, package_versions, stamp, stamps
from dialoguellm_release.prompts import Prompt, load_prompt
from dialoguellm_release.recipes.load import Loaded
from dialoguellm_release.schemas.claims import ClaimsRecipe
from dialoguellm_release.schemas.corpus import CorpusEntry
from dialoguellm_release.schemas.dialogue import Dialogue
from dialoguellm_release.schemas.labels import BASIC_LABELS, SPLITS, CorpusName, Label, Split
from dialoguellm_release.schemas.manifest import (
    CorpusFigures,
    DatasetFigures,
    DatasetManifest,
    FileStamp,
    Reconciliation,
    Sizes,
)
from dialoguellm_release.schemas.recipes.dataset import CorpusRecipe, DatasetRecipe, MeisdRecipe
from dialoguellm_release.schemas.record import Record

SHAPED_BY = ("pyarrow", "pydantic", "jinja2", "matplotlib", "pillow")
"""The packages whose versions shape a dataset folder, its card and its figures."""

NO_DESCRIPTIONS: Mapping[str, str] = {}


def write_dataset(
    loaded: Loaded[DatasetRecipe],
    claims: ClaimsRecipe | None,
    sources: Path,
    folder: Path,
    skip: Collection[CorpusName],
    advance: Callable[[int], None],
    descriptions: Mapping[str, str] = NO_DESCRIPTIONS,
) -> DatasetManifest:
    """The manifest of a dataset whose data files it writes into a folder; card and manifest are the caller's.

    Args:
        claims: The paper's counts for the reconciliation; None for none.
        sources: Holds one sub-folder a corpus, in its native layout.
        folder: An empty folder.
        skip: Corpora of the recipe that are left out.
        advance: Told how many dialogues are done more.
        descriptions: Video descriptions by record id.

    Raises:
        DataError: With everything that is wrong in the corpora, or the counts that miss.
    """
    recipe = loaded.recipe
    prompt = load_prompt(recipe.prompt)
    named = {name: one for name, one in recipe.corpora.named().items() if name not in skip}
    if not named:
        raise DataError(Problem(loaded.name, "no corpus is left to build from", fix="skip fewer"))

    index = TextIndex() if _has_drawn_split(named) else None
    written: dict[CorpusName, _Written] = {}
    problems: list[Problem] = []
    for name in sorted(named, key=lambda name: isinstance(named[name], MeisdRecipe)):
        try:
            written[name] = _write_corpus(
                name, named[name], recipe, prompt, sources, folder, index, advance, descriptions
            )
        except ReleaseError as error:
            problems.extend(error.problems)
    if problems:
        raise DataError(problems)

    in_order = {name: written[name] for name in named}
    rows = [row for one in in_order.values() for row in _reconciled(one, named[one.name], claims)]
    check_counts(rows, {name: one.notes for name, one in in_order.items()})
    figures = _figures(recipe, prompt, in_order, tuple(sorted(skip)), rows)
    return DatasetManifest(
        created_by=package_versions(*SHAPED_BY),
        recipe=loaded.stamp,
        inputs=tuple(file for one in in_order.values() for file in one.notes.files),
        outputs=stamps(folder),
        content_sha256=combined_sha256(
            (f"{name}/{split}", digest)
            for name, corpus in figures.corpora.items()
            for split, digest in corpus.content_sha256.items()
        ),
        figures=figures,
    )


def is_unchanged(
    manifest: DatasetManifest, loaded: Loaded[DatasetRecipe], sources: Path, skip: Collection[CorpusName]
) -> bool:
    """Whether a build from this recipe and these sources, here, would give what the manifest describes."""
    return (
        manifest.recipe == loaded.stamp
        and manifest.created_by == package_versions(*SHAPED_BY)
        and set(manifest.figures.skipped) == set(skip)
        and manifest.figures.prompt_sha256 == load_prompt(loaded.recipe.prompt).sha256
        and all(_stands(file, sources) for file in manifest.inputs)
    )


def _stands(file: FileStamp, root: Path) -> bool:
    path = root / file.path
    return path.is_file() and stamp(path, root) == file


@dataclass
class _Tally:
    """What was written of one split."""

    dialogues: int = 0
    labels: Counter[Label] = field(default_factory=Counter)
    digests: list[bytes] = field(default_factory=list)

    @property
    def sizes(self) -> Sizes:
        return Sizes(dialogues=self.dialogues, utterances=len(self.digests))


@dataclass
class _Written:
    """What was read and written of one corpus."""

    name: CorpusName
    entry: CorpusEntry
    label_space: tuple[Label, ...]
    notes: Notes
    tallies: Mapping[Split, _Tally]
    relabelled: Counter[str]
    draw: dict[str, JsonValue] | None
    unused: Sizes


def _has_drawn_split(named: Mapping[CorpusName, CorpusRecipe]) -> bool:
    return any(isinstance(one, MeisdRecipe) and one.split.split_file is None for one in named.values())


def _write_corpus(
    name: CorpusName,
    corpus: CorpusRecipe,
    recipe: DatasetRecipe,
    prompt: Prompt,
    sources: Path,
    folder: Path,
    index: TextIndex | None,
    advance: Callable[[int], None],
    descriptions: Mapping[str, str],
) -> _Written:
    entry, notes = corpus_entry(name), Notes()
    label_space = entry.label_space if recipe.label_space == "corpus" else BASIC_LABELS
    maker = RecordMaker(prompt, entry.license.id, label_space, recipe.basic7, recipe.context_k, descriptions)
    dialogues = read_corpus(name, sources / name, corpus, notes)
    draw: dict[str, JsonValue] | None = None
    unused = Sizes(dialogues=0, utterances=0)
    if isinstance(corpus, MeisdRecipe):
        everything = list(dialogues)
        assigned, draw = _assigned(everything, corpus, sources / name, notes, index)
        unused = _sizes([one for one in everything if one.id not in assigned])
        pairs = iter([(one, assigned[one.id]) for one in everything if one.id in assigned])
    else:
        pairs = _with_own_split(dialogues)
        if index is not None:
            pairs = _indexed(pairs, index)
    writers: dict[Split, _SplitWriter] = {}
    with ExitStack() as files:
        for dialogue, split in pairs:
            if split not in writers:
                writers[split] = _SplitWriter(folder, name, split, prompt, files)
            writers[split].add(list(maker.records(dialogue, split)))
            advance(1)
    tallies = {split: writer.tally for split, writer in writers.items()}
    return _Written(name, entry, label_space, notes, tallies, maker.relabelled, draw, unused)


def _with_own_split(dialogues: Iterator[Dialogue]) -> Iterator[tuple[Dialogue, Split]]:
    for dialogue in dialogues:
        if dialogue.split is None:
            raise ValueError(f"{dialogue.corpus}: the reader gives no split, and the recipe draws none")
        yield dialogue, dialogue.split


def _indexed(pairs: Iterator[tuple[Dialogue, Split]], index: TextIndex) -> Iterator[tuple[Dialogue, Split]]:
    for dialogue, split in pairs:
        if split == "train":
            index.add(dialogue)
        yield dialogue, split


def _assigned(
    dialogues: list[Dialogue],
    corpus: MeisdRecipe,
    source: Path,
    notes: Notes,
    index: TextIndex | None,
) -> tuple[dict[str, Split], dict[str, JsonValue]]:
    draw = corpus.split
    if index is None:
        path = source / str(draw.split_file)
        assigned = read_split(path, dialogues)
        notes.files.append(stamp(path, source.parent))
        told: dict[str, JsonValue] = {"split_file": draw.split_file}
    else:
        barred = {one.id for one in dialogues if index.shares_text_with(one)}
        assigned = draw_split(dialogues, draw, lambda one: one.id not in barred)
        told = {"seed": draw.seed, "barred_from_held_out": len(barred)}
    return assigned, {**told, "dialogues": series_table(dialogues, assigned)}


class _SplitWriter:
    """The two files of one corpus and split, records and `sft`, and what they hold.

    Why: records become columns as soon as they are made, while they are still in the processor's cache.
    """

    def __init__(
        self, folder: Path, name: CorpusName, split: Split, prompt: Prompt, files: ExitStack
    ) -> None:
        data = folder / "data" / name / f"{split}-00000.parquet"
        sft = folder / "sft" / f"{split}-{name}-00000.parquet"
        self._prompt = prompt
        self._records = files.enter_context(RowWriter(data, record_schema()))
        self._sft = files.enter_context(RowWriter(sft, sft_schema()))
        self.tally = _Tally()

    def add(self, records: list[Record]) -> None:
        """Takes the records of one dialogue."""
        self.tally.dialogues += 1
        self.tally.labels.update(record.label for record in records)
        self.tally.digests += map(record_digest, records)
        self._records.add(record_columns(records))
        self._sft.add(
            [
                [record.id for record in records],
                [self._prompt.prompt(record) for record in records],
                [self._prompt.completion(record.output) for record in records],
            ]
        )


def _sizes(dialogues: list[Dialogue]) -> Sizes:
    return Sizes(dialogues=len(dialogues), utterances=sum(len(one.utterances) for one in dialogues))


def _reconciled(written: _Written, corpus: CorpusRecipe, claims: ClaimsRecipe | None) -> list[Reconciliation]:
    built = {split: tally.sizes for split, tally in written.tallies.items()}
    return reconcile(written.name, corpus, claims, written.notes, built)


def _figures(
    recipe: DatasetRecipe,
    prompt: Prompt,
    written: Mapping[CorpusName, _Written],
    skipped: tuple[CorpusName, ...],
    rows: list[Reconciliation],
) -> DatasetFigures:
    corpora = {name: _corpus_figures(one) for name, one in written.items()}
    relabelled = sum((one.relabelled for one in written.values()), Counter[str]())
    return DatasetFigures(
        records={split: sum(_of(one, split).utterances for one in corpora.values()) for split in SPLITS},
        dialogues={split: sum(_of(one, split).dialogues for one in corpora.values()) for split in SPLITS},
        corpora=corpora,
        skipped=skipped,
        context_k=recipe.context_k,
        prompt=prompt.name,
        prompt_sha256=prompt.sha256,
        split_draw=next((one.draw for one in written.values() if one.draw), None),
        relabelled=dict(sorted(relabelled.items())),
        reconciliation=tuple(rows),
    )


def _of(corpus: CorpusFigures, split: Split) -> Sizes:
    return corpus.splits.get(split, Sizes(dialogues=0, utterances=0))


def _corpus_figures(written: _Written) -> CorpusFigures:
    tallies = {split: written.tallies[split] for split in SPLITS if split in written.tallies}
    return CorpusFigures(
        license=written.entry.license.id,
        may_redistribute=written.entry.license.may_redistribute,
        label_space=written.label_space,
        files=tuple(written.notes.files),
        unknown_files=tuple(written.notes.unknown_files),
        repairs=dict(sorted(written.notes.repairs.items())),
        unused=written.unused,
        splits={split: tally.sizes for split, tally in tallies.items()},
        labels={
            split: {label: tally.labels[label] for label in written.label_space}
            for split, tally in tallies.items()
        },
        content_sha256={split: content_sha256(tally.digests) for split, tally in tallies.items()},
    )
