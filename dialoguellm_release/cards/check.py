"""Cards checked offline: metadata, links, pictures, placeholders and scores, for any repository."""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import unquote, urlsplit

from pydantic import Field, TypeAdapter, ValidationError

from dialoguellm_release.cards.card import BEGIN
from dialoguellm_release.cards.metadata import (
    FENCE,
    HUB_ID,
    OpenModel,
    config_problems,
    metadata_problems,
    our_config_problems,
    our_metadata_problems,
    read_front_matter,
    validation_problems,
)
from dialoguellm_release.errors import Problem, RecipeError
from dialoguellm_release.folders import kind_of
from dialoguellm_release.layout import CARD
from dialoguellm_release.recipes.yaml_reader import parse_yaml

if TYPE_CHECKING:
    from markdown_it.token import Token

_PAGES = re.compile(r"^(?:blob|raw|resolve|tree)/[^/]+/?")
"""The part of a Hub address before the path of a file."""


@dataclass(frozen=True)
class Reference:
    """A link or a picture."""

    address: str  # as written
    line: int  # counted from 1
    words: str | None = None  # the alternative text of a picture; None for a link

    @property
    def path(self) -> str | None:
        """The path in the same repository; None where it leads out of it."""
        parts = urlsplit(self.address)
        if parts.scheme or parts.netloc or not parts.path or parts.path.startswith("/"):
            return None
        path = posixpath.normpath(unquote(parts.path))
        return None if path.startswith("..") else _PAGES.sub("", path)

    def exists(self, files: Collection[str]) -> bool:
        """Whether it leads to one of the files, to one of their folders, or out of the repository."""
        path = self.path
        return path in (None, "", ".") or path in files or any(one.startswith(f"{path}/") for one in files)


@lru_cache(maxsize=32)
def read_body(text: str, first_line: int) -> tuple[tuple[Reference, ...], frozenset[int]]:
    """The references of the body of a card that begins at a line, and the lines of its code blocks.

    A card is checked where it is written, published and verified; its text is parsed once.
    """
    from markdown_it import MarkdownIt

    references, code = list[Reference](), set[int]()
    for token in MarkdownIt("commonmark").enable("table").parse(text):
        start, end = token.map or (0, 0)
        if token.type in ("fence", "code_block"):
            code |= set(range(first_line + start, first_line + end))
        elif token.type == "html_block":
            references += _in_html(token.content, first_line + start)
        else:
            references += _inline(token.children or [], first_line + start)
    return tuple(references), frozenset(code)


def _inline(tokens: Sequence[Token], line: int) -> Iterator[Reference]:
    for token in tokens:
        if token.type in ("softbreak", "hardbreak"):
            line += 1
        elif token.type == "link_open":
            yield Reference(str(token.attrs["href"]), line)
        elif token.type == "image":
            yield Reference(str(token.attrs["src"]), line, words=token.content)
        elif token.type == "html_inline":
            yield from _in_html(token.content, line)


def _in_html(text: str, line: int) -> Iterator[Reference]:
    reader = _Html()
    reader.feed(text)
    for address, offset, words in reader.found:
        yield Reference(address, line + offset, words)


