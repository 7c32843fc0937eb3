"""Text in common between dialogues: normalisation, and the index of what training splits hold."""

from __future__ import annotations

from collections.abc import Iterable
from string import ascii_lowercase, digits

from dialoguellm_release.schemas.dialogue import Dialogue

MIN_WORDS = 5
"""An utterance of fewer words says nothing about where it comes from."""

MIN_RUN = 3
"""So many consecutive utterances in common are no accident, however short they are."""


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


class TextIndex:
    """The utterances and runs of utterances of some dialogues, for finding them in others."""

    def __init__(self) -> None:
        self._utterances: set[str] = set()
        self._runs: set[tuple[str, ...]] = set()

    def add(self, dialogue: Dialogue) -> None:
        """Takes up the text of a dialogue."""
        texts = _normalised(dialogue)
        self._utterances.update(_telling(texts))
        self._runs.update(_runs(texts))

    def shares_text_with(self, dialogue: Dialogue) -> bool:
        """Whether the dialogue has a telling utterance, or a run of utterances, that is in the index."""
        texts = _normalised(dialogue)
        return not (self._utterances.isdisjoint(_telling(texts)) and self._runs.isdisjoint(_runs(texts)))


def _normalised(dialogue: Dialogue) -> list[str]:
    return [normalise(utterance.text) for utterance in dialogue.utterances]


def _telling(texts: Iterable[str]) -> Iterable[str]:
    return (text for text in texts if text.count(" ") >= MIN_WORDS - 1)


def _runs(texts: list[str]) -> Iterable[tuple[str, ...]]:
    return zip(*(texts[start:] for start in range(MIN_RUN)), strict=False)
