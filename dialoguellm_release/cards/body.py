"""The body of a card as a reader of Markdown sees it: what it leads to and shows, and what of it is code."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from html.parser import HTMLParser
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from markdown_it.token import Token

_PAGES = re.compile(r"^(?:blob|raw|resolve|tree)/[^/]+/?")
"""What stands before a path where a page of the Hub is meant."""


@dataclass(frozen=True)
class Reference:
    """A link or a picture.

    Attributes:
        address: As it is written.
        line: Counted from 1.
        words: Of a picture, what it shows, in words; of a link, None.
    """

    address: str
    line: int
    words: str | None = None

    @property
    def path(self) -> str | None:
        """The path in the same repository that it leads to; None where it leads out of it."""
        parts = urlsplit(self.address)
        if parts.scheme or parts.netloc or not parts.path or parts.path.startswith("/"):
            return None
        path = posixpath.normpath(unquote(parts.path))
        return None if path.startswith("..") else _PAGES.sub("", path)

    def is_there(self, files: Collection[str]) -> bool:
        """Whether it leads to one of the files, to a folder of theirs, or out of the repository."""
        path = self.path
        return path in (None, "", ".") or path in files or any(one.startswith(f"{path}/") for one in files)


@dataclass(frozen=True)
class Body:
    """What stands in a card; `code_lines` are those of blocks of code, counted from 1."""

    references: Sequence[Reference]
    code_lines: Collection[int]


def read_body(text: str, first_line: int) -> Body:
    """What stands in the body of a card.

    Args:
        text: Without the metadata.
        first_line: Its line in the card, counted from 1.
    """
    from markdown_it import MarkdownIt

    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    found, code = list[Reference](), set[int]()
    for token in tokens:
        start, end = token.map or (0, 0)
        if token.type in ("fence", "code_block"):
            code |= set(range(first_line + start, first_line + end))
        elif token.type == "html_block":
            found += _in_html(token.content, first_line + start)
        else:
            found += _inline(token.children or [], first_line + start)
    return Body(found, code)


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
