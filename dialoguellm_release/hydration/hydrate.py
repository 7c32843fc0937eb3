"""A full dataset from its published copy and private copies of the withheld corpora, proven by its hash."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING

from dialoguellm_release.corpora.cells import Notes
from dialoguellm_release.corpora.readers import read_corpus
from dialoguellm_release.corpora.registry import bundled_corpora, entry_of
from dialoguellm_release.dataset.build import Build, write_dataset
from dialoguellm_release.dataset.reading import batched_dialogues
from dialoguellm_release.dataset.records import RecordMaker, utterance_table
from dialoguellm_release.errors import DataError, Problem
from dialoguellm_release.hydration.published import PACKAGE, PublishedCopy
from dialoguellm_release.hydration.standoff import by_split, find_differences, summary
from dialoguellm_release.prompts import prompt_of, prompt_of_dataset
from dialoguellm_release.schemas.corpus import CorpusEntry
from dialoguellm_release.schemas.dataset_manifest import CorpusFigures, DatasetFigures
from dialoguellm_release.schemas.labels import CorpusName, Split
from dialoguellm_release.schemas.manifests import FileStamp
from dialoguellm_release.schemas.recipes.dataset import CorpusRecipe
from dialoguellm_release.schemas.record import Dialogue

if TYPE_CHECKING:
    import pyarrow as pa

MAX_FILES = 12
"""Up to this many files of a corpus are named."""


def check_sources(copy: PublishedCopy, sources: Path) -> None:
    """Checks that everything is available that the copy was published without."""
    figures = copy.manifest.figures
    problems = list(_missing_sources(copy, sources))
    described = figures.video.records if figures.video else {}
    if withheld := [name for name in copy.withheld if name in described]:
        names = ", ".join(withheld)
        what = f"the video descriptions of {names} are not published, and cannot be made again"
        skip = f"leave them out, with --skip {' --skip '.join(withheld)}"
        problems.append(Problem(str(copy.folder), what, fix=skip, code="hydration.descriptions_withheld"))
    prompt = prompt_of_dataset(copy.manifest)
    if prompt.sha256 != figures.prompt_sha256:
        what = f"was built with another {figures.prompt} than the one that is installed"
        shas, code = (figures.prompt_sha256, prompt.sha256), "hydration.other_prompt"
        problems.append(Problem(str(copy.folder), what, *shas, copy.version_fix, code=code))
    if problems:
        raise DataError(problems)


def check_copies(copy: PublishedCopy, sources: Path, advance: Callable[[int], None]) -> None:
    """Compares the user's copies with the stand-off rows, where there are any."""
    problems: list[Problem] = []
    for name, held in copy.held.items():
        if held == "standoff":
            try:
                problems += _differences(copy, name, sources, advance)
            except DataError as error:
                problems += error.problems
    if problems:
        raise DataError(problems)


def write_hydrated(
    copy: PublishedCopy, build: Build, folder: Path, advance: Callable[[int], None]
) -> DatasetFigures:
    """Writes the data files of the full dataset into a folder, and gives its figures, as `write_dataset`.

    Where corpora are left out, `leaks` do not name their splits, and the content hash is that of a build
    without them. Texts are then proven by the stand-off rows, or by the files that were read.
    """
    published = copy.manifest.figures

    def read(name: CorpusName, corpus: CorpusRecipe, notes: Notes) -> Iterator[Dialogue]:
        held = copy.held[name]
        if held == "records":
            label_map = entry_of(name, corpus).native_labels if build.recipe.relabel else {}
            return copy.dialogues(name, label_map, notes)
        dialogues = build.read(name, corpus, notes)
        return dialogues if held == "nothing" else _with_split(dialogues, _splits(copy, name))

    if published.video:
        build = replace(build, descriptions=copy.descriptions(), video=published.video)
    made = write_dataset(build, folder, advance, read=read)
    assert build.folders.sources is not None
    if copy.skip:
        problems = list(part_problems(copy, made))
    else:
        problems = list(content_problems(copy, made, build.folders.sources))
    if problems:
        raise DataError(problems)
    return _as_published(made, published)


