"""A split for a corpus that has none: the official one from a file, else a seeded draw by strata."""

from __future__ import annotations

import csv
import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple, cast

from pydantic import JsonValue

from dialoguellm_release.errors import DataError, Problem
from dialoguellm_release.schemas.labels import SPLITS, Split
from dialoguellm_release.schemas.recipes.dataset import SplitDraw

SPLIT_COLUMNS = ("dialogue_id", "split")


class Drawable(NamedTuple):
    """A dialogue whose split is still to be drawn.

    Attributes:
        series: The stratum of the draw; None where the corpus has none.
        utterances: How many it has.
    """

    id: str
    series: str | None
    utterances: int


def read_split(path: Path, dialogues: Sequence[Drawable]) -> dict[str, Split]:
    """The split of each dialogue that a CSV with the columns `dialogue_id,split` names.

    Raises:
        DataError: The file cannot be read, or names a dialogue twice, an unknown one, or no split.
    """
    known = {dialogue.id for dialogue in dialogues}
    assigned: dict[str, Split] = {}
    problems: list[Problem] = []
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = csv.DictReader(file)
            if tuple(rows.fieldnames or ()) != SPLIT_COLUMNS:
                raise DataError(
                    Problem(
                        f"{path}:1",
                        "not a split file",
                        ",".join(SPLIT_COLUMNS),
                        ",".join(rows.fieldnames or ()),
                        code="dataset.not_a_split_file",
                    )
                )
            for row in rows:
                where, dialogue_id, split = f"{path}:{rows.line_num}", row["dialogue_id"], row["split"]
                if dialogue_id not in known:
                    what, code = f"the corpus has no dialogue {dialogue_id}", "dataset.unknown_dialogue"
                    problems.append(Problem(where, what, code=code))
                elif dialogue_id in assigned:
                    what, code = f"names dialogue {dialogue_id} a second time", "dataset.duplicate_dialogue"
                    problems.append(Problem(where, what, code=code))
                elif split not in SPLITS:
                    expected, code = ", ".join(SPLITS), "dataset.unknown_split"
                    problems.append(Problem(where, "not a split", expected, str(split), code=code))
                else:
                    assigned[dialogue_id] = cast(Split, split)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(
            Problem(str(path), f"cannot be read: {error}", code="dataset.split_file_unreadable")
        ) from error
    if problems:
        raise DataError(problems)
    return assigned


def draw_split(
    dialogues: Sequence[Drawable], draw: SplitDraw, may_be_held_out: Callable[[Drawable], bool]
) -> dict[str, Split]:
    """The drawn split of each dialogue; one that is left over is not in the result.

    Every series gives to every split in proportion to its size, as far as it has dialogues that may be
    held out. Within a series the order is that of a seeded hash of the id, so a dialogue more or less
    moves few others.

    Args:
        may_be_held_out: Whether a dialogue may be in validation or test.

    Raises:
        DataError: There are too few dialogues.
    """
    by_series: defaultdict[str, list[Drawable]] = defaultdict(list)
    for dialogue in sorted(dialogues, key=lambda dialogue: _lot(draw.seed, dialogue.id)):
        by_series[dialogue.series or ""].append(dialogue)
    weights = {series: len(members) for series, members in sorted(by_series.items())}
    eligible = {series: [one.id for one in by_series[series] if may_be_held_out(one)] for series in weights}
    assigned: dict[str, Split] = {}
    for split in ("test", "validation"):
        shares = _shares(split, draw, weights, {series: len(eligible[series]) for series in weights})
        for series, share in shares.items():
            assigned |= dict.fromkeys(eligible[series][:share], split)
            del eligible[series][:share]
    rest = {series: [one.id for one in by_series[series] if one.id not in assigned] for series in weights}
    shares = _shares("train", draw, weights, {series: len(rest[series]) for series in weights})
    for series, share in shares.items():
        assigned |= dict.fromkeys(rest[series][:share], "train")
    return assigned


def apportion(total: int, weights: Mapping[str, int], caps: Mapping[str, int]) -> dict[str, int]:
    """Whole shares of a total in proportion to weights, by largest remainder, none above its cap.

    What a capped one cannot take is shared among the others in the same way. The sum is `total` where the
    caps allow it, else the sum of the caps.

    >>> apportion(10, {"a": 5, "b": 3, "c": 2}, {"a": 9, "b": 1, "c": 9})
    {'a': 6, 'b': 1, 'c': 3}
    """
    shares = dict.fromkeys(weights, 0)
    while left := min(total, sum(caps.values())) - sum(shares.values()):
        open_weights = {name: weight for name, weight in weights.items() if shares[name] < caps[name]}
        whole = sum(open_weights.values())
        exact = {name: Fraction(left * weight, whole) for name, weight in open_weights.items()}
        given = {name: int(share) for name, share in exact.items()}
        by_remainder = sorted(exact, key=lambda name: (given[name] - exact[name], name))
        for name in by_remainder[: left - sum(given.values())]:
            given[name] += 1
        for name, share in given.items():
            shares[name] = min(caps[name], shares[name] + share)
    return shares


def series_table(dialogues: Sequence[Drawable], assigned: Mapping[str, Split]) -> dict[str, JsonValue]:
    """Dialogues per series and split, `unused` among them."""
    table: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for dialogue in dialogues:
        table[dialogue.series or ""][assigned.get(dialogue.id, "unused")] += 1
    return {series: dict(sorted(counts.items())) for series, counts in sorted(table.items())}


def _shares(
    split: Split, draw: SplitDraw, weights: Mapping[str, int], caps: Mapping[str, int]
) -> dict[str, int]:
    wanted = draw.dialogues[split]
    if sum(caps.values()) < wanted:
        raise DataError(
            Problem(
                f"split.dialogues.{split}",
                "there are too few dialogues to draw from",
                expected=str(wanted),
                got=f"{sum(caps.values())} that may be in it",
                fix="ask for fewer in the dataset recipe",
                code="dataset.too_few_dialogues",
            )
        )
    return apportion(wanted, weights, caps)


def _lot(seed: int, dialogue_id: str) -> bytes:
    return hashlib.sha256(f"{seed}/{dialogue_id}".encode()).digest()
