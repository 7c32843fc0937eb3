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
    """What some dialogues say, for finding it in others: telling utterances, runs, and dialogues whole.

    An utterance of no words ("...") says nothing that could be in common, and is left out.
    """

    def __init__(self) -> None:
        self._utterances: set[str] = set()
        self._runs: set[tuple[str, ...]] = set()
        self._dialogues: set[tuple[str, ...]] = set()

    def add(self, dialogue: Dialogue) -> None:
        """Takes up the text of a dialogue."""
        texts = _normalised(dialogue)
        self._utterances.update(_telling(texts))
        self._runs.update(_runs(texts))
        self._dialogues.add(tuple(texts))

    def shares_text_with(self, dialogue: Dialogue) -> bool:
        """Whether a telling utterance of the dialogue, a run, or the dialogue as a whole is in the index."""
        texts = _normalised(dialogue)
        return not (
            self._utterances.isdisjoint(_telling(texts))
            and self._runs.isdisjoint(_runs(texts))
            and tuple(texts) not in self._dialogues
        )


def _normalised(dialogue: Dialogue) -> list[str]:
    return [text for utterance in dialogue.utterances if (text := normalise(utterance.text))]


def _telling(texts: Iterable[str]) -> Iterable[str]:
    return (text for text in texts if text.count(" ") >= MIN_WORDS - 1)


def _runs(texts: list[str]) -> Iterable[tuple[str, ...]]:
    return zip(*(texts[start:] for start in range(MIN_RUN)), strict=False)
