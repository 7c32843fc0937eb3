"""Scores, comparisons, tables and the claims of a paper, as text and as data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from textwrap import fill
from typing import TYPE_CHECKING, Any

from dialoguellm_release import steps
from dialoguellm_release.render import numbers
from dialoguellm_release.render.tables import Column, Format, Table, terminal_width

if TYPE_CHECKING:
    from dialoguellm_release.schemas.manifests import Calibration, ScoreManifest
    from dialoguellm_release.schemas.scores import Part, ScoreFigures, ScorerName

    Scored = Mapping[ScorerName, steps.score.StepResult[ScoreManifest]]
    Against = Mapping[ScorerName, steps.compare.Comparison]

MAX_LISTED = 100


def summary(manifest: ScoreManifest) -> dict[str, Any]:
    """The metrics, their intervals and what they were taken on, as data."""
    figures = manifest.figures.model_dump(mode="json")
    return {"content_sha256": manifest.content_sha256, **figures.pop("metrics"), **figures}


def as_text(manifest: ScoreManifest) -> str:
    """The metrics as a table, in percent, with intervals, beside those of the commonest label."""
    figures = manifest.figures
    parts: dict[str, Part] = {"all": figures, **({"clean part": figures.clean} if figures.clean else {})}
    header = ("", *parts, f"always {figures.majority_label}")
    rows = []
    for name in figures.metrics:
        cells = (
            f"{numbers.points(part.metrics[name])} ({numbers.points_range(part.intervals[name])})"
            for part in parts.values()
        )
        rows.append((name, *cells, numbers.points(figures.majority[name])))
    protocol = figures.protocol
    wrapped = partial(
        fill, width=terminal_width(), initial_indent="  ", subsequent_indent="    ", break_long_words=False
    )
    notes = [
        f"{figures.records:,} records of {protocol.corpus}/{protocol.split}, in percent, "
        f"with {100 * figures.resampling.level:g} % intervals; headline {figures.headline}",
        *(f"warning: {one}" for one in figures.warnings),
        Table(header, rows).text(),
        "protocol",
        *(
            wrapped(f"{name} {numbers.abbreviated(value, MAX_LISTED)}")
            for name, value in protocol
            if value not in (None, ())
        ),
    ]
    if figures.served is not None and figures.served.label_mass is not None:
        mass, without = figures.served.label_mass, figures.served.without_label
        notes.append(
            f"labels have {numbers.percent(mass)} of the first tokens; "
            f"{numbers.percent(without)} of the records have none"
        )
    if figures.probabilities:
        notes.append(_probability_table(figures).text())
    if figures.left_to_chance:
        notes.append(f"expected values: {figures.left_to_chance:,} answers are left to chance")
    if figures.clean is None:
        notes.append("the dataset was not audited for leaks: figures of its clean part are unknown")
    return "\n".join(notes)


def _probability_table(figures: ScoreFigures) -> Table:
    """The errors of the probabilities as they are given and with a temperature."""
    from dialoguellm_release.schemas.scores import PROBABILITY_METRICS

    rows = [
        (
            "as given" if found.temperature is None else f"temperature {found.temperature:.4f}",
            *(
                f"{found.all.metrics[one]:.4f} {numbers.interval(found.all.intervals[one])}"
                for one in PROBABILITY_METRICS
            ),
        )
        for found in (figures.probabilities, figures.calibrated)
        if found
    ]
    return Table(("probabilities", *PROBABILITY_METRICS.values()), rows)


def calibration_text(found: Calibration) -> str:
    """A temperature, and the errors of the probabilities without and with it."""
    rows = [(name, *(f"{value:.4f}" for value in values)) for name, *values in found.errors]
    origin = f"{found.records:,} records of {found.corpus}/{found.split}, scorer {found.scorer}"
    table = Table(("", "as given", "with it"), rows).text()
    return f"temperature {found.temperature:.4f}, fitted on {origin}\n{table}"


def against_first(made: Scored) -> Against:
    """Each scorer but the first beside the first."""
    first, *others = made
    return {name: steps.compare.compare_scores(made[first].folder, made[name].folder) for name in others}


def scorers_summary(made: Scored, against: Against) -> dict[str, Any]:
    """The scores of several scorers, and how far each is from the first, as data."""
    return {
        "scorers": {name: summary(one.manifest) for name, one in made.items()},
        "against": next(iter(made)),
        "comparisons": {name: comparison_summary(one) for name, one in against.items()},
    }


def scorers_text(made: Scored, against: Against) -> Table:
    """How many points each scorer is worth, in percent, beside the first."""
    first = next(iter(made))
    headline = made[first].manifest.figures.headline
    header = ("scorer", "accuracy", headline, "invalid", f"{headline}: points over {first}", "p")
    rows = []
    for name, one in made.items():
        metrics = one.manifest.figures.metrics
        cells = tuple(numbers.points(metrics[one]) for one in ("accuracy", headline, "invalid"))
        if name in against:
            difference = against[name].differences[headline]
            points = f"{100 * difference.value:+.2f} ({numbers.points_range(difference.interval)})"
            rows.append((name, *cells, points, f"{difference.p_value:.4f}"))
        else:
            rows.append((name, *cells, "", ""))
    return Table(header, rows)


def comparison_summary(found: steps.compare.Comparison) -> dict[str, Any]:
    """Two runs beside each other, as data."""
    return {
        "first": found.first.system.model_dump(mode="json"),
        "second": found.second.system.model_dump(mode="json"),
        "records": found.first.records,
        "differences": {name: asdict(one) for name, one in found.differences.items()},
        "only_first_right": found.only_first,
        "only_second_right": found.only_second,
        "mcnemar_p": found.mcnemar_p,
    }


def comparison_text(found: steps.compare.Comparison, first: str, second: str) -> str:
    """Two runs beside each other, in percent."""
    runs = f"first: {first}\nsecond: {second}\n{numbers.count(found.first.records)} records"
    warnings = dict.fromkeys([*found.first.warnings, *found.second.warnings])
    if found.mcnemar_p is None:
        test = "no McNemar test: a run leaves answers to chance"
    else:
        test = (
            f"only the first is right: {found.only_first:,}; only the second: {found.only_second:,}; "
            f"McNemar's exact p {found.mcnemar_p:.4g}"
        )
    return "\n".join([runs, *(f"warning: {one}" for one in warnings), found.as_table().text(), test])


def table_summary(found: steps.compare.ScoreTable) -> dict[str, Any]:
    """A table of scores as data."""
    return {
        "rows": [
            {
                "system": asdict(row),
                "scores": [
                    {**asdict(column), **asdict(found.cells[row, column])}
                    for column in found.columns
                    if (row, column) in found.cells
                ],
            }
            for row in found.rows
        ],
        "marks": found.marks,
    }


def claims_summary(report: steps.compare.ClaimReport) -> dict[str, Any]:
    """Every claim with its verdict, and the paper's tables, as data."""
    return {
        "counts": dict(report.counts),
        "claims": [
            {"id": name, **claim.model_dump(mode="json"), **asdict(report.verdicts[name])}
            for name, claim in report.claims.items()
        ],
        "tables": {number: asdict(table) for number, table in report.tables.items()},
    }


def claims_text(report: steps.compare.ClaimReport, form: Format, status: str | None) -> str:
    """Claims of a status, or `all`; without one they are counted by place, or listed in a file format."""
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


def _by_place(report: steps.compare.ClaimReport) -> Table:
    """How many claims of each place have each status."""
    counts: dict[str, Counter[str]] = {}
    for name, claim in report.claims.items():
        counts.setdefault(claim.place, Counter())[report.verdicts[name].status] += 1
    always = ("reproduced", "contradicted", "not yet testable")
    statuses = dict.fromkeys((*always, *report.counts))
    rows = [(place, *(numbers.count(one[status]) for status in statuses)) for place, one in counts.items()]
    return Table(("place in the paper", *(Column(status, "right") for status in statuses)), rows)
