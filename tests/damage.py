"""Seeded damage to files: what a disk, an editor or a hand does to them.

for name, content in damaged(path.read_bytes(), seeds=range(200)):
    path.write_bytes(content)
    with only_release_errors(name, names=path.name):
        read(path)
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import pytest

from dialoguellm_release.errors import ReleaseError

Mutation = Callable[[bytes, random.Random], bytes]

ODD_TEXTS = (
    "\u200b",  # zero-width space
    "\u202e",  # right-to-left override
    "\u2028",  # line separator
    "\x85",  # next line
    "\u00a0",  # no-break space
    "e\u0301",  # decomposed letter
    "\U0001f600",
    "\ud800",  # half of a surrogate pair
    "\ufffe",
    "\x00",
    "\x1b[31m",
)
QUOTES = (
    '"',
    "'",
    "`",
    '"""',
    "\\",
    "|",
    ">",
    "&a",
    "*a",
    "!!python/object:os.system",
    "{",
    "]",
    ": ",
    "#",
    "%",
)


def _place(content: bytes, dice: random.Random) -> int:
    return dice.randrange(len(content) + 1)


def _span(content: bytes, dice: random.Random) -> tuple[int, int]:
    start = _place(content, dice)
    return start, min(len(content), start + dice.choice((1, 2, 7, 40, 400)))


def _inserted(content: bytes, dice: random.Random, what: bytes) -> bytes:
    place = _place(content, dice)
    return content[:place] + what + content[place:]


def _with_lines(
    content: bytes, dice: random.Random, change: Callable[[list[bytes], int, int], None]
) -> bytes:
    lines = content.splitlines(keepends=True) or [b""]
    change(lines, dice.randrange(len(lines)), dice.randrange(len(lines)))
    return b"".join(lines)


def flip(content: bytes, dice: random.Random) -> bytes:
    """One bit is another."""
    if not content:
        return b"\x01"
    changed = bytearray(content)
    changed[dice.randrange(len(content))] ^= 1 << dice.randrange(8)
    return bytes(changed)


def cut(content: bytes, dice: random.Random) -> bytes:
    """The end is missing."""
    return content[: _place(content, dice)]


def remove(content: bytes, dice: random.Random) -> bytes:
    """A piece is missing."""
    start, end = _span(content, dice)
    return content[:start] + content[end:]


def insert(content: bytes, dice: random.Random) -> bytes:
    """Random bytes are in between."""
    return _inserted(content, dice, dice.randbytes(dice.choice((1, 3, 20))))


def duplicate(content: bytes, dice: random.Random) -> bytes:
    """A piece is there twice."""
    start, end = _span(content, dice)
    return content[:end] + content[start:]


def duplicate_line(content: bytes, dice: random.Random) -> bytes:
    """A line is there twice."""
    return _with_lines(content, dice, lambda lines, first, second: lines.insert(second, lines[first]))


def remove_line(content: bytes, dice: random.Random) -> bytes:
    """A line is missing."""
    return _with_lines(content, dice, lambda lines, first, _second: lines.__delitem__(first))


def swap_lines(content: bytes, dice: random.Random) -> bytes:
    """Two lines have changed places."""

    def change(lines: list[bytes], first: int, second: int) -> None:
        lines[first], lines[second] = lines[second], lines[first]

    return _with_lines(content, dice, change)


def null(content: bytes, dice: random.Random) -> bytes:
    """A value is null, or a byte is."""
    if dice.random() < 0.5:
        return _inserted(content, dice, b"\x00" * dice.choice((1, 512)))

    def change(lines: list[bytes], first: int, _second: int) -> None:
        key, colon, _ = lines[first].partition(b":")
        lines[first] = (
            key + colon + b" null,\n" if lines[first].rstrip().endswith(b",") else key + colon + b" null\n"
        )

    return _with_lines(content, dice, change)


def carriage_returns(content: bytes, dice: random.Random) -> bytes:
    """Lines end as on another system, all or one."""
    if dice.random() < 0.5:
        return content.replace(b"\n", dice.choice((b"\r\n", b"\r")))
    return _inserted(content, dice, b"\r")


def quotes(content: bytes, dice: random.Random) -> bytes:
    """A character that means something to a parser is in between."""
    return _inserted(content, dice, dice.choice(QUOTES).encode())


def byte_order_mark(content: bytes, dice: random.Random) -> bytes:
    """The file was saved with a mark, or as UTF-16 or Latin-1."""
    kind = dice.randrange(3)
    if kind == 0:
        return b"\xef\xbb\xbf" + content
    text = content.decode("utf-8", errors="replace")
    return text.encode("utf-16") if kind == 1 else f"\u00fc{text}".encode("latin-1", errors="replace")


def long_field(content: bytes, dice: random.Random) -> bytes:
    """A field is far longer than any of its kind, or nested far deeper."""
    return _inserted(content, dice, dice.choice((b"x" * 200_000, b"9" * 5_000, b"[" * 2_000, b"- " * 2_000)))


def odd_unicode(content: bytes, dice: random.Random) -> bytes:
    """A character that most programs forget is in between."""
    return _inserted(content, dice, dice.choice(ODD_TEXTS).encode("utf-8", errors="surrogatepass"))


MUTATIONS: tuple[Mutation, ...] = (
    flip,
    cut,
    remove,
    insert,
    duplicate,
    duplicate_line,
    remove_line,
    swap_lines,
    null,
    carriage_returns,
    quotes,
    byte_order_mark,
    long_field,
    odd_unicode,
)


def damaged(content: bytes, seeds: Iterable[int]) -> Iterator[tuple[str, bytes]]:
    """For each seed the name of a mutation and the content after it; every kind has its turn.

    Args:
        content: Of the whole file.
        seeds: The same seed always gives the same damage.
    """
    for seed in seeds:
        dice = random.Random(seed)
        mutation = MUTATIONS[seed % len(MUTATIONS)]
        yield f"{mutation.__name__}, seed {seed}", mutation(content, dice)


@contextmanager
def only_release_errors(damage: str, *, names: str) -> Iterator[None]:
    """Lets the block succeed or end in a `ReleaseError` that names a file; all else fails the test.

    Args:
        damage: Names the mutation in the message.
        names: What the error has to name, as the name of the file.
    """
    try:
        yield
    except ReleaseError as error:
        if names not in str(error):
            pytest.fail(f"{damage}: {names} is not named in: {str(error)[:2_000]}")
    except Exception as error:
        raise AssertionError(f"{damage}: {type(error).__name__}: {str(error)[:2_000]}") from error
