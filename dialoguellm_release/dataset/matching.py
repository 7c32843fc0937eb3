"""What counts as text in common: how texts are made comparable, and from what length on they tell."""

from __future__ import annotations

from string import ascii_lowercase, digits

MIN_WORDS = 5
"""An utterance, or a dialogue as a whole, of fewer words says nothing about where it comes from."""

MIN_RUN = 3
"""So many consecutive utterances in common are no accident, however short they are."""

NGRAM = 8
"""Words of the n-grams that find what no longer matches utterance by utterance."""


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
