"""Whether texts are in a script of the languages of a training: all that can be known cheaply."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable
from functools import cache

_LATIN = "ca cs da de en es et fi fr ga hr hu id is it lt lv ms nl no pl pt ro sk sl sq sv sw tl tr vi"
_SCRIPTS = {
    **dict.fromkeys(_LATIN.split(), ("LATIN",)),
    **dict.fromkeys(("be", "bg", "kk", "ky", "mk", "mn", "ru", "uk"), ("CYRILLIC",)),
    **dict.fromkeys(("hi", "mr", "ne", "sa"), ("DEVANAGARI",)),
    **dict.fromkeys(("ar", "fa", "ps", "ur"), ("ARABIC",)),
    "bn": ("BENGALI",),
    "el": ("GREEK",),
    "he": ("HEBREW",),
    "ta": ("TAMIL",),
    "te": ("TELUGU",),
    "th": ("THAI",),
    "zh": ("CJK",),
    "ja": ("CJK", "HIRAGANA", "KATAKANA"),
    "ko": ("HANGUL", "CJK"),
}
"""The scripts of languages by their code; of others, and of those with several, nothing is said."""

_SUBTAGS = {"Latn": "LATIN", "Cyrl": "CYRILLIC", "Deva": "DEVANAGARI", "Arab": "ARABIC", "Hans": "CJK"}
_SUBTAGS |= {"Hant": "CJK", "Grek": "GREEK", "Hebr": "HEBREW", "Thai": "THAI", "Beng": "BENGALI"}
ENOUGH = 200
"""Of fewer letters nothing is said."""

MOST = 100_000
"""So many letters are looked at."""


def scripts_of(languages: Iterable[str]) -> set[str] | None:
    """The scripts of languages by their BCP 47 tags; None where one is not known.

    >>> sorted(scripts_of(["en", "hi-Deva"]))
    ['DEVANAGARI', 'LATIN']
    """
    found = set[str]()
    for tag in languages:
        language, *subtags = tag.split("-")
        stated = [_SUBTAGS[one.title()] for one in subtags if one.title() in _SUBTAGS]
        if not stated and language.lower() not in _SCRIPTS:
            return None
        found |= {*(stated or _SCRIPTS[language.lower()])}
    return found or None


class ScriptCount:
    """The letters of texts by their script, of the first `MOST`."""

    def __init__(self) -> None:
        self._letters: Counter[str] = Counter()
        self._total = 0

    def add(self, text: str) -> None:
        """Counts the letters of a text."""
        if self._total < MOST:
            found = [_script(character) for character in text if character.isalpha()]
            self._letters.update(found)
            self._total += len(found)

    def warning(self, languages: Iterable[str]) -> str | None:
        """What is wrong where most letters are of no script of the languages; None where nothing is known."""
        tags = list(languages)
        known = scripts_of(tags)
        if known is None or self._total < ENOUGH:
            return None
        (script, count), *_ = self._letters.most_common(1)
        fitting = sum(number for name, number in self._letters.items() if name in known)
        if fitting * 2 >= self._total:
            return None
        trained = f"{', '.join(tags)} ({', '.join(sorted(one.title() for one in known))})"
        return (
            f"{count / self._total:.0%} of the letters are {script.title()}, but the model was trained on "
            f"{trained}: its labels mean little here"
        )


@cache
def _script(character: str) -> str:
    """The first word of a letter's Unicode name, which is its script: LATIN, CYRILLIC, CJK."""
    return unicodedata.name(character, "UNKNOWN").partition(" ")[0]
