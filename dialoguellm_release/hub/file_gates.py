"""What must hold of the files of a repository before it is published: card, secrets, pickles, sizes."""

from __future__ import annotations

import zipfile
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path

from dialoguellm_release.cards.check import repository_card_problems
from dialoguellm_release.errors import Problem
from dialoguellm_release.hub.contents import PREDICTIONS, SCORES
from dialoguellm_release.hub.planned import PlannedFile
from dialoguellm_release.hub.secrets import secret_problems
from dialoguellm_release.hub.verdicts import Verdict, counted, verdict_on
from dialoguellm_release.layout import data_file
from dialoguellm_release.schemas.labels import CorpusName
from dialoguellm_release.schemas.release import RepositoryName

LARGEST_FILE = 50_000_000_000
"""Bytes; the Hub takes no larger one (its documentation, Repository limitations and recommendations)."""

MOST_FILES_A_FOLDER = 10_000
"""Likewise."""

_PICKLES = frozenset({".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib"})
_PICKLE_STARTS = tuple(bytes([0x80, protocol]) for protocol in range(2, 6))
_ZIP_START = b"PK\x03\x04"


def repository_verdicts(name: RepositoryName, files: Mapping[str, PlannedFile]) -> list[Verdict]:
    """The verdicts on a repository as it would be published.

    Args:
        files: What it would hold.
    """
    note = f"{name}, {counted(len(files), 'file')}"
    found = {
        "card": list(repository_card_problems(files, lambda path: _text_of(files[path]))),
        "secrets": [problem for path, one in files.items() for problem in secret_problems(path, one.content)],
        "pickles": [problem for path, one in files.items() for problem in pickle_problems(path, one.content)],
        "sizes": list(size_problems(files)),
    }
    return [
        verdict_on(gate, [_placed(problem, name) for problem in problems], note)
        for gate, problems in found.items()
    ]


def leaving_problems(
    name: RepositoryName,
    files: Iterable[str],
    left_out: Collection[CorpusName],
    scores: Mapping[str, CorpusName],
) -> Iterator[Problem]:
    """Files of corpora that may not leave: a second look, whatever made the plan.

    Args:
        left_out: The corpora that the published dataset lacks.
        scores: The corpus of each score folder.
    """
    for path in files:
        held = data_file(path)
        folder, _, file = path.removeprefix(f"{SCORES}/").partition("/")
        corpus = held.corpus if held else scores.get(folder) if file == PREDICTIONS else None
        if corpus in left_out:
            yield Problem(f"{name}: {path}", f"holds records of {corpus}, whose text may not be passed on")


def _text_of(file: PlannedFile) -> str:
    content = file.content if isinstance(file.content, bytes) else file.content.read_bytes()
    return content.decode()


def pickle_problems(path: str, content: Path | bytes) -> Iterator[Problem]:
    """Whether a file could run code when it is read, by its name or by how it begins."""
    is_pickle = Path(path).suffix.lower() in _PICKLES
    if isinstance(content, Path) and not is_pickle:
        with content.open("rb") as file:
            start = file.read(4)
        is_pickle = start.startswith(_PICKLE_STARTS) or (start == _ZIP_START and _holds_pickle(content))
    elif isinstance(content, bytes):
        is_pickle = is_pickle or content.startswith(_PICKLE_STARTS)
    if is_pickle:
        what = "may be a pickle, which can run code when it is read"
        yield Problem(path, what, fix="use safetensors")


def _holds_pickle(path: Path) -> bool:
    """Whether a zip is one that torch saved."""
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith(".pkl") for name in archive.namelist())
    except zipfile.BadZipFile:
        return False


def size_problems(files: Mapping[str, PlannedFile]) -> Iterator[Problem]:
    """What the Hub would not take for its size or number."""
    for path, file in files.items():
        if file.size > LARGEST_FILE:
            yield Problem(
                path, "is too large for the Hub", f"at most {LARGEST_FILE:,} bytes", f"{file.size:,}"
            )
    for folder, count in Counter(path.rpartition("/")[0] for path in files).items():
        if count > MOST_FILES_A_FOLDER:
            what = "holds too many files for the Hub"
            yield Problem(folder or ".", what, f"at most {MOST_FILES_A_FOLDER:,}", f"{count:,}")


def _placed(problem: Problem, repository: str) -> Problem:
    where = f"{repository}: {problem.where}"
    return Problem(where, problem.what, problem.expected, problem.got, problem.fix)
