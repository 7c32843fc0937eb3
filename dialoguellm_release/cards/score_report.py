"""The report of a score folder, from its manifest."""

from __future__ import annotations

from collections.abc import Mapping

from dialoguellm_release.cards.markdown import render_card, table
from dialoguellm_release.render import numbers
from dialoguellm_release.schemas.manifests import ScoreManifest
from dialoguellm_release.schemas.scores import MetricName, Part, ScoreFigures

MAX_LISTED = 100
"""More values than these, as the examples of a whole split, are counted and not named."""

METRICS: dict[MetricName, str] = {
    "accuracy": "Accuracy",
    "weighted_f1": "Weighted F1",
    "macro_f1": "Macro F1",
    "micro_f1": "Micro F1",
    "micro_f1_without": "Micro F1 without {without}",
    "invalid": "Invalid answers",
}


def render_score_report(manifest: ScoreManifest, figure: str | None) -> str:
    """The `README.md` of a score folder.

    Args:
        figure: The heat map of the confusion matrix, relative to the folder; None where there is none.
    """
    figures = manifest.figures
    body: dict[str, object] = {
        "figures": figures,
        "protocol": figures.protocol,
        "system": figures.system,
        "title": f"{figures.system.name} on {figures.protocol.corpus}, {figures.protocol.split} split",
        "level": f"{100 * figures.resampling.level:g} %",
        "resamples": numbers.count(figures.resampling.resamples),
        "metrics": _metrics_table(figures),
        "left_to_chance": numbers.count(figures.left_to_chance) if figures.left_to_chance else "",
        "per_label": _label_table(figures),
        "confusion": _confusion_table(figures),
        "figure": figure,
        "breakdown": {name: _parts_table(figures, parts) for name, parts in figures.breakdown.items()},
        "stamp": _stamp_table(figures.protocol.model_dump(mode="json")),
        "system_table": _stamp_table(figures.system.model_dump(mode="json")),
    }
    return render_card("model_cards", "score.md.jinja", {"tags": ["evaluation"]}, body)


def _metrics_table(figures: ScoreFigures) -> str:
    """Every metric of all records, of the clean ones where they are known, and of the commonest label."""
    parts = {f"all {numbers.count(figures.records)} records": figures}
    clean = (
        {f"{numbers.count(figures.clean.records)} records that share no text": figures.clean}
        if figures.clean
        else {}
    )
    header = ("", *parts, *clean, f"always {figures.majority_label}")
    rows = [
        (
            METRICS[name].format(without=figures.without),
            *(_with_interval(part, name) for part in [*parts.values(), *clean.values()]),
            _percent(figures.majority[name]),
        )
        for name in METRICS
        if name in figures.metrics
    ]
    return table(header, rows)


def _label_table(figures: ScoreFigures) -> str:
    return table(
        ("Label", "Precision", "Recall", "F1", "References", "Predictions"),
        [
            (
                label,
                _percent(one.precision),
                _percent(one.recall),
                _percent(one.f1),
                numbers.count(one.references),
                f"{one.predictions:,.0f}",
            )
            for label, one in figures.per_label.items()
        ],
    )


def _confusion_table(figures: ScoreFigures) -> str:
    labels = list(figures.per_label)
    rows = [
        (label, *(f"{count:,.0f}" for count in counts))
        for label, counts in zip(labels, figures.confusion_matrix, strict=True)
    ]
    return table(("Reference", *labels, "invalid"), rows)


def _parts_table(figures: ScoreFigures, parts: Mapping[str, Part]) -> str:
    shown: tuple[MetricName, ...] = tuple(dict.fromkeys(("accuracy", figures.headline)))
    return table(
        ("", "Records", *(METRICS[name].format(without=figures.without) for name in shown)),
        [
            (value, numbers.count(part.records), *(_with_interval(part, name) for name in shown))
            for value, part in parts.items()
        ],
    )


def _stamp_table(stamp: Mapping[str, object]) -> str:
    return table(("Key", "Value"), [(f"`{name}`", _shown(value)) for name, value in stamp.items()])


def _shown(value: object) -> str:
    if isinstance(value, list) and len(value) > MAX_LISTED:
        return f"{numbers.count(len(value))} of them: see `scores.json`"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return "not applicable" if value is None else f"`{value}`"


def _with_interval(part: Part, name: MetricName) -> str:
    low, high = part.intervals[name]
    return f"{_percent(part.metrics[name])} ({_percent(low)} to {_percent(high)})"


def _percent(value: float) -> str:
    return f"{100 * value:.2f}"
