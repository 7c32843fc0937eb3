"""What a folder of corpora holds: its files by their hashes, and the counts that the readers find."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from dialoguellm_release.corpora.cells import Notes
from dialoguellm_release.corpora.files import State, identities, state_of
from dialoguellm_release.corpora.readers import read_corpus
from dialoguellm_release.corpora.registry import CorpusFolders, corpus_entries, entry_of
from dialoguellm_release.errors import DataError, Problem
from dialoguellm_release.render.numbers import sizes
from dialoguellm_release.schemas.audit import ExpectedSizes, Sizes
from dialoguellm_release.schemas.corpus import CorpusEntry
from dialoguellm_release.schemas.labels import SPLITS, CorpusName, Split
from dialoguellm_release.schemas.manifests import FileStamp
from dialoguellm_release.schemas.recipes.dataset import CorpusRecipe, DatasetRecipe


@dataclass(frozen=True)
class CheckedSplit:
    """What the reader gave of a split, mended; `split` is None where the corpus has none."""

    split: Split | None
    found: Sizes
    # What the recipe expects, None for nothing; of a corpus without splits at least that.
    expected: ExpectedSizes | None

    @property
    def misses(self) -> bool:
        """Whether the recipe expects something else than what was found."""
        if self.expected is None:
            return False
        if self.split is None:
            return self.found.dialogues < self.expected.dialogues
        return not self.expected.is_met_by(self.found)

    @property
    def counts(self) -> tuple[str, str]:
        """The counts that are expected, and those that were found."""
        least = "at least " if self.expected and self.split is None else ""
        return f"{least}{sizes(self.expected)}", sizes(self.found)


@dataclass(frozen=True)
class CheckedCorpus:
    """What was found of a corpus."""

    corpus: CorpusName
    source: str | None  # which release of it, where it has several
    files: tuple[FileStamp, ...]
    unknown_files: tuple[str, ...]  # paths of those files whose hash the registry does not know
    splits: tuple[CheckedSplit, ...]
    repairs: dict[str, int]  # how often each named rule mended or dropped something
    problems: tuple[Problem, ...]


def check_corpora(folders: CorpusFolders, recipe: DatasetRecipe) -> Iterator[CheckedCorpus]:
    """One finding for each corpus, and each release of it, of which there is a folder."""
    for name, options in recipe.corpora.items():
        folder, entry = folders[name], entry_of(name, options)
        if folder.exists() or folder.is_symlink():
            yield _check(entry, folder, options)
            for release in entry.releases:
                if options.source in (None, entry.release) and _is_whole(entry, folder, release):
                    yield _check(entry, folder, CorpusRecipe(source=release))


def _is_whole(entry: CorpusEntry, folder: Path, release: str) -> bool:
    """Whether a folder has all files of a further release; there are no counts to expect of it."""
    try:
        read_corpus(entry, folder, CorpusRecipe(source=release), Notes())
    except DataError:
        return False
    return True


def _check(entry: CorpusEntry, folder: Path, recipe: CorpusRecipe) -> CheckedCorpus:
    name = entry.name
    notes = Notes()
    dialogues: Counter[Split | None] = Counter()
    utterances: Counter[Split | None] = Counter()
    problems: tuple[Problem, ...] = ()
    try:
        for dialogue in read_corpus(entry, folder, recipe, notes):
            dialogues[dialogue.split] += 1
            utterances[dialogue.split] += len(dialogue.utterances)
    except DataError as error:
        problems = error.problems
    expected = _expected(recipe, entry)
    splits = tuple(
        CheckedSplit(
            split, Sizes(dialogues=dialogues[split], utterances=utterances[split]), expected.get(split)
        )
        for split in (*SPLITS, None)
        if split in dialogues or split in expected
    )
    unknown = tuple(path for path in notes.unknown_files if not _is_known(entry, folder, path))
    misses = (
        ()
        if problems
        else tuple(
            counts_problem(
                str(folder),
                f"{name}/{one.split}" if one.split else name,
                one.counts,
                unknown,
                "corpora.counts_missed",
            )
            for one in splits
            if one.misses
        )
    )
    return CheckedCorpus(
        corpus=name,
        source=recipe.source or entry.release,
        files=tuple(notes.files),
        unknown_files=unknown,
        splits=splits,
        repairs=dict(sorted(notes.repairs.items())),
        problems=problems or misses,
    )


def _is_known(entry: CorpusEntry, folder: Path, path: str) -> bool:
    """Whether the registry knows a file otherwise than by its sha256."""
    inside = path.partition("/")[2]
    return state_of(folder / inside, identities(entry).get(inside, ())) == "known"


def _expected(recipe: CorpusRecipe, entry: CorpusEntry) -> dict[Split | None, ExpectedSizes]:
    """The counts that a recipe expects of the files; of a drawn split, that there is enough to draw from."""
    if entry.splits != "native" and recipe.split is not None:
        return {None: ExpectedSizes(dialogues=sum(recipe.split.dialogues.values()), utterances=None)}
    return dict(recipe.expect.items())


def counts_problem(
    where: str, split: str, counts: tuple[str, str], unknown: Sequence[str], code: str
) -> Problem:
    """The problem of a split whose counts, expected and found, differ; `unknown` are its unknown files."""
    what = f"{split}: dialogues / utterances miss the counts of the recipe"
    fix = f"not the public files: {', '.join(unknown)}; get them again" if unknown else None
    return Problem(where, what, *counts, fix, code=code)


@dataclass(frozen=True)
class ListedFile:
    """A file that the registry knows."""

    path: str
    bytes: int | None  # None where the size is not known
    is_fetched: bool  # whether `corpora fetch` brings it
    state: State | None  # what lies at its path; None where no folder was looked at


@dataclass(frozen=True)
class ListedCorpus:
    """A corpus of the registry."""

    entry: CorpusEntry
    files: tuple[ListedFile, ...]
    is_there: bool | None  # whether a file or a folder of it is there; None where no folder was looked at


def list_corpora(sources: Path | None = None) -> list[ListedCorpus]:
    """Every corpus of the registry, with what is there of it below `sources`."""
    return [_listed(entry, sources) for entry in corpus_entries().values()]


def _listed(entry: CorpusEntry, sources: Path | None) -> ListedCorpus:
    fetched = {path for download in entry.downloads for path in download.targets}
    folder = sources / entry.name if sources else None
    files = tuple(
        ListedFile(
            path=path,
            bytes=known[0].size,
            is_fetched=path in fetched,
            state=state_of(folder / path, known) if folder else None,
        )
        for path, known in identities(entry).items()
    )
    if folder is None:
        return ListedCorpus(entry, files, is_there=None)
    has_landmark = any((folder / path).exists() for path in entry.landmarks)
    return ListedCorpus(entry, files, has_landmark or any(file.state != "missing" for file in files))
