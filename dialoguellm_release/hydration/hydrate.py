"""A full dataset from its published copy and private copies of the withheld corpora, proven by its hash."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from dialoguellm_release.corpora.notes import Notes
from dialoguellm_release.corpora.read import read_corpus
from dialoguellm_release.corpora.registry import entry_of, title_of
from dialoguellm_release.dataset.build import Build, write_dataset
from dialoguellm_release.dataset.records import RecordMaker
from dialoguellm_release.errors import DataError, Problem
from dialoguellm_release.hydration.mismatches import (
    by_dialogue,
    cause,
    content_problems,
    find_differences,
    how_to_get,
    part_problems,
)
from dialoguellm_release.hydration.published import PublishedCopy
from dialoguellm_release.prompts import load_prompt
from dialoguellm_release.schemas.dataset_manifest import DatasetFigures
from dialoguellm_release.schemas.labels import CorpusName, Split
from dialoguellm_release.schemas.recipes.dataset import CorpusRecipe, DatasetRecipe
from dialoguellm_release.schemas.record import Dialogue, Record

MAX_FILES = 12
"""So many files of a corpus are named; IEMOCAP has hundreds."""


def check_sources(copy: PublishedCopy, recipe: DatasetRecipe, sources: Path) -> None:
    """Checks that everything is available that the copy was published without.

    Raises:
        DataError: Names every file that is missing and how to get its corpus, or another prompt.
    """
    figures = copy.manifest.figures
    problems = list(_missing_sources(copy, recipe, sources))
    described = figures.video.records if figures.video else {}
    if withheld := [name for name in copy.withheld if name in described]:
        what = f"the video descriptions of {', '.join(withheld)} are not published, and cannot be made again"
        fix = " ".join(["leave out what has them:", *(f"--skip {name}" for name in withheld)])
        problems.append(Problem(str(copy.folder), what, fix=fix, code="hydration.descriptions_withheld"))
    prompt = load_prompt(figures.prompt)
    if prompt.sha256 != figures.prompt_sha256:
        what = f"was built with another {figures.prompt} than the one that is installed"
        fix = copy.version_fix
        shas = (figures.prompt_sha256, prompt.sha256)
        problems.append(Problem(str(copy.folder), what, *shas, fix, code="hydration.other_prompt"))
    if problems:
        raise DataError(problems)


def check_copies(
    copy: PublishedCopy, recipe: DatasetRecipe, sources: Path, advance: Callable[[int], None]
) -> None:
    """Compares the user's copies with the stand-off rows, where there are any.

    Args:
        advance: Called with the number of records that were compared.

    Raises:
        DataError: With every record that differs, or what is wrong in the files.
    """
    problems: list[Problem] = []
    for name, held in copy.held.items():
        if held == "standoff":
            try:
                problems += _differences(copy, name, recipe, sources, advance)
            except DataError as error:
                problems += error.problems
    if problems:
        raise DataError(problems)


def write_hydrated(
    copy: PublishedCopy, build: Build, folder: Path, advance: Callable[[int], None]
) -> DatasetFigures:
    """Writes the data files of the full dataset into a folder, and gives its figures, as `write_dataset`.

    Args:
        copy: The published copy.
        build: With the recipe of the published manifest, and the folder of the user's copies.
        folder: An empty folder.
        advance: As for `write_dataset`.

    Where corpora are left out, `leaks` name no split of theirs and the content hash is another one: what a
    build without them has. Texts are then proven by the stand-off rows, or by the files that were read.

    Raises:
        DataError: What was made is not the dataset that was built; says which corpora and splits.
    """
    published = copy.manifest.figures
    splits = {
        name: _splits(copy, name, build.recipe) for name, held in copy.held.items() if held == "standoff"
    }

    def read(name: CorpusName, corpus: CorpusRecipe, notes: Notes) -> Iterator[Dialogue]:
        held = copy.held[name]
        if held == "records":
            label_map = entry_of(name, corpus).native_labels if build.recipe.basic7 else {}
            return copy.dialogues(name, label_map, notes)
        dialogues = build.read(name, corpus, notes)
        return dialogues if held == "nothing" else _with_split(dialogues, splits[name])

    if published.video:
        build = replace(build, descriptions=copy.descriptions(), video=published.video)
    made = write_dataset(build, folder, advance, read=read)
    assert build.folders.sources is not None
    if copy.skip:
        problems = list(part_problems(copy, made, build.recipe))
    else:
        problems = list(content_problems(copy, made, build.folders.sources))
    if problems:
        raise DataError(problems)
    return _as_published(made, published)


def _missing_sources(copy: PublishedCopy, recipe: DatasetRecipe, sources: Path) -> Iterator[Problem]:
    for name in copy.withheld:
        folder, corpus = sources / name, recipe.corpora[name]
        try:
            read_corpus(entry_of(name, corpus), folder, corpus, Notes())
        except DataError as error:
            if folder.exists() or folder.is_symlink():
                yield from (replace(problem, fix=None) for problem in error.problems)
            files = [file.path for file in copy.manifest.figures.corpora[name].files]
            yield Problem(
                str(folder),
                f"the text of {title_of(name)} is not published and has to come from your own copy",
                expected=", ".join(files) if len(files) <= MAX_FILES else f"{len(files)} files",
                fix=how_to_get(name, sources),
                code="hydration.copy_missing",
            )


def _differences(
    copy: PublishedCopy,
    name: CorpusName,
    recipe: DatasetRecipe,
    sources: Path,
    advance: Callable[[int], None],
) -> list[Problem]:
    """A summary and the records that differ; nothing where none does."""
    figures, notes = copy.manifest.figures.corpora[name], Notes()
    maker = RecordMaker(
        load_prompt(recipe.prompt), figures.license, figures.label_space, recipe.basic7, recipe.context_k
    )
    corpus = recipe.corpora[name]
    read = read_corpus(entry_of(name, corpus), sources / name, corpus, notes)
    dialogues = _with_split(read, _splits(copy, name, recipe))
    rows = by_dialogue(copy.rows(name))
    found = find_differences(rows, _records(dialogues, maker, advance), copy.manifest.content_sha256)
    if not found:
        return []
    reason = cause(copy, name, notes.files, sources)
    summary = replace(reason, what=f"{reason.what}; records: {found}")
    sizes = {f"{name}/{split}": size.utterances for split, size in figures.splits.items()}
    return [summary, *found.problems(sizes)]


def _splits(copy: PublishedCopy, name: CorpusName, recipe: DatasetRecipe) -> dict[str, Split]:
    """The split of each dialogue by its id, where the corpus itself has none."""
    is_drawn = recipe.corpora[name].split is not None
    return {row.dialogue_id: row.split for row in copy.rows(name)} if is_drawn else {}


def _with_split(dialogues: Iterable[Dialogue], splits: Mapping[str, Split]) -> Iterator[Dialogue]:
    """The dialogues that have a split or are given one; the others were left over by a draw."""
    for dialogue in dialogues:
        if dialogue.split is not None:
            yield dialogue
        elif dialogue.id in splits:
            yield dialogue.model_copy(update={"split": splits[dialogue.id]})


def _records(
    dialogues: Iterable[Dialogue], maker: RecordMaker, advance: Callable[[int], None]
) -> Iterator[list[Record]]:
    for dialogue in dialogues:
        assert dialogue.split is not None
        records = list(maker.records(dialogue, dialogue.split))
        yield records
        advance(len(records))


def _as_published(made: DatasetFigures, published: DatasetFigures) -> DatasetFigures:
    """The figures with what the published ones state and the published rows do not show: a draw's rest."""
    corpora = {
        name: figures.model_copy(update={"unused": published.corpora[name].unused})
        for name, figures in made.corpora.items()
    }
    return made.model_copy(update={"corpora": corpora, "split_draw": published.split_draw})
