"""The step that holds a paper's claims against what was built."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dialoguellm_release.recipes.catalogue import load_recipe
from dialoguellm_release.schemas.claims import Claim, ClaimsRecipe
from dialoguellm_release.step import BUILD

if TYPE_CHECKING:
    from dialoguellm_release.claims.tables import PaperTable
    from dialoguellm_release.claims.verdicts import Verdict

PAPER = "dialoguellm-2310.11374"


@dataclass(frozen=True)
class ClaimReport:
    """A paper's claims, what became of each, and its tables of results with what was measured.

    Attributes:
        claims: By id, as `verdicts`.
        tables: By the number that the paper gives them; empty where it has no results.
    """

    claims: Mapping[str, Claim]
    verdicts: Mapping[str, Verdict]
    tables: Mapping[str, PaperTable]


def check_claims(build: Path = BUILD, claims: str = PAPER) -> ClaimReport:
    """The claims of a paper, each reproduced, contradicted or not yet testable by the manifests in a folder.

    Args:
        build: Every manifest below it is evidence.
        claims: Name of a bundled claims recipe, or a path.

    Raises:
        DataError: There is no such folder, or a manifest in it is damaged.
    """
    from dialoguellm_release.claims.claims import all_claims
    from dialoguellm_release.claims.evidence import find_manifests
    from dialoguellm_release.claims.tables import table_3, table_4
    from dialoguellm_release.claims.verdicts import verdicts

    recipe = load_recipe(claims, "claims", ClaimsRecipe).recipe
    found = find_manifests(build)
    results = recipe.results
    tables = {"3": table_3(results, found), "4": table_4(results, found)} if results else {}
    return ClaimReport(all_claims(recipe), verdicts(recipe, found), tables)
