"""Everything in the repositories of a release is searched for the text of what was withheld.

"Everything" is every object that git stores, whether a commit leads to it or not, and every file beside them;
Parquet and JSON are decoded. Neither the search nor its normalisation is code of the package.
"""

from __future__ import annotations

import hashlib
import hmac
import io
import json
import re
import subprocess
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dialoguellm_release.folders import read_manifest
from dialoguellm_release.hub.publish import publish_release
from dialoguellm_release.hub.store_folder import FolderStore
from dialoguellm_release.schemas.dataset_manifest import DatasetManifest
from dialoguellm_release.schemas.labels import CorpusName
from dialoguellm_release.schemas.release import DatasetRepository, ReleaseRecipe
from dialoguellm_release.steps.dataset import build_dataset

REPOSITORY = "dialoguellm/instructions"
LEAST_WORDS = 4
"""Shorter utterances stand in other sentences by chance, and are looked for as whole cells and lines only."""

LEAST_CHARACTERS = 12
"""Even shorter ones ("Yeah.") are whole cells by chance."""

_HEX = re.compile(r"[0-9a-f]{32,128}")
_APOSTROPHES, _OTHERS = re.compile("['’‘`]"), re.compile(r"[^a-z0-9]+")


def words_of(text: str) -> list[str]:
    return _OTHERS.sub(" ", _APOSTROPHES.sub("", text.lower())).split()


class Withheld:
    """The utterances that may be nowhere, but for those that stand in a text that is free."""

    def __init__(self, texts: Iterable[str], free: Iterable[str], salt: str) -> None:
        known = "\n".join(f" {' '.join(words_of(text))} " for text in set(free))
        split = {text: words_of(text) for text in set(texts)}
        kept = {text: words for text, words in split.items() if f" {' '.join(words)} " not in known}
        self.texts = {text: words for text, words in kept.items() if len(words) >= LEAST_WORDS}
        self._by_start = defaultdict(set)
        for words in self.texts.values():
            self._by_start[tuple(words[:LEAST_WORDS])].add(tuple(words))
        self._lines = {text for text in kept if len(text) >= LEAST_CHARACTERS}
        self._digests = {digest for text in split for digest in _digests(text, salt)}
        self._clean = set[str]()

    def found_in(self, text: str) -> list[str]:
        """The utterances in a text; one that was searched before, and holds none, is not searched again."""
        found = [] if text in self._clean else list(self._searched(text))
        if not found:
            self._clean.add(text)
        return found

    def _searched(self, text: str) -> Iterator[str]:
        """The utterances in a text, by their words and as they are; hashes of one, whatever its length."""
        words = words_of(text)
        for place in range(len(words) - LEAST_WORDS + 1):
            for wanted in self._by_start.get(tuple(words[place : place + LEAST_WORDS]), ()):
                if tuple(words[place : place + len(wanted)]) == wanted:
                    yield " ".join(wanted)
        yield from (digest for digest in _HEX.findall(text) if digest in self._digests)
        yield from (line for line in text.splitlines() if line in self._lines)


def _digests(text: str, salt: str) -> Iterator[str]:
    for form in {text, text.strip(), text.lower(), " ".join(words_of(text))}:
        for name in ("md5", "sha1", "sha256", "sha512", "blake2b"):
            yield hashlib.new(name, form.encode()).hexdigest()
        for key in (salt.encode(), bytes.fromhex(salt)):
            yield hmac.digest(key, form.encode(), "sha256").hex()
            yield hashlib.sha256(key + form.encode()).hexdigest()
            yield hashlib.sha256(form.encode() + key).hexdigest()


def findings(target: Path, withheld: Withheld) -> list[str]:
    """What of the withheld text is in a folder of repositories, with where."""
    seen: dict[bytes, str] = {}
    for where, content in contents(target):
        seen.setdefault(content, where)
    return [
        f"{where}: {found}"
        for content, where in seen.items()
        for text in texts_in(content)
        for found in withheld.found_in(text)
    ]


def contents(target: Path) -> Iterator[tuple[str, bytes]]:
    """Every object of every repository, and every file that is not one of git's objects."""
    repositories = sorted(path.parent for path in target.rglob(".git"))
    assert repositories
    for repository in repositories:
        for kind, name, content in objects(repository):
            yield f"{repository} {kind} {name}", content
    for path in sorted(target.rglob("*")):
        if path.is_file() and ".git/objects" not in path.as_posix():
            yield str(path), path.read_bytes()


def objects(repository: Path) -> Iterator[tuple[str, str, bytes]]:
    """All that git stores, also what no branch and no tag leads to."""
    command = ["git", "-C", str(repository), "cat-file", "--batch-all-objects", "--batch", "--unordered"]
    stream = io.BytesIO(subprocess.run(command, check=True, capture_output=True).stdout)
    while header := stream.readline():
        name, kind, size = header.decode().split()
        yield kind, name, stream.read(int(size))
        stream.read(1)


def texts_in(content: bytes) -> Iterator[str]:
    """The content as text, and what is told in it by another way of writing."""
    yield content.decode(errors="replace")
    if content.startswith(b"PAR1"):
        table = pq.read_table(io.BytesIO(content))
        yield json.dumps({str(key): str(value) for key, value in (table.schema.metadata or {}).items()})
        for column in table.columns:
            yield from _cells(column)
    elif content[:1] in b"{[":
        try:
            yield from _strings(json.loads(content))
        except ValueError:
            return


