"""The steps that compare what was made: scores with each other, and a paper's claims with all of it."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dialoguellm_release.claims.claims import Status as Status
from dialoguellm_release.claims.claims import Verdict, all_claims, find_manifests
from dialoguellm_release.claims.tables import PaperTable, ablation_table, results_table
from dialoguellm_release.claims.verdicts import verdicts
from dialoguellm_release.recipes.catalogue import load_recipe
from dialoguellm_release.recipes.load import bundled
from dialoguellm_release.render.tables import Table
from dialoguellm_release.schemas.claims import Claim, ClaimsRecipe
from dialoguellm_release.scoring.table import Comparison as Comparison
from dialoguellm_release.scoring.table import ScoreTable as ScoreTable
from dialoguellm_release.scoring.table import compare_scores as compare_scores
from dialoguellm_release.scoring.table import score_table as score_table
from dialoguellm_release.step import BUILD, StrPath

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, repr=False)
class ClaimReport:
    """A paper's claims, what became of each, and its tables of results with what was measured.

    Attributes:
        claims: By id, as `verdicts`.
        tables: By the number that the paper gives them; empty where it has no results.
    """

    claims: Mapping[str, Claim]
    verdicts: Mapping[str, Verdict]
    tables: Mapping[str, PaperTable]

    @property
    def counts(self) -> Counter[Status]:
        """How many claims have each status."""
        return Counter(verdict.status for verdict in self.verdicts.values())

    def __repr__(self) -> str:
        counts = self.counts.most_common()
        return f"ClaimReport({', '.join(f'{count} {status}' for status, count in counts)})"

    def _repr_html_(self) -> str:
        return self.as_table().html()

    def as_table(self, status: str | None = None) -> Table:
        """The claims of a status, or all, with their verdicts, to be written in any format."""
        rows = []
        for name, claim in self.claims.items():
            verdict = self.verdicts[name]
            printed = "" if claim.value is None else figure_text(claim.value)
            others = (f" or {figure_text(value)} ({place})" for place, value in claim.other_readings.items())
            if status in (None, verdict.status):
                texts = (claim.place, claim.says, printed + "".join(others), verdict.status, verdict.by)
                rows.append((name, *texts))
        return Table(("claim", "place", "says", "paper", "status", "by, or what is missing"), rows)

    def to_pandas(self) -> pd.DataFrame:
        """A data frame with a row for each claim."""
        import pandas as pd

        rows = (
            {"claim": name, "place": claim.place, "says": claim.says, "value": claim.value}
            | asdict(self.verdicts[name])
            for name, claim in self.claims.items()
        )
        return pd.DataFrame.from_records(list(rows))


def figure_text(value: float) -> str:
    """A figure of the paper; whole numbers from 100 on with separators.

    >>> figure_text(13517.0), figure_text(0.0003)
    ('13,517', '0.0003')
    """
    return f"{value:,.0f}" if value == int(value) and abs(value) >= 100 else f"{value:g}"


def papers() -> list[str]:
    """The names of the bundled claims recipes."""
    return [name.partition("/")[2] for name in bundled() if name.startswith("claims/")]


def check_claims(build: StrPath = BUILD, claims: StrPath | None = None) -> ClaimReport:
    """Compares the claims of a paper with the manifests in a folder.

    Args:
        build: Every manifest below it is evidence.
        claims: Name of a bundled claims recipe, or a path; None takes the first bundled one.

    Returns:
        Each claim as reproduced, contradicted or not yet testable, or whether its direction holds on the
        backbone that was scored; and the paper's tables.

    Raises:
        DataError: There is no such folder, or a manifest in it is damaged.

    Example:
        >>> check_claims("build")  # doctest: +SKIP
        ClaimReport(41 not yet testable, 12 reproduced, 7 contradicted)
    """
    recipe = load_recipe(os.fspath(claims or papers()[0]), "claims", ClaimsRecipe).recipe
    found = find_manifests(Path(build))
    tables: dict[str, PaperTable] = {}
    if results := recipe.results:
        tables[results.table] = results_table(results, found)
        if results.ablation_table is not None:
            tables[results.ablation_table] = ablation_table(results, found)
    return ClaimReport(all_claims(recipe), verdicts(recipe, found), tables)
