from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialoguellm_release.dataset.reading import Drawable, apportion, draw_split, read_split, series_table
from dialoguellm_release.errors import DataError
from dialoguellm_release.schemas.recipes.dataset import SplitDraw

SIZES = {"train": 12, "validation": 3, "test": 5}


DIALOGUES = [Drawable(str(number), "AB"[number % 3 == 0], utterances=5) for number in range(24)]


def draw(seed: int = 1, **sizes: int) -> SplitDraw:
    return SplitDraw(seed=seed, dialogues=SIZES | sizes)  # type: ignore[arg-type]


def test_the_draw_has_the_sizes_and_the_strata_of_the_recipe() -> None:
    assigned = draw_split(DIALOGUES, draw(), lambda _: True)
    assert Counter(assigned.values()) == SIZES
    assert series_table(DIALOGUES, assigned) == {
        "A": {"test": 3, "train": 8, "unused": 3, "validation": 2},
        "B": {"test": 2, "train": 4, "unused": 1, "validation": 1},
    }


def test_the_draw_is_the_seeds_and_not_the_orders() -> None:
    first = draw_split(DIALOGUES, draw(), lambda _: True)
    assert draw_split(DIALOGUES[::-1], draw(), lambda _: True) == first
    assert draw_split(DIALOGUES, draw(seed=2), lambda _: True) != first


def test_barred_dialogues_are_never_held_out() -> None:
    barred = {one.id for one in DIALOGUES if one.series == "B"}
    assigned = draw_split(DIALOGUES, draw(), lambda one: one.id not in barred)
    assert Counter(assigned.values()) == SIZES
    assert {assigned.get(one) for one in barred} <= {"train", None}


def test_barring_one_more_moves_few() -> None:
    first = draw_split(DIALOGUES, draw(), lambda _: True)
    held_out = next(one for one, split in first.items() if split == "test")
    second = draw_split(DIALOGUES, draw(), lambda one: one.id != held_out)
    assert len({one.id for one in DIALOGUES if first.get(one.id) != second.get(one.id)}) <= 4


def test_too_few_dialogues_are_told() -> None:
    with pytest.raises(DataError, match="split.dialogues.test: there are too few") as caught:
        draw_split(DIALOGUES, draw(), lambda one: one.id in ("1", "2"))
    assert (caught.value.problems[0].code, caught.value.problems[0].expected) == (
        "dataset.too_few_dialogues",
        "5",
    )
    with pytest.raises(DataError, match="split.dialogues.train"):
        draw_split(DIALOGUES, draw(train=30), lambda _: True)


@given(
    st.integers(0, 200),
    st.dictionaries(
        st.text(min_size=1), st.tuples(st.integers(1, 50), st.integers(0, 50)), min_size=1, max_size=6
    ),
)
def test_shares_add_up_and_keep_their_caps(total: int, strata: dict[str, tuple[int, int]]) -> None:
    weights = {name: weight for name, (weight, _) in strata.items()}
    caps = {name: cap for name, (_, cap) in strata.items()}
    shares = apportion(total, weights, caps)
    assert sum(shares.values()) == min(total, sum(caps.values()))
    assert all(0 <= shares[name] <= caps[name] for name in strata)


@given(st.integers(0, 50), st.lists(st.integers(1, 50), min_size=1, max_size=6))
def test_uncapped_shares_are_within_one_of_proportion(total: int, sizes: list[int]) -> None:
    weights = {str(number): size for number, size in enumerate(sizes)}
    for name, share in apportion(total, weights, dict.fromkeys(weights, total)).items():
        assert abs(share - total * weights[name] / sum(sizes)) < 1


def split_file(folder: Path, text: str) -> Path:
    path = folder / "split.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_split_file_is_read(tmp_path: Path) -> None:
    path = split_file(tmp_path, "dialogue_id,split\n1,train\n2,test\n")
    assert read_split(path, DIALOGUES) == {"1": "train", "2": "test"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("id,split\n1,train\n", "split.csv:1: no column dialogue_id"),
        ("dialogue_id,split\n1,dev\n", "split.csv:2: not a split"),
        ("dialogue_id,split\n1,train\n1,test\n", "split.csv:3: names dialogue 1 a second time"),
        ("dialogue_id,split\n99,train\n", "split.csv:2: the corpus has no dialogue 99"),
    ],
)
def test_a_wrong_split_file_is_told(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(DataError) as caught:
        read_split(split_file(tmp_path, text), DIALOGUES)
    assert said in str(caught.value)


def test_a_missing_split_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="none.csv: no such file"):
        read_split(tmp_path / "none.csv", DIALOGUES)