def _missing_sources(copy: PublishedCopy, sources: Path) -> Iterator[Problem]:
    for name in copy.withheld:
        folder, corpus = sources / name, copy.loaded.recipe.corpora[name]
        entry = entry_of(name, corpus)
        try:
            read_corpus(entry, folder, corpus, Notes())
        except DataError as error:
            if folder.exists() or folder.is_symlink():
                yield from (replace(problem, fix=None) for problem in error.problems)
            files = [file.path for file in copy.manifest.figures.corpora[name].files]
            yield Problem(
                str(folder),
                f"the text of {entry.title} is not published and has to come from your own copy",
                expected=", ".join(files) if len(files) <= MAX_FILES else f"{len(files)} files",
                fix=how_to_get(entry, sources),
                code="hydration.copy_missing",
            )


def _differences(
    copy: PublishedCopy, name: CorpusName, sources: Path, advance: Callable[[int], None]
) -> list[Problem]:
    """A summary and the records that differ; nothing where none does."""
    figures, recipe, notes = copy.manifest.figures.corpora[name], copy.loaded.recipe, Notes()
    prompt, corpus = prompt_of(recipe), recipe.corpora[name]
    shown = (recipe.relabel, recipe.context_of(name), recipe.speakers)
    maker = RecordMaker(prompt, figures.license, figures.label_space, *shown)
    read = read_corpus(entry_of(name, corpus), sources / name, corpus, notes)

    def columns() -> Iterator[pa.Table]:
        for split, held in groupby(_with_split(read, _splits(copy, name)), attrgetter("split")):
            for dialogues in batched_dialogues(held):
                yield maker.columns(name, split, utterance_table(dialogues))
                advance(sum(len(one.utterances) for one in dialogues))

    found = find_differences(copy.columns(name), columns(), copy.manifest.content_sha256)
    if not found:
        return []
    reason = _cause(copy, name, notes.files, sources)
    sizes = {f"{name}/{split}": size.utterances for split, size in figures.splits.items()}
    return [replace(reason, what=f"{reason.what}; records: {summary(found)}"), *by_split(found, sizes)]


def _splits(copy: PublishedCopy, name: CorpusName) -> dict[str, Split]:
    """The split of each dialogue by its id, where the corpus itself has none."""
    is_drawn = copy.loaded.recipe.corpora[name].split is not None
    return {row.dialogue_id: row.split for row in copy.rows(name)} if is_drawn else {}


def _with_split(dialogues: Iterable[Dialogue], splits: Mapping[str, Split]) -> Iterator[Dialogue]:
    """The dialogues that have a split or are given one; the others were left over by a draw."""
    for dialogue in dialogues:
        if dialogue.split is not None:
            yield dialogue
        elif dialogue.id in splits:
            yield replace(dialogue, split=splits[dialogue.id])


def _as_published(made: DatasetFigures, published: DatasetFigures) -> DatasetFigures:
    """The figures with what the published ones state and the published rows do not show: a draw's rest."""
    corpora = {
        name: figures.model_copy(update={"unused": published.corpora[name].unused})
        for name, figures in made.corpora.items()
    }
    return made.model_copy(update={"corpora": corpora, "split_draws": published.split_draws})


def _cause(copy: PublishedCopy, name: CorpusName, files: Iterable[FileStamp], sources: Path) -> Problem:
    """Why a copy does not give the records of the build, as far as the files that were read tell.

    Why: the same files can give other records only by another version of this package, or where the
    published rows are no longer those of the build.
    """
    built_from, read, where = set(copy.manifest.figures.corpora[name].files), set(files), str(sources / name)
    if built_from != read:
        expected, got = _named(built_from - read), _named(read - built_from)
        entry = entry_of(name, copy.loaded.recipe.corpora[name])
        what, fix = "not the files of the build", how_to_get(entry, sources)
        return Problem(where, what, expected, got, fix, code="hydration.other_files")
    if copy.other_version is None:
        what = "these are the files of the build: the published copy was changed after it"
        return Problem(where, what, code="hydration.copy_changed")
    what = "these are the files of the build, but another version of this package read them"
    made_by = f"{PACKAGE} {copy.other_version}"
    return Problem(where, what, made_by, fix=copy.version_fix, code="hydration.other_version")


