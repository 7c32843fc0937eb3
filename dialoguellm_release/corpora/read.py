"""One door to the readers of all corpora."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from dialoguellm_release.corpora.dailydialog import read_dailydialog
from dialoguellm_release.corpora.emorynlp import read_emorynlp
from dialoguellm_release.corpora.emorynlp_json import read_emorynlp_json
from dialoguellm_release.corpora.files import CorpusFolder, open_folder
from dialoguellm_release.corpora.iemocap import read_iemocap
from dialoguellm_release.corpora.meisd import read_meisd
from dialoguellm_release.corpora.meld import read_meld
from dialoguellm_release.corpora.notes import Notes
from dialoguellm_release.schemas.labels import CorpusName
from dialoguellm_release.schemas.recipes.dataset import CorpusRecipe, EmoryNLPRecipe
from dialoguellm_release.schemas.record import Dialogue

Reader = Callable[[CorpusFolder], Iterator[Dialogue]]

READERS: dict[CorpusName, Reader] = {
    "meld": read_meld,
    "emorynlp": read_emorynlp,
    "dailydialog": read_dailydialog,
    "meisd": read_meisd,
    "iemocap": read_iemocap,
}


def read_corpus(name: CorpusName, folder: Path, recipe: CorpusRecipe, notes: Notes) -> Iterator[Dialogue]:
    """The dialogues of a corpus in the order of its files: train, validation, test.

    Args:
        folder: Holds the corpus in its native layout.
        notes: Filled while the dialogues are read; complete when they are exhausted.

    Raises:
        DataError: At once, where the folder or a file is not there; when the dialogues are exhausted,
            with every problem in the files.
    """
    is_json = isinstance(recipe, EmoryNLPRecipe) and recipe.source == "json"
    reader = read_emorynlp_json if is_json else READERS[name]
    return _checked(reader(open_folder(name, folder, notes)), notes)


def _checked(dialogues: Iterator[Dialogue], notes: Notes) -> Iterator[Dialogue]:
    yield from dialogues
    notes.check()
