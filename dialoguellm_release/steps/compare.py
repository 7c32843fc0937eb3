"""The steps that set score folders side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dialoguellm_release.schemas.scores import MetricName

if TYPE_CHECKING:
    from dialoguellm_release.scoring.compare import Comparison
    from dialoguellm_release.scoring.table import ScoreTable


def compare_scores(first: Path, second: Path) -> Comparison:
    """How a second score folder differs from a first, with paired tests.

    Raises:
        DataError: They scored other records.
    """
    from dialoguellm_release.scoring import compare

    return compare.compare_scores(first, second)


def score_table(
    folders: Sequence[Path], metric: MetricName | None = None, *, mixed: bool = False
) -> ScoreTable:
    """Score folders side by side: a row a system (its seeds averaged), a column a corpus.

    Args:
        metric: To show; None shows the headline of each corpus.
        mixed: Set scores of unlike protocols in one column all the same, and mark them.

    Raises:
        DataError: Two scores of one column are not of the same protocol.
    """
    from dialoguellm_release.scoring import table

    return table.table_of(folders, metric, mixed=mixed)
