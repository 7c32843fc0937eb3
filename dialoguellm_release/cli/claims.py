"""The paper's claims and tables as text and as data."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from dialoguellm_release.render import numbers
from dialoguellm_release.render.tables import Column, Format, Table

if TYPE_CHECKING:
    from dialoguellm_release.steps.claims import ClaimReport


def summary(report: ClaimReport) -> dict[str, Any]:
    """Every claim with its verdict, and the paper's tables, as data."""
    return {
        "counts": dict(_counts(report)),
        "claims": [
            {"id": name, **claim.model_dump(mode="json"), **asdict(report.verdicts[name])}
            for name, claim in report.claims.items()
        ],
        "tables": {number: asdict(table) for number, table in report.tables.items()},
    }


def claims_text(report: ClaimReport, form: Format, status: str | None) -> str:
    """Claims with their verdicts.

    Args:
        status: Of the claims to list, or `all`; None counts them by place on a terminal, and lists all in a
            file format.
    """
    if status is None and form == "text":
        return _by_place(report).text() + "\n--status STATUS or --all lists the claims."
    wanted = None if status in (None, "all") else status
    table = report.as_table(wanted)
    if form == "text":
        table = Table(
            ("claim", "paper", "status", "measured, or what is missing"),
            [(row[0], row[3], row[4], row[5]) for row in table.rows],
        )
    return table.written(form)


def _by_place(report: ClaimReport) -> Table:
    """How many claims of each place have each status."""
    counts: dict[str, Counter[str]] = {}
    for name, claim in report.claims.items():
        counts.setdefault(claim.place, Counter())[report.verdicts[name].status] += 1
    statuses = ("reproduced", "contradicted", "not yet testable")
    rows = [(place, *(numbers.count(one[status]) for status in statuses)) for place, one in counts.items()]
    return Table(("place in the paper", *(Column(status, "right") for status in statuses)), rows)


def counts_text(report: ClaimReport) -> str:
    """How many claims have each status."""
    return ", ".join(f"{count} {status}" for status, count in _counts(report).most_common())


def _counts(report: ClaimReport) -> Counter[str]:
    return Counter(verdict.status for verdict in report.verdicts.values())
