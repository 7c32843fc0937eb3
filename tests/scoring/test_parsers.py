from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialoguellm_release.corpora.registry import corpus_entry, load_dataset_recipe
from dialoguellm_release.folders import read_manifest
from dialoguellm_release.schemas.corpus import AuthorsScript
from dialoguellm_release.schemas.dataset_manifest import DatasetManifest
from dialoguellm_release.schemas.labels import LABELS, CorpusName, Label
from dialoguellm_release.scoring.answers import authors_dice, authors_script_of, parse, parse_as_authors
from tests.own_corpus import write_own_corpus

SEVEN = LABELS[:7]
EMORYNLP: tuple[Label, ...] = (
    "happiness",
    "anger",
    "fear",
    "sadness",
    "neutral",
    "powerful",
    "peaceful",
)
IEMOCAP: tuple[Label, ...] = ("happiness", "sadness", "neutral", "anger", "excitement", "frustration")


@given(
    st.sampled_from(LABELS),
    st.sampled_from(["", " ", "\n", "\t "]),
    st.sampled_from(["", ".", " .", "\nmore", " \n\n### Input:"]),
    st.sampled_from([str.lower, str.upper, str.title]),
)
def test_a_label_is_read_through_white_space_case_and_a_stop(
    label: Label, before: str, after: str, case: object
) -> None:
    assert callable(case)
    assert parse(before + case(label) + after, LABELS) == label


@given(st.text(max_size=20), st.sampled_from(SEVEN))
def test_what_is_not_the_label_alone_is_invalid(text: str, label: Label) -> None:
    found = parse(text, SEVEN)
    assert found is None or text.strip().lower().startswith(found)
    assert parse(f"not {label}", SEVEN) is None
    assert parse(f"{label} or fear", SEVEN) is None
    assert parse("powerful", SEVEN) is None


@pytest.mark.parametrize(
    ("corpus", "text", "expected"),
    [
        ("meld", "Joy", "happiness"),
        ("meld", "I am unhappy", "happiness"),  # holds "happy"
        ("meld", "sad, not happy", "happiness"),  # the first of the list, not of the text
        ("meld", "10 people", "neutral"),  # holds "0"
        ("meld", "10 angry people", "anger"),  # "0" comes last
        ("meld", "Amazing. Sad", "surprise"),  # up to the first stop
        ("meld", "bored\nhappy", "drawn"),  # up to the first line break
        ("meld", "peaceful", "drawn"),
        ("meld", "", "drawn"),
        ("dailydialog", "hate", "disgust"),  # no script of its own: MELD's
        ("emorynlp", "Mad", "drawn"),
        ("emorynlp", "peaceful", "peaceful"),
        ("emorynlp", "5", "powerful"),
        ("emorynlp", "disgust", "drawn"),  # listed, but without an id
        ("emorynlp", "surprise, peaceful", "drawn"),  # likewise, and it comes first
        ("iemocap", "excitement", "excitement"),
        ("iemocap", "frustration", "frustration"),
        ("iemocap", "hate", "drawn"),
        ("iemocap", "surprise", "surprise"),  # an id outside the label space
    ],
)
def test_the_authors_rule_reads(corpus: CorpusName, text: str, expected: str) -> None:
    assert parse_as_authors(text, corpus_entry(corpus).authors_script) == expected


@pytest.mark.parametrize(
    ("corpus", "labels", "missing"),
    [("meld", SEVEN, 0), ("emorynlp", EMORYNLP, 0), ("iemocap", IEMOCAP, 2), ("meisd", LABELS, 0)],
)
def test_the_authors_dice_have_seven_sides(corpus: CorpusName, labels: Sequence[Label], missing: int) -> None:
    chances = authors_dice(corpus_entry(corpus).authors_script, labels)
    assert tuple(chances) == tuple(labels)
    assert sum(chances.values()) == pytest.approx((7 - missing) / 7)
    assert set(chances.values()) <= {0.0, 1 / 7}
    assert authors_dice(corpus_entry("iemocap").authors_script, IEMOCAP)["frustration"] == 0


def test_the_script_of_a_user_is_that_of_the_corpus_file(small_dataset: Path, tmp_path: Path) -> None:
    stated = {"words": {"mad": "anger"}, "ids": ["anger", "sadness"]}
    loaded, _ = load_dataset_recipe(str(write_own_corpus(tmp_path, "zh", authors_script=stated)))
    dataset = read_manifest(small_dataset, DatasetManifest).model_copy(update={"recipe": loaded.stamp})
    script = authors_script_of("talk", dataset)
    assert [parse_as_authors(text, script) for text in ("Mad", "so sad", "happy")] == [
        "anger",
        "sadness",
        "drawn",
    ]
    assert authors_dice(script, ("anger", "fear")) == {"anger": 1 / 7, "fear": 0}
    assert authors_script_of("somebody", dataset) == AuthorsScript()
    assert authors_script_of("iemocap", dataset) == corpus_entry("iemocap").authors_script
