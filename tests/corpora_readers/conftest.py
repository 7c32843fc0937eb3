"""Readers on corpora that a test may damage."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import pytest

from dialoguellm_release.corpora.cells import Notes
from dialoguellm_release.corpora.readers import read_corpus
from dialoguellm_release.corpora.registry import corpus_entry
from dialoguellm_release.errors import DataError
from dialoguellm_release.schemas.labels import CorpusName
from dialoguellm_release.schemas.recipes.dataset import CorpusRecipe
from dialoguellm_release.schemas.record import Dialogue

JSON = CorpusRecipe(source="json")


@dataclass(frozen=True)
class Read:
    """All dialogues of a corpus and what was noticed on the way."""

    dialogues: list[Dialogue]
    notes: Notes


@dataclass(frozen=True)
class Corpora:
    """A folder of corpora, one sub-folder a corpus."""

    root: Path

    def __getitem__(self, name: str) -> Path:
        return self.root / name

    def read(self, name: CorpusName, *, json: bool = False) -> Read:
        notes = Notes()
        recipe = JSON if json else CorpusRecipe()
        return Read(list(read_corpus(corpus_entry(name), self.root / name, recipe, notes)), notes)

    def problems(self, name: CorpusName, *, json: bool = False) -> list[str]:
        """The problems of a corpus that cannot be read, each with its place relative to the corpora."""
        with pytest.raises(DataError) as caught:
            self.read(name, json=json)
        return [str(problem).replace(f"{self.root}/", "") for problem in caught.value.problems]

    def problem(self, name: CorpusName, *, json: bool = False) -> str:
        """The one problem of a corpus that cannot be read."""
        problems = self.problems(name, json=json)
        assert len(problems) == 1, problems
        return problems[0]

    def edit(self, path: str, change: Callable[[bytes], bytes]) -> None:
        file = self.root / path
        before = file.read_bytes()
        after = change(before)
        assert after != before, "the edit found nothing to change"
        file.write_bytes(after)

    def replace_in_line(self, path: str, line: int, old: str, new: str) -> None:
        def change(content: bytes) -> bytes:
            lines = content.split(b"\n")
            assert old.encode() in lines[line - 1], lines[line - 1]
            lines[line - 1] = lines[line - 1].replace(old.encode(), new.encode(), 1)
            return b"\n".join(lines)

        self.edit(path, change)


class Unchanged(Corpora):
    """Corpora that nobody changes: what was read last is kept."""

    @lru_cache(maxsize=1)  # noqa: B019
    def read(self, name: CorpusName, *, json: bool = False) -> Read:
        return super().read(name, json=json)


@pytest.fixture
def corpora(synthetic_dir: Path, tmp_path: Path) -> Corpora:
    """A copy of the synthetic corpora."""
    for name in ("meld", "emorynlp", "dailydialog", "meisd", "iemocap"):
        shutil.copytree(synthetic_dir / name, tmp_path / name)
    return Corpora(tmp_path)


@pytest.fixture(scope="module")
def real(corpora_dir: Path) -> Iterator[Corpora]:
    """The real corpora; read only."""
    yield Unchanged(corpora_dir)
    Unchanged.read.cache_clear()


@pytest.fixture
def real_copy(corpora_dir: Path, tmp_path: Path) -> Corpora:
    """A copy of the real corpora."""
    shutil.copytree(corpora_dir, tmp_path / "data", copy_function=shutil.copyfile)
    for folder in [tmp_path / "data", *(tmp_path / "data").rglob("*")]:
        folder.chmod(0o755)
    return Corpora(tmp_path / "data")


@pytest.fixture
def corpora_at() -> Callable[[Path], Corpora]:
    """Readers on corpora that lie in any folder."""
    return Corpora
