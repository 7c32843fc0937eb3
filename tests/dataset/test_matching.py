from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialoguellm_release.text import normalise


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("I’m sure, aren't you?", "im sure arent you"),
        ("No -- NO!", "no no"),
        ("  Room 12b.  ", "room 12b"),
        ("‘Quoted’ `text`", "quoted text"),
        ("¡…!", ""),
    ],
)
def test_normalised_text(text: str, words: str) -> None:
    assert normalise(text) == words


@given(st.text())
def test_normalising_is_idempotent_and_leaves_words_only(text: str) -> None:
    once = normalise(text)
    assert normalise(once) == once
    assert re.fullmatch(r"([a-z0-9]+( [a-z0-9]+)*)?", once)