def content_problems(copy: PublishedCopy, made: DatasetFigures, sources: Path) -> Iterator[Problem]:
    """The splits whose content is not that of the build, with what can be said of the reason.

    Why: a record's `leaks` name other corpora, so that one that differs changes others. Those are named
    whose files are not the build's, and of them those without stand-off rows.
    """
    built, now = copy.manifest.figures.corpora, made.corpora
    changed = [
        (name, split)
        for name, figures in built.items()
        for split, digest in figures.content_sha256.items()
        if now[name].content_sha256.get(split) != digest
    ]
    other_files = [(name, split) for name, split in changed if now[name].files != built[name].files]
    without_rows = [(name, split) for name, split in other_files if copy.held[name] == "nothing"]
    for name, split in without_rows or other_files or changed:
        reason = _cause(copy, name, now[name].files, sources)
        yield Problem(
            f"{name}/{split}",
            f"its records are not those of the build: {_detail(copy, name, split) or reason.what}",
            expected=f"{_sizes(built[name], [split])}, content {built[name].content_sha256[split]}",
            got=f"{_sizes(now[name], [split])}, content {now[name].content_sha256.get(split)}",
            fix=copy.version_fix or reason.fix,
            code="hydration.other_content",
        )


def part_problems(copy: PublishedCopy, made: DatasetFigures) -> Iterator[Problem]:
    """What is not proven, or not as in the build, of a dataset that is made without some of its corpora."""
    for name, now in made.corpora.items():
        built, draw = copy.manifest.figures.corpora[name], copy.loaded.recipe.corpora[name].split
        fix, is_drawn = f"hydrate all corpora, or add --skip {name}", draw and draw.split_file is None
        if copy.held[name] == "nothing" and (is_drawn or now.files != built.files):
            drawn = "its splits were drawn together with all corpora of the build"
            why = drawn if now.files == built.files else "these are not the files of the build"
            what = f"nothing of it is published, and {why}: it cannot be proven"
            yield Problem(name, what, fix=fix, code="hydration.not_proven")
        elif (now.splits, now.labels) != (built.splits, built.labels):
            what = "its splits or labels are not those of the build"
            sizes = (_sizes(built, built.splits), _sizes(now, now.splits))
            yield Problem(name, what, *sizes, fix, code="hydration.other_splits")


def how_to_get(entry: CorpusEntry, sources: Path) -> str:
    """How to get a corpus: the command that fetches it, where to request it, or where to look for it."""
    place = f"where to put it: {sources / entry.name}"
    if request := entry.request:
        return f"whom to ask: {request.whom}\n  what to ask for: {request.what}\n  {place}"
    if entry.name in bundled_corpora():
        return f"dlm-release corpora fetch {entry.name} --out {shlex.quote(str(sources))}"
    return f"whom to ask: {entry.homepage or 'the publishers of this copy'}\n  {place}"


def _named(files: Iterable[FileStamp]) -> str | None:
    texts = sorted(f"{file.path} of {file.bytes} bytes, sha256 {file.sha256}" for file in files)
    return "; ".join(texts) or None


def _detail(copy: PublishedCopy, name: CorpusName, split: Split) -> str | None:
    """The records that may differ where every window agrees: those that have none."""
    if copy.held[name] != "standoff":
        return None
    ids = [row.id for row in copy.rows(name) if row.split == split and row.window_hmac is None]
    return f"one that is alone in its dialogue, and so has no hash: of {', '.join(ids)}" if ids else None


def _sizes(figures: CorpusFigures, splits: Iterable[Split]) -> str:
    return (
        "; ".join(f"{split} {figures.splits[split]}" for split in splits if split in figures.splits)
        or "nothing"
    )
