"""The paper's tables of results in its own layout: reported figures, and below them measured ones."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from dialoguellm_release.claims.claims import FoundManifests, Scores, cells
from dialoguellm_release.claims.verdicts import EXACT, measured_score
from dialoguellm_release.corpora.registry import title_of
from dialoguellm_release.render import numbers
from dialoguellm_release.render.tables import Table
from dialoguellm_release.schemas.claims import PRINTED, PaperMetric, PrintedScores, Results
from dialoguellm_release.schemas.labels import CorpusName

Source = Literal["reported", "measured"]
Column = tuple[CorpusName, PaperMetric]
AVERAGE = "average"
HEADINGS: dict[PaperMetric, str] = {"accuracy": "Acc", "weighted_f1": "w-F1"}


@dataclass(frozen=True)
class Figure:
    """A figure in percent.

    Attributes:
        value: None where there is none.
        elsewhere: The figure of the other source; None where the two agree, or it has none.
    """

    value: float | None = None
    elsewhere: float | None = None


@dataclass(frozen=True)
class PaperRow:
    """A row: its names, whose figures they are, and the figures."""

    names: tuple[str, ...]
    source: Source
    figures: tuple[Figure, ...]


@dataclass(frozen=True)
class PaperTable:
    """A table of the paper.

    Attributes:
        elsewhere: The other source: the paper, where figures are computed from its own, or another table.
        note: What a reader needs to know.
    """

    title: str
    header: tuple[str, ...]
    rows: tuple[PaperRow, ...]
    elsewhere: str
    note: str

    def as_table(self) -> Table:
        """The table, to be written in any format; in brackets the figures of the other source that differ."""
        rows = [(*row.names, row.source, *(self._cell(one) for one in row.figures)) for row in self.rows]
        return Table(self.header, rows)

    def _repr_html_(self) -> str:
        return self.as_table().html()

    def _cell(self, figure: Figure) -> str:
        shown = numbers.decimal(figure.value)
        if figure.elsewhere is None:
            return shown
        return f"{shown} ({self.elsewhere}: {numbers.decimal(figure.elsewhere)})"


def results_table(results: Results, found: FoundManifests) -> PaperTable:
    """Accuracy and weighted F1 of every row on each corpus, with averages and improvements computed."""
    corpora = tuple(results.rows[results.own].corpora)
    columns = [(corpus, metric) for corpus in (*corpora, AVERAGE) for metric in results.metrics]
    rows: list[PaperRow] = []
    reported: dict[str, dict[Column, float]] = {}
    measured: dict[str, dict[Column, float]] = {}
    for name, row in results.rows.items():
        reported[name] = _with_averages(_figures(row.corpora), reported_in=row.corpora)
        rows.append(
            _row((name, row.size), "reported", columns, reported[name], _figures({AVERAGE: row.average}))
        )
        own = {
            (corpus, metric): value
            for corpus in corpora
            for metric in results.metrics
            if (value := measured_score(row.system, corpus, metric, found, results.prompt)[0]) is not None
        }
        if own:
            measured[name] = _with_averages(own, reported_in=row.corpora)
            rows.append(_row((name, row.size), "measured", columns, measured[name], {}))
    names = ("Improve", results.rows[results.own].size)
    if gains := _figures(results.improvements):
        rows.append(_row(names, "reported", columns, _improvement(results.own, reported, reported), gains))
    if results.own in measured:
        best_known = {name: {**values, **measured.get(name, {})} for name, values in reported.items()}
        gained = _improvement(results.own, measured, best_known)
        rows.append(_row(names, "measured", columns, gained, {}))
    headings = (f"{_title(corpus)} {HEADINGS[metric]}" for corpus, metric in columns)
    return PaperTable(
        title=f"Table {results.table}: comparison of methods, in percent",
        header=("Method", "Parameters", "Figures", *headings),
        rows=tuple(rows),
        elsewhere="paper",
        note="Averages and improvements are computed; other figures of the paper are in brackets.",
    )


def ablation_table(results: Results, found: FoundManifests) -> PaperTable:
    """Weighted F1 and accuracy with and without context and video descriptions."""
    metrics: tuple[PaperMetric, ...] = ("weighted_f1", "accuracy")
    rows: list[PaperRow] = []
    for corpus, systems in results.ablations.items():
        for name, scores in systems.items():
            is_own = name == results.own
            other = results.rows[name].corpora[corpus] if is_own else {}
            figures = tuple(_figure(scores.get(metric), other.get(metric)) for metric in metrics)
            rows.append(PaperRow((_title(corpus), name), "reported", figures))
            system = results.rows[name].system if is_own else results.ablated[name]
            values = [measured_score(system, corpus, metric, found, results.prompt)[0] for metric in metrics]
            if any(value is not None for value in values):
                rows.append(PaperRow((_title(corpus), name), "measured", tuple(map(Figure, values))))
    return PaperTable(
        title=f"Table {results.ablation_table}: ablations, in percent",
        header=("Dataset", "Model", "Figures", *(HEADINGS[metric] for metric in metrics)),
        rows=tuple(rows),
        elsewhere=f"Table {results.table}",
        note=results.ablation_note or "The headings are the paper's.",
    )


def _figures(printed: Scores) -> dict[Column, float]:
    """The printed figures by column."""
    return {(corpus, metric): value for corpus, metric, value in cells(printed)}


def _with_averages(
    values: Mapping[Column, float], reported_in: Mapping[CorpusName, PrintedScores]
) -> dict[Column, float]:
    """The figures and their mean over the corpora where the paper reports the metric.

    No mean where a corpus is missing, or of one corpus only.
    """
    complete = dict(values)
    for metric in HEADINGS:
        corpora = [corpus for corpus, scores in reported_in.items() if metric in scores]
        terms = [values[corpus, metric] for corpus in corpora if (corpus, metric) in values]
        if len(terms) == len(corpora) > 1:
            complete[AVERAGE, metric] = statistics.mean(terms)
    return complete


def _improvement(
    own: str, of: Mapping[str, Mapping[Column, float]], over: Mapping[str, Mapping[Column, float]]
) -> dict[Column, float]:
    """By how much a row is ahead of the best other one, column by column."""
    return {
        column: value
        - max(values[column] for name, values in over.items() if name != own and column in values)
        for column, value in of[own].items()
    }


def _row(
    names: tuple[str, ...],
    source: Source,
    columns: Sequence[Column],
    values: Mapping[Column, float],
    printed: Mapping[Column, float],
) -> PaperRow:
    figures = tuple(_figure(values.get(column), printed.get(column)) for column in columns)
    return PaperRow(names, source, figures)


def _figure(value: float | None, elsewhere: float | None) -> Figure:
    """A figure with what the paper prints of it elsewhere, where that differs by more than rounding."""
    differs = value is None or elsewhere is None or abs(value - elsewhere) > PRINTED + EXACT
    return Figure(value, elsewhere if differs else None)


def _title(corpus: CorpusName) -> str:
    return "Average" if corpus == AVERAGE else title_of(corpus)
