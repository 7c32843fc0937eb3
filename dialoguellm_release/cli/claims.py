"""The paper's claims and tables as text and as data."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from dialoguellm_release.render.tables import Format, Table

if TYPE_CHECKING:
    from dialoguellm_release.claims.tables import Figure, PaperTable
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


def claims_text(report: ClaimReport, form: Format) -> str:
    """Every claim with its verdict."""
    rows: list[tuple[str, ...]] = [("claim", "place", "says", "paper", "status", "by, or what is missing")]
    for name, claim in report.claims.items():
        verdict = report.verdicts[name]
        printed = "" if claim.value is None else _number(claim.value)
        others = "".join(f" or {_number(value)} ({place})" for place, value in claim.other_readings.items())
        rows.append((name, claim.place, claim.says, printed + others, verdict.status, verdict.by))
    return Table(rows[0], rows[1:]).written(form)


def counts_text(report: ClaimReport) -> str:
    """How many claims have each status."""
    return ", ".join(f"{count} {status}" for status, count in _counts(report).most_common())


def table_text(table: PaperTable, form: Format) -> str:
    """A table of the paper; what has to be known to read it is said elsewhere."""
    rows = [
        table.header,
        *(
            (*row.names, row.source, *(_figure(one, table.elsewhere) for one in row.figures))
            for row in table.rows
        ),
    ]
    return Table(rows[0], rows[1:]).written(form)


def _counts(report: ClaimReport) -> Counter[str]:
    return Counter(verdict.status for verdict in report.verdicts.values())


def _figure(figure: Figure, elsewhere: str) -> str:
    shown = "-" if figure.value is None else f"{figure.value:.2f}"
    return shown if figure.elsewhere is None else f"{shown} ({elsewhere}: {figure.elsewhere:.2f})"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) and abs(value) >= 100 else f"{value:g}"