def _cells(column: pa.ChunkedArray) -> Iterator[str]:
    for cell in column.to_pylist():
        if cell is not None:
            yield "\n".join(map(str, cell)) if isinstance(cell, list) else str(cell)


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for one in [*value, *(value.values() if isinstance(value, dict) else [])]:
            yield from _strings(one)


def inputs(dataset: Path, corpora: Iterable[CorpusName]) -> list[str]:
    files = [path for name in corpora for path in sorted((dataset / "data" / name).glob("*.parquet"))]
    return [text for path in files for text in pq.read_table(path, columns=["input"])["input"].to_pylist()]


def release_of(tag: str) -> ReleaseRecipe:
    repository = DatasetRepository(repo_id=REPOSITORY, folder="dataset")
    return ReleaseRecipe(
        version=1,
        kind="release",
        description="Of the tests.",
        tag=tag,
        changelog="One of the tests.",
        dataset=repository,
    )


def build_and_publish(
    target: Path, build: Path, tag: str, sources: Path | None, skip: list[str], **asked: str
) -> DatasetManifest:
    settings = [f"corpora.{name}.distribution={one}" for name, one in asked.items()]
    made = build_dataset(
        "paper" if sources else "demo", sources, build / "dataset", skip=skip, overrides=settings
    )
    publish_release(release_of(tag), build, FolderStore(target))
    return made.manifest


@pytest.fixture(scope="module")
def synthetic(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Withheld]:
    """Two releases of the synthetic corpora: the rows of MELD go out without text, then not at all."""
    folder = tmp_path_factory.mktemp("synthetic")
    target, build = folder / "target", folder / "build"
    build_and_publish(target, build, "v1.0.0", None, [], meld="standoff")
    manifest = build_and_publish(target, build, "v1.1.0", None, [], meld="exclude")
    dataset = build / "dataset"
    kept = inputs(dataset, ("meld", "meisd", "iemocap"))
    free = inputs(dataset, ("emorynlp", "dailydialog"))
    return target, Withheld(kept, free, manifest.content_sha256)


def test_nothing_that_is_withheld_is_in_what_was_published(synthetic: tuple[Path, Withheld]) -> None:
    target, withheld = synthetic
    assert len(withheld.texts) > 100
    assert findings(target, withheld) == []


def plant(target: Path, name: str, content: bytes) -> None:
    repository = target / "datasets" / REPOSITORY
    (repository / name).write_bytes(content)
    settings = ["-c", "user.name=a", "-c", "user.email=a@localhost"]
    for command in (["add", name], ["commit", "-qm", "in"], ["rm", "-q", name], ["commit", "-qm", "out"]):
        subprocess.run(["git", "-C", str(repository), *settings, *command], check=True)
    assert not (repository / name).exists()


def as_parquet(text: str) -> bytes:
    sink = io.BytesIO()
    cells = [["Some prompt.", f"Before.\nA: {text}\nAfter."], [None, "x"]]
    table = pa.table({"prompt": cells[0], "context": [cells[1], []]})
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue()


@pytest.mark.parametrize(
    "way", ["plain", "shouted", "parquet", "json", "sha256", "salted", "message", "loose"]
)
def test_the_search_finds_what_is_planted(synthetic: tuple[Path, Withheld], tmp_path: Path, way: str) -> None:
    """A line in a commit that a later one took out again, or in an object that nothing leads to."""
    source, withheld = synthetic
    target = tmp_path / "target"
    subprocess.run(["cp", "-r", str(source), str(target)], check=True)
    line = max(withheld.texts, key=len)
    salt = read_manifest(target / "datasets" / REPOSITORY, DatasetManifest).content_sha256
    repository = ["git", "-C", str(target / "datasets" / REPOSITORY)]
    match way:
        case "message":
            settings = ["-c", "user.name=a", "-c", "user.email=a@localhost"]
            subprocess.run([*repository, *settings, "commit", "-q", "--allow-empty", "-m", line], check=True)
            subprocess.run([*repository, "reset", "-q", "--hard", "HEAD~1"], check=True)
        case "loose":
            subprocess.run([*repository, "hash-object", "-w", "--stdin"], input=line.encode(), check=True)
        case _:
            planted = {
                "plain": line.encode(),
                "shouted": f"x {line.upper()} x".encode(),
                "parquet": as_parquet(line),
                "json": json.dumps({"a": [{"b": line}]}).replace("e", "\\u0065").encode(),
                "sha256": hashlib.sha256(line.encode()).hexdigest().encode(),
                "salted": hmac.digest(bytes.fromhex(salt), line.encode(), "sha256").hex().encode(),
            }
            plant(target, "notes.txt", planted[way])
    assert findings(target, withheld)


@pytest.mark.corpora
def test_nothing_that_is_withheld_of_the_real_corpora_is_in_what_was_published(
    corpora_dir: Path, tmp_path: Path
) -> None:
    target, build, skip = tmp_path / "target", tmp_path / "build", ["iemocap", "dailydialog"]
    manifest = build_and_publish(target, build, "v1.0.0", corpora_dir, skip, meld="standoff")
    dataset = build / "dataset"
    kept, free = inputs(dataset, ("meld", "meisd")), inputs(dataset, ("emorynlp",))
    withheld = Withheld(kept, free, manifest.content_sha256)
    assert len(withheld.texts) > 20_000
    assert (target / "datasets" / REPOSITORY / "standoff" / "meld").is_dir()
    assert findings(target, withheld) == []
    plant(target, "notes.txt", as_parquet(max(withheld.texts, key=len)))
    assert findings(target, withheld)
