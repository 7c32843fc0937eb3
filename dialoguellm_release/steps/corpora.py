"""The steps that fetch the native files of the corpora and read through them."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dialoguellm_release.corpora.check import list_corpora as list_corpora
from dialoguellm_release.corpora.registry import CorpusFolders, bundled_corpora, load_dataset_recipe
from dialoguellm_release.errors import DataError, Problem
from dialoguellm_release.schemas.labels import CorpusName
from dialoguellm_release.step import StrPath

if TYPE_CHECKING:
    from dialoguellm_release.corpora.check import CheckedCorpus as CheckedCorpus
    from dialoguellm_release.corpora.check import CheckedSplit as CheckedSplit
    from dialoguellm_release.corpora.check import ListedCorpus as ListedCorpus
    from dialoguellm_release.corpora.fetch import FetchedFile


def fetch_corpora(
    names: Sequence[str], to: StrPath, *, mirror: str | None = None, warn: Callable[[str], None] | None = None
) -> list[FetchedFile]:
    """Downloads the files of corpora that have an official address; only a known hash is accepted.

    Args:
        names: Corpora with a bundled corpus file.
        to: The folder that gets a sub-folder for each corpus.
        mirror: An address under which `CORPUS/FILE` is tried before the official addresses.
        warn: Called with a warning on addresses that were not tested when this version was made.

    Returns:
        The files, downloaded now or present before.

    Raises:
        DataError: A corpus has to be asked for (and whom), a file that is there is another one, or a
            file could not be fetched.

    Example:
        >>> from dialoguellm_release.corpora.registry import bundled_corpora
        >>> fetch_corpora(bundled_corpora(), "corpora")  # doctest: +SKIP
    """
    from dialoguellm_release.corpora import fetch
    from dialoguellm_release.corpora.registry import corpus_entry

    entries = [corpus_entry(name) for name in corpus_names(names, "NAME")]
    for entry in entries:
        if warn and not all(one.verified for one in entry.downloads):
            untried = f"the addresses of {entry.title} could not be tried when this version was made"
            warn(f"warning: {untried}; a file is taken only with the known hash")
    return fetch.fetch_corpora(entries, Path(to), mirror=mirror)


def check_corpora(sources: StrPath, recipe: StrPath = "paper") -> list[CheckedCorpus]:
    """Reads each corpus that a folder holds, and reports what the readers find.

    Args:
        sources: Folder with one sub-folder a corpus in its native layout.
        recipe: The dataset recipe whose counts are expected.

    Returns:
        Each corpus with its counts and problems.

    Raises:
        DataError: The folder holds none of the recipe's corpora.

    Example:
        >>> check_corpora("corpora")  # doctest: +SKIP
    """
    from dialoguellm_release.corpora import check

    loaded, own = load_dataset_recipe(os.fspath(recipe))
    checked = list(check.check_corpora(CorpusFolders(Path(sources), own), loaded.recipe))
    if not checked:
        wanted = ", ".join(f"{name}/" for name in loaded.recipe.corpora)
        what, expected, code = "holds no corpus", f"at least one of {wanted}", "corpora.no_corpus_found"
        raise DataError(Problem(str(sources), what, expected, code=code), outcome="nothing was changed")
    return checked


def corpora_of(recipe: StrPath) -> tuple[CorpusName, ...]:
    """The corpora that a dataset recipe names, in its order."""
    return tuple(load_dataset_recipe(os.fspath(recipe))[0].recipe.corpora)


def corpus_names(
    names: Collection[str], where: str, among: Collection[CorpusName] | None = None
) -> tuple[CorpusName, ...]:
    """The named corpora in the order of those that are known."""
    known = tuple(dict.fromkeys((*(among or ()), *bundled_corpora())))
    if unknown := sorted(set(names) - set(known)):
        expected, got, code = ", ".join(known), ", ".join(unknown), "corpora.unknown_name"
        raise DataError(Problem(where, "not a corpus", expected, got, code=code))
    return tuple(name for name in known if name in names)
