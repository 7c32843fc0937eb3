"""How texts are made comparable."""

from __future__ import annotations

from string import ascii_lowercase, digits


class _Letters(dict[int, str | None]):
    """Keeps a-z and 0-9, drops apostrophes, and makes a space of any other character."""

    def __missing__(self, character: int) -> str:
        self[character] = " "
        return " "


_LETTERS = _Letters({ord(kept): kept for kept in ascii_lowercase + digits} | dict.fromkeys(map(ord, "'’‘`")))


def normalise(text: str) -> str:
    """The words of a text: lower case, apostrophes dropped, all but a-z and 0-9 a single space.

    >>> normalise("Don’t -- you DARE, Zoë!")
    'dont you dare zo'
    """
    return " ".join(text.lower().translate(_LETTERS).split())
