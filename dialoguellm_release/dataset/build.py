"""The dataset folder of a recipe, from the native files of its corpora."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path

from dialoguellm_release.corpora.notes import Notes
from dialoguellm_release.corpora.read import read_corpus
from dialoguellm_release.corpora.registry import CorpusFolders, entry_of
from dialoguellm_release.dataset.passes import NO_DESCRIPTIONS, Corpus, write_corpora
from dialoguellm_release.dataset.survey import ReadCorpus
from dialoguellm_release.errors import DataError, Problem
from dialoguellm_release.recipes.load import Loaded
from dialoguellm_release.schemas.claims import ClaimsRecipe
from dialoguellm_release.schemas.dataset_manifest import DatasetFigures
from dialoguellm_release.schemas.labels import BASIC_LABELS, CorpusName
from dialoguellm_release.schemas.recipes.dataset import CorpusRecipe, DatasetRecipe
from dialoguellm_release.schemas.record import Dialogue


def write_dataset(
    loaded: Loaded[DatasetRecipe],
    claims: ClaimsRecipe | None,
    folders: CorpusFolders,
    folder: Path,
    skip: Collection[CorpusName],
    advance: Callable[[int], None],
    read: ReadCorpus | None = None,
    descriptions: Mapping[str, str] = NO_DESCRIPTIONS,
) -> DatasetFigures:
    """Writes the data files of a dataset into an empty folder, and gives its figures.

    Args:
        claims: The paper's counts for the reconciliation; None for none.
        folders: Where the native files of each corpus are.
        folder: An empty folder.
        skip: Corpora of the recipe that are left out.
        advance: Told how many dialogues are done more, in each of the two passes.
        read: Gives the dialogues of a corpus; None reads the native files.
        descriptions: Video descriptions by record id.

    Raises:
        DataError: With everything that is wrong in the corpora, or the counts that miss.
    """
    named = {name: one for name, one in loaded.recipe.corpora.items() if name not in skip}
    if not named:
        raise DataError(Problem(loaded.name, "no corpus is left to build from", fix="skip fewer"))
    corpora = {name: _of_registry(name, one, loaded.recipe) for name, one in named.items()}
    return write_corpora(
        loaded,
        corpora,
        folders,
        folder,
        read or _native_files(folders),
        advance,
        claims=claims,
        skipped=skip,
        descriptions=descriptions,
    )


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


def _native_files(folders: CorpusFolders) -> ReadCorpus:
    def read(name: CorpusName, corpus: CorpusRecipe, notes: Notes) -> Iterator[Dialogue]:
        return read_corpus(entry_of(name, corpus), folders[name], corpus, notes)

    return read
