"""Label agreement: known answers, scikit-learn's kappa, and a count straight from the Parquet files."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialoguellm_release.leakage.agreement import cohen_kappa, find_agreement
from dialoguellm_release.leakage.turns import as_turns
from dialoguellm_release.record_columns import columns_of
from dialoguellm_release.schemas.audit import Agreement, Audit
from dialoguellm_release.schemas.dataset_manifest import DatasetManifest
from dialoguellm_release.schemas.labels import LABELS, Label
from dialoguellm_release.schemas.record import Record
from dialoguellm_release.step import StepResult
from dialoguellm_release.steps.dataset import audit_dataset
from tests.corpus_names import CORPORA

DialogueOf = Callable[..., list[Record]]
SCENE = (
    "Where did you put the blue suitcase?",
    "Under the bed in the guest room.",
    "Oh.",
    "Nobody has looked there for years.",
)


def only(records: Sequence[Record]) -> Agreement:
    (agreement,) = find_agreement(as_turns([columns_of(records)], (*CORPORA, "own")))
    return agreement


def test_counts_shares_and_kappa(dialogue_of: DialogueOf) -> None:
    records = dialogue_of("meld/train/1", SCENE, ["anger", "neutral", "fear", "anger"])
    records += dialogue_of("emorynlp/test/1", SCENE, ["anger", "neutral", "powerful", "powerful"])
    found = only(records)
    assert (found.first, found.second) == ("meld", "emorynlp")
    assert (found.utterances, found.ambiguous) == (3, 0)
    assert found.counts == {
        "anger": {"anger": 1, "neutral": 0, "powerful": 1},
        "neutral": {"anger": 0, "neutral": 1, "powerful": 0},
    }
    assert found.shares == {
        "anger": {"anger": 1 / 2, "neutral": 0, "powerful": 1 / 2},
        "neutral": {"anger": 0, "neutral": 1, "powerful": 0},
    }
    assert found.observed == 2 / 3
    assert found.kappa == pytest.approx((2 / 3 - 3 / 9) / (1 - 3 / 9))


def test_data_of_a_users_own_is_compared_as_well(dialogue_of: DialogueOf) -> None:
    found = only(dialogue_of("iemocap/train/1", SCENE) + dialogue_of("own/test/1", SCENE))
    assert (found.first, found.second, found.utterances) == ("iemocap", "own", 3)


def test_the_same_sentence_elsewhere_is_not_the_same_utterance(dialogue_of: DialogueOf) -> None:
    records = dialogue_of("meld/train/1", SCENE)
    records += dialogue_of("meisd/train/1", [SCENE[0], SCENE[1], "Ah.", SCENE[3]])
    assert (only(records).utterances, only(records).ambiguous) == (0, 0)
    assert only(records).kappa is only(records).observed is None
    assert only(records).counts == {}


def test_a_scene_that_stands_twice_is_ambiguous(dialogue_of: DialogueOf) -> None:
    once, twice = dialogue_of("meld/train/1", SCENE), dialogue_of("meisd/train/1", SCENE)
    twice += dialogue_of("meisd/test/2", SCENE[:3])
    assert (only(once + twice).utterances, only(once + twice).ambiguous) == (1, 2)
    mirrored = [*dialogue_of("meisd/train/1", SCENE), *dialogue_of("meld/train/1", SCENE)]
    mirrored += dialogue_of("meld/test/2", SCENE[:3])
    assert (only(mirrored).utterances, only(mirrored).ambiguous) == (1, 4)


def test_kappa_is_not_defined_where_chance_always_agrees(dialogue_of: DialogueOf) -> None:
    found = only(dialogue_of("meld/train/1", SCENE) + dialogue_of("meisd/train/1", SCENE))
    assert found.observed == 1
    assert found.kappa is None


def test_every_two_corpora_have_a_row_and_none_agrees_with_itself(dialogue_of: DialogueOf) -> None:
    records = [
        one
        for corpus in ("meisd", "meld", "iemocap")
        for one in dialogue_of(f"{corpus}/train/1", SCENE) + dialogue_of(f"{corpus}/test/2", ["Hm."])
    ]
    rows = find_agreement(as_turns([columns_of(records)], (*CORPORA, "own")))
    assert [(row.first, row.second) for row in rows] == [
        ("meld", "meisd"),
        ("meld", "iemocap"),
        ("meisd", "iemocap"),
    ]
    assert find_agreement(as_turns([columns_of(dialogue_of("meld/train/1", SCENE))], CORPORA)) == []


@given(st.lists(st.tuples(st.sampled_from(LABELS[:4]), st.sampled_from(LABELS[:4])), min_size=1))
def test_kappa_is_that_of_scikit_learn(pairs: list[tuple[Label, Label]]) -> None:
    from sklearn.metrics import cohen_kappa_score

    kappa = cohen_kappa(pairs)
    if len({label for pair in pairs for label in pair}) == 1:
        assert kappa is None
    else:
        assert kappa == pytest.approx(cohen_kappa_score(*zip(*pairs, strict=True)))


def transcript(folder: Path, corpus: str) -> list[list[tuple[str, str]]]:
    """Every dialogue of a corpus as normalised texts and labels, straight from the Parquet."""
    columns = ["split", "dialogue_id", "utterance_index", "input", "output"]
    rows = pq.read_table(folder / "data" / corpus, columns=columns).to_pylist()
    rows.sort(key=lambda row: (row["split"], row["dialogue_id"], row["utterance_index"]))
    dialogues = []
    for _, turns in groupby(rows, key=lambda row: (row["split"], row["dialogue_id"])):
        texts = (
            (re.sub("[^a-z0-9]+", " ", re.sub("['’‘`]", "", one["input"].lower())).strip(), one["output"])
            for one in turns
        )
        dialogues.append([turn for turn in texts if turn[0]])
    return dialogues


def by_pairing(
    first: Sequence[Sequence[tuple[str, str]]], second: Sequence[Sequence[tuple[str, str]]]
) -> tuple[Counter[tuple[str, str]], int]:
    """Label pairs and ambiguous utterances, by laying every dialogue beside every other that could match."""
    holders: dict[str, set[int]] = {}
    for number, other in enumerate(second):
        for text, _ in other:
            holders.setdefault(text, set()).add(number)
    met: set[tuple[tuple[int, int], tuple[int, int]]] = set()
    for number, one in enumerate(first):
        for there in set().union(*(holders.get(text, ()) for text, _ in one if len(text.split()) >= 5)):
            other = second[there]
            for shift in range(-len(other), len(one)):
                run: list[tuple[tuple[int, int], tuple[int, int]]] = []
                for place in range(max(0, shift), len(one) + 1):
                    is_same = (
                        place < len(one)
                        and place - shift < len(other)
                        and one[place][0] == other[place - shift][0]
                    )
                    if is_same:
                        run.append(((number, place), (there, place - shift)))
                    else:
                        met.update(run if len(run) >= 3 else ())
                        run = []
    of_first, of_second = Counter(one for one, _ in met), Counter(other for _, other in met)
    telling = {one for one in of_first if len(first[one[0]][one[1]][0].split()) >= 5}
    clear = [(one, other) for one, other in met if one in telling and of_first[one] == of_second[other] == 1]
    labels = Counter((first[a][b][1], second[c][d][1]) for (a, b), (c, d) in clear)
    return labels, len(telling) - len(clear)


def compare(folder: Path, rows: Sequence[Agreement]) -> dict[tuple[str, str], int]:
    """Compares agreement with a count by pairing; gives the utterances compared of each two corpora."""
    transcripts = {name: transcript(folder, name) for row in rows for name in (row.first, row.second)}
    for row in rows:
        labels, ambiguous = by_pairing(transcripts[row.first], transcripts[row.second])
        counts = Counter(
            {(one, other): count for one, cells in row.counts.items() for other, count in cells.items()}
        )
        assert +counts == labels
        assert (row.utterances, row.ambiguous) == (labels.total(), ambiguous)
    return {(row.first, row.second): row.utterances for row in rows}


def test_the_demo_dataset_by_pairing(demo_dataset: StepResult[DatasetManifest]) -> None:
    compared = compare(demo_dataset.folder, audit_dataset(demo_dataset.folder).agreement)
    assert len(compared) == 10
    assert compared["meld", "emorynlp"] > 2


@pytest.mark.corpora
def test_the_real_corpora_of_one_series_by_pairing(
    paper_dataset: StepResult[DatasetManifest], paper_audit: Audit
) -> None:
    rows = [row for row in paper_audit.agreement if "dailydialog" not in (row.first, row.second)]
    assert [row.kappa is not None for row in rows] == [True] * 3
    assert min(compare(paper_dataset.folder, rows).values()) > 50
