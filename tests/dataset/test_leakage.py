from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialoguellm_release.dataset.leakage import TextIndex, normalise
from dialoguellm_release.schemas.dialogue import Dialogue, Utterance


def dialogue(*texts: str) -> Dialogue:
    utterances = tuple(
        Utterance(index=index, text=text, label="neutral", source_label="neutral")
        for index, text in enumerate(texts)
    )
    return Dialogue(corpus="meld", split="train", id="1", utterances=utterances)


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


def test_a_telling_utterance_in_common_is_found() -> None:
    index = TextIndex()
    index.add(dialogue("You never told me about the boat!", "Yes."))
    assert index.shares_text_with(dialogue("Hm.", "you never told me about the boat"))
    assert not index.shares_text_with(dialogue("Yes.", "You told me about the boat."))


def test_five_words_tell_and_four_do_not() -> None:
    index = TextIndex()
    index.add(dialogue("where is the boat", "now where is the boat"))
    assert index.shares_text_with(dialogue("Now where is the boat?"))
    assert not index.shares_text_with(dialogue("Where is the boat?"))


def test_a_short_dialogue_that_stands_there_whole_is_found() -> None:
    index = TextIndex()
    index.add(dialogue("Hey!", "Hi."))
    assert index.shares_text_with(dialogue("hey", "...", "Hi!"))
    assert not index.shares_text_with(dialogue("Hi.", "Hey!"))
    assert not index.shares_text_with(dialogue("Hey!", "Hi.", "Bye."))


def test_a_run_of_short_utterances_is_found_in_its_order_alone() -> None:
    index = TextIndex()
    index.add(dialogue("Hi.", "No.", "Why?", "So."))
    assert index.shares_text_with(dialogue("Well?", "No!", "Why?", "So..."))
    assert not index.shares_text_with(dialogue("Why?", "No!", "So."))
    assert not index.shares_text_with(dialogue("Hi.", "No."))
