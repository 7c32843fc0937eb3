from __future__ import annotations

import re
import unicodedata

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialoguellm_release.text import count_words, normalise, normalise_all


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("I’m sure, aren't you?", "im sure arent you"),
        ("No -- NO!", "no no"),
        ("  Room 12b.  ", "room 12b"),
        ("‘Quoted’ `text`", "quoted text"),
        ("¡…!", ""),
        ("Zoe\u0308 naïve", "zoë naïve"),  # composed
        ("STRASSE straße", "strasse strasse"),  # case folded
        ("ﬁne ＦＩＮＥ", "fine fine"),  # compatibility forms
        ("a\u200db a\u00adb \ufefflow", "ab ab low"),  # no shape
        ("🙂👍🏽 ❤️", ""),
        ("क्या बात है!", "क्या बात है"),  # marks stay in their word
        ("مرحبًا، كيف حالك؟", "مرحبًا كيف حالك"),
        ("مرحـــبا", "مرحبا"),
        ("你好，世界！", "你 好 世 界"),
        ("ﾃｽﾄ, テスト", "テ ス ト テ ス ト"),
        ("สวัสดีครับ", "ส วั ส ดี ค รั บ"),
        ("我有3只cats。ok吗", "我 有 3 只 cats ok 吗"),
        ("안녕하세요 여러분", "안녕하세요 여러분"),
        ("မင်္ဂလာပါ", "မ င်္ ဂ လာ ပါ"),
        ("សួស្តី", "សួ ស្ តី"),
    ],
)
def test_normalised_text(text: str, words: str) -> None:
    assert normalise(text) == unicodedata.normalize("NFKC", words)
    assert count_words(normalise(text)) == len(words.split())


@given(st.text())
def test_normalising_is_idempotent_and_leaves_words_only(text: str) -> None:
    once = normalise(text)
    assert normalise(once) == once
    assert once == " ".join(once.split())
    for word in once.split():
        assert any(map(str.isalnum, word))
        assert {unicodedata.category(character)[0] for character in word} <= set("LNM")


@given(st.text(st.characters(codec="ascii")))
def test_ascii_words_are_runs_of_letters_and_digits_without_apostrophes(text: str) -> None:
    assert normalise(text) == " ".join(re.findall("[a-z0-9]+", re.sub("['`]", "", text.lower())))


@given(st.text(), st.text())
def test_a_space_between_two_texts_joins_their_words(first: str, second: str) -> None:
    assert normalise(f"{first} {second}").split() == [*normalise(first).split(), *normalise(second).split()]


@given(st.lists(st.text(st.one_of(st.characters(codec="ascii"), st.characters(codec="utf-8"))), max_size=5))
def test_a_column_of_texts_is_normalised_as_each_is(texts: list[str]) -> None:
    column = pa.array(["left out", *texts], pa.string()).slice(1)
    assert normalise_all(column).to_pylist() == list(map(normalise, texts))
