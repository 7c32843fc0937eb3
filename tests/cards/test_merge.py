"""A card that is published again keeps what others wrote into it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialoguellm_release.cards.card import BEGIN, END, front_matter, merged_card, split_card
from dialoguellm_release.cards.check import check_our_card
from dialoguellm_release.errors import CardError

FIRST = "---\nlicense: mit\ntags:\n- a\n---\n\n# First\n\nGenerated.\n"
SECOND = "---\nlicense: apache-2.0\n---\n\n# Second\n\nGenerated anew.\n"


def test_a_first_card_stands_between_two_lines() -> None:
    metadata, body = split_card(merged_card(FIRST, None))
    assert metadata == {"license": "mit", "tags": ["a"]}
    assert body == f"\n{BEGIN}\n\n# First\n\nGenerated.\n\n{END}\n"
    assert check_our_card(merged_card(FIRST, None), []) == []


def test_text_around_and_foreign_metadata_are_kept_and_ours_renewed() -> None:
    published = merged_card(FIRST, None)
    edited = published.replace("license: mit\n", "license: mit\nextra_gated_prompt: Be kind.\nour_team: us\n")
    edited = edited.replace(BEGIN, f"A notice.\n\n{BEGIN}") + "\n## By hand\n\nMore.\n"
    again = merged_card(SECOND, edited)
    metadata, body = split_card(again)
    assert metadata == {"license": "apache-2.0", "extra_gated_prompt": "Be kind.", "our_team": "us"}
    assert "Generated anew." in body
    assert "# First" not in body
    assert body.startswith("\nA notice.\n")
    assert body.endswith("\n## By hand\n\nMore.\n")


def test_a_card_that_was_never_ours_is_kept_below() -> None:
    foreign = "---\nlicense: gpl-3.0\ndoi: '10'\n---\n# Old\n\nTheir words.\n"
    metadata, body = split_card(merged_card(FIRST, foreign))
    assert metadata == {"license": "mit", "tags": ["a"], "doi": "10"}
    assert body.index(END) < body.index("# Old")
    assert split_card(merged_card(FIRST, "Only words."))[1].endswith("\nOnly words.\n")


def test_line_ends_of_windows_and_a_mark_at_the_start_do_not_matter() -> None:
    published = merged_card(FIRST, None) + "\nBy hand.\n"
    windows = "\ufeff" + published.replace("\n", "\r\n")
    assert merged_card(FIRST, windows) == published


@pytest.mark.parametrize(
    ("existing", "code"),
    [
        (merged_card(FIRST, None).replace(END, ""), "card.markers"),
        (merged_card(FIRST, None).replace(BEGIN, f"{BEGIN} {BEGIN}"), "card.markers"),
        ("---\nlicense: [\n---\n# Old\n", "yaml.invalid"),
        ("---\ndate: 2026-13-01\n---\n# Old\n", "yaml.invalid"),
        ("---\njust words\n---\n# Old\n", "card.metadata_not_a_mapping"),
        ("---\nlicense: mit\n# Old\n", "card.no_metadata"),
        ("---\nlicense: mit\nlicense: gpl-3.0\n---\n# Old\n", "yaml.not_allowed"),
    ],
)
def test_a_card_that_cannot_be_read_is_never_overwritten(existing: str, code: str) -> None:
    with pytest.raises(CardError) as caught:
        merged_card(SECOND, existing)
    assert [problem.code for problem in caught.value.problems] == [code]


texts = st.text(st.characters(codec="utf-8", exclude_characters="\r"), max_size=60).filter(
    lambda text: not text.startswith("---") and "<!--" not in text and "\ufeff" not in text
)


@given(before=texts, after=texts, key=st.from_regex(r"[a-z]{3,12}_own", fullmatch=True), value=texts)
def test_nothing_is_lost_however_often_it_is_published(before: str, after: str, key: str, value: str) -> None:
    metadata, body = split_card(merged_card(FIRST, None))
    edited = f"{front_matter({**metadata, key: value})}{before}{body}{after}"
    once = merged_card(SECOND, edited)
    assert merged_card(SECOND, once) == once
    kept, text = split_card(once)
    assert kept[key] == value
    assert text.startswith(before)
    assert after in text
