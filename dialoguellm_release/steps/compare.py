"""The steps that set score folders side by side."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from dialoguellm_release.errors import one_of
from dialoguellm_release.schemas.scores import METRICS, MetricName

if TYPE_CHECKING:
    from dialoguellm_release.scoring.compare import Comparison as Comparison
    from dialoguellm_release.scoring.table import ScoreTable as ScoreTable


def compare_scores(first: str | PathLike[str], second: str | PathLike[str]) -> Comparison:
    """How a second score folder differs from a first, with paired tests.

    Args:
        first: A score folder.
        second: Another one, of the same records.

    Returns:
        The difference of each metric with its interval and p-value, and McNemar's test.

    Raises:
        DataError: A folder holds no score, its files changed, or the two scored other records.

    Example:
        >>> found = compare_scores("build/scores/meld-tfidf", "build/scores/meld-tiny")  # doctest: +SKIP
        >>> found.differences["weighted_f1"].p_value  # doctest: +SKIP
        0.0123
    """
    from dialoguellm_release.scoring import compare

    return compare.compare_scores(Path(first), Path(second))


def score_table(folders: Sequence[str | PathLike[str]], metric: MetricName | None = None) -> ScoreTable:
    """Score folders side by side: a row for each system (its seeds averaged), a column for each corpus.

    Scores whose protocol differs from that of their column, and scores of some records only, are marked.

    Args:
        folders: Score folders.
        metric: To show; None for the headline of each corpus.

    Returns:
        The table; `to_pandas()` gives it as a data frame.

    Raises:
        DataError: A folder holds no score, two hold the same, or one was not scored by the metric.

    Example:
        >>> table = score_table(["build/scores/meld-majority", "build/scores/meld-tiny"])  # doctest: +SKIP
    """
    from dialoguellm_release.scoring import table

    known = None if metric is None else one_of("metric", metric, METRICS)
    return table.table_of([Path(one) for one in folders], known)