class _Html(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, int, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        stated, line = dict(attrs), self.getpos()[0] - 1
        if tag == "img" and (source := stated.get("src")):
            self.found.append((source, line, stated.get("alt") or ""))
        if tag == "a" and (address := stated.get("href")):
            self.found.append((address, line, None))


class _EvalDataset(OpenModel):
    id: Annotated[str, Field(pattern=HUB_ID)]
    task_id: Annotated[str, Field(min_length=1)]
    revision: Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")] | None = None


class _EvalSource(OpenModel):
    url: Annotated[str, Field(pattern=r"^https?://")]


class _EvalResult(OpenModel):
    dataset: _EvalDataset
    value: float | int
    source: _EvalSource | None = None
    notes: str | None = None


_EVAL_RESULTS = TypeAdapter(list[_EvalResult])


def eval_result_problems(path: str, text: str) -> Iterator[Problem]:
    """What is wrong with a file of `.eval_results/`, by `eval-results.md` of huggingface/hub-docs."""
    try:
        document, problems = parse_yaml(text, path, alias="allow")
    except RecipeError as error:
        yield from error.problems
        return
    yield from problems
    try:
        _EVAL_RESULTS.validate_python(document.data)
    except ValidationError as error:
        yield from validation_problems(error, document, code="card.eval_results")


EVAL_RESULTS = ".eval_results/"

_PLACEHOLDER = re.compile(
    r"\{\{ .*? \}\}|\{%.*?%\}|\[?more information needed\]?|\b(?:TODO|FIXME|TBD)\b|lorem ipsum", re.IGNORECASE
)
_LOCAL_PATH = re.compile(
    r"(?<![\w./:~>-])/(?:home|root|Users|tmp|var|mnt|opt|work|workspace|private|content)/[^\s`\"')]+"
    r"|file://[^\s`\"')]+|\b[A-Z]:\\[^\s`\"')]+"
)
_CODE = re.compile(r"(`+).+?\1")
_LINE = re.compile(rf"{re.escape(CARD)}:(\d+)")


def repository_card_problems(
    files: Collection[str], read: Callable[[str], str], check: CardCheck
) -> Iterator[Problem]:
    """What is wrong with the card of a repository, and with the files of scores beside it."""
    if CARD not in files:
        yield Problem(CARD, "missing: a repository needs a card", code="card.missing")
        return
    yield from check(read(CARD), list(files))
    for path in sorted(files):
        if path.startswith(EVAL_RESULTS) and path.endswith(".yaml"):
            yield from eval_result_problems(path, read(path))


def check_card(text: str, files: Sequence[str]) -> list[Problem]:
    """What is wrong with a card by the rules of the Hub, in the order of its lines."""
    return _checked(text, files, is_ours=False)


def check_our_card(text: str, files: Sequence[str]) -> list[Problem]:
    """As `check_card`, and what is wrong by the promises of this package.

    A licence, ids with their owner, configs with their files, pictures with alternative text, and no
    placeholder or local path even in code.
    """
    return _checked(text, files, is_ours=True)


CardCheck = Callable[[str, Sequence[str]], list[Problem]]


def _checked(text: str, files: Sequence[str], *, is_ours: bool) -> list[Problem]:
    text = text.replace("\r\n", "\n")
    text += "" if text.endswith("\n") else "\n"
    front, found = read_front_matter(text, CARD)
    problems = list(found)
    if front is not None:
        of_metadata, of_configs = (
            (our_metadata_problems, our_config_problems) if is_ours else (metadata_problems, config_problems)
        )
        problems += [*of_metadata(front, files), *of_configs(front, files)]
    head, fence, body = text.partition(f"\n{FENCE}") if text.startswith(FENCE) else ("", "", text)
    references, code_lines = read_body(body, first_line=(head + fence).count("\n") + 1)
    for one in references:
        where, kind = f"{CARD}:{one.line}", "link" if one.words is None else "picture"
        if not one.exists(files):
            what = f"a {kind} leads to a file that does not exist"
            problems.append(Problem(where, what, got=one.address, code=f"card.broken_{kind}"))
        if is_ours and one.words is not None and not one.words.strip():
            what = "a picture has no alternative text"
            problems.append(Problem(where, what, got=one.address, code="card.picture_without_text"))
    problems += _stray_text(text if is_ours else _without_code(text, code_lines))
    return sorted(problems, key=_line_of)


def _stray_text(text: str) -> Iterator[Problem]:
    stray = (
        (_PLACEHOLDER, "a placeholder was not filled in", "card.placeholder"),
        (_LOCAL_PATH, "names a local path", "card.local_path"),
    )
    for number, line in enumerate(text.split("\n"), start=1):
        for pattern, what, code in stray:
            for match in pattern.finditer(line):
                yield Problem(f"{CARD}:{number}", what, got=match[0], code=code)


def _without_code(text: str, code_lines: Collection[int]) -> str:
    """The text with every code block and code span blanked out."""
    lines = enumerate(text.split("\n"), start=1)
    return "\n".join("" if number in code_lines else _CODE.sub("", line) for number, line in lines)


def _line_of(problem: Problem) -> int:
    match = _LINE.match(problem.where)
    return int(match[1]) if match else 0


_WITH_CARDS = ("adapter", "backbone", "dataset")
"""The kinds of folder that become repositories; a score report is only part of one."""

_NO_CONTENT = frozenset({".cache", ".git", ".venv", "__pycache__", "node_modules"})


@dataclass(frozen=True)
class CheckedCard:
    """What is wrong with a card.

    Attributes:
        path: Of the card; of the folder where it has none.
        is_ours: Whether it was held to the promises of this package too.
        problems: In the order of the card's lines.
    """

    path: Path
    is_ours: bool
    problems: tuple[Problem, ...]


def checked_card(path: Path) -> CheckedCard:
    """What is wrong with a card, or with that in a folder, and with the files that it names."""
    card = path / CARD if path.is_dir() else path
    if not card.is_file():
        expected = f"a {CARD}, or a folder that holds one"
        problem = Problem(str(path), "no card found", expected=expected, code="card.missing")
        return CheckedCard(path, False, (problem,))
    folder = card.parent
    try:
        is_ours = kind_of(folder) in _WITH_CARDS or BEGIN in card.read_text(encoding="utf-8")
        found = list(problems_in(folder, check_our_card if is_ours else check_card, card.name))
    except UnicodeDecodeError as error:
        what, fix = f"not UTF-8 at byte {error.start}", "save it as UTF-8"
        return CheckedCard(card, False, (Problem(str(card), what, fix=fix, code="card.not_utf8"),))
    placed = (replace(one, where=str(folder / one.where)) for one in found)
    return CheckedCard(card, is_ours, tuple(placed))


def problems_in(folder: Path, check: CardCheck, card: str = CARD) -> Iterator[Problem]:
    """What is wrong with the card of a folder; places are relative to the folder."""
    files = {path if path != card else CARD for path in files_in(folder)}

    def read(path: str) -> str:
        if path == CARD:
            return (folder / card).read_text(encoding="utf-8")
        return (folder / path).read_text(encoding="utf-8", errors="replace")

    for problem in repository_card_problems(files, read, check):
        yield replace(problem, where=problem.where.replace(CARD, card, 1))


def files_in(folder: Path) -> Iterator[str]:
    """The files of a repository on disk, without those of git and tools."""
    for root, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name not in _NO_CONTENT]
        for name in names:
            yield (Path(root) / name).relative_to(folder).as_posix()
