"""Scores: the report of a score folder, and its part of a model card."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import yaml

from dialoguellm_release.cards.card import render_card, table
from dialoguellm_release.render import numbers
from dialoguellm_release.schemas.calibration import Calibration
from dialoguellm_release.schemas.manifests import (
    CONFUSION_FIGURE,
    COVERAGE_FIGURE,
    RELIABILITY_FIGURE,
    ScoreManifest,
)
from dialoguellm_release.schemas.scores import (
    METRICS,
    PROBABILITY_METRICS,
    MetricName,
    Part,
    Probabilities,
    ProbabilityFigures,
    ScoreFigures,
)

TASK = "text-classification"
LABEL_SCORERS = ("first_token", "full_likelihood", "full_likelihood_per_token", "constrained_generation")
"""Scorers that choose among the labels, so that no answer is outside them."""


def score_table(scores: Sequence[ScoreFigures]) -> str:
    """Each run beside the answer that is always the commonest label; intervals in brackets."""
    metrics = list(dict.fromkeys(name for score in scores for name in score.metrics))
    rows = []
    for score in scores:
        protocol = score.protocol
        place, scorer = (protocol.corpus, protocol.split), protocol.scorer or "-"
        parts: dict[str, Part] = {"this adapter": score}
        if score.clean:
            parts["this adapter, clean part"] = score.clean
        for answer, part in parts.items():
            cells = [_cell(part, name) for name in metrics]
            rows.append((*place, numbers.count(part.records), answer, scorer, *cells))
        always = [f"{score.majority[name]:.4f}" if name in score.majority else "-" for name in metrics]
        rows.append((*place, numbers.count(score.records), f"always {score.majority_label}", "-", *always))
    header = ("Corpus", "Split", "Records", "Answer", "Scorer", *(f"`{name}`" for name in metrics))
    warnings = [
        f"**{score.protocol.corpus}, {score.protocol.split}**: {warning}."
        for score in scores
        for warning in score.warnings
    ]
    return "\n\n".join([table(header, rows), *warnings])


def model_index(
    scores: Sequence[ScoreFigures], model_name: str, dataset_id: str, dataset_name: str, revision: str | None
) -> object:
    """The key `model-index` of a model card.

    Args:
        revision: The dataset's commit; None where it is not known.
    """
    from huggingface_hub import EvalResult, ModelCardData

    results = [
        EvalResult(
            task_type=TASK,
            task_name="Emotion recognition in conversations",
            dataset_type=dataset_id,
            dataset_name=f"{dataset_name} ({score.protocol.corpus})",
            dataset_config=score.protocol.corpus,
            dataset_split=score.protocol.split,
            dataset_revision=revision,
            metric_type=METRICS[metric].hub_id or metric,
            metric_name=(METRICS[metric].title if METRICS[metric].hub_id else metric)
            + _interval(score, metric, ", interval "),
            metric_value=round(value, 6),
            metric_args=METRICS[metric].hub_arguments,
        )
        for score in scores
        for metric, value in score.metrics.items()
    ]
    data: dict[str, object] = ModelCardData(model_name=model_name, eval_results=results).to_dict()  # type: ignore[no-untyped-call]
    return data["model-index"]


def hub_metrics(scores: Sequence[ScoreFigures]) -> list[str]:
    """The key `metrics` of a model card."""
    metrics = [metric for score in scores for metric in score.metrics]
    return list(dict.fromkeys(METRICS[metric].hub_id or metric for metric in metrics))


def eval_results(scores: Sequence[ScoreFigures], dataset_id: str, revision: str | None) -> dict[str, str]:
    """The files of `.eval_results/` by path: the headline metric of each corpus on its test split.

    Why one: the Hub reads one value for a task, and a task is a config and a split (its `eval-results.md`).
    The other metrics are in `model-index` and in the card.

    Args:
        scores: In the order of the card; of several on one corpus the first counts.
        dataset_id: The dataset's repository.
        revision: Its commit; None where it is not known.
    """
    from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml

    files: dict[str, str] = {}
    for score in scores:
        corpus, split, metric = score.protocol.corpus, score.protocol.split, score.headline
        path = f".eval_results/{corpus}.yaml"
        if split != "test" or path in files:
            continue
        interval = _interval(score, metric, "; interval ")
        entry = EvalResultEntry(
            dataset_id=dataset_id,
            task_id=corpus,
            value=round(score.metrics[metric], 6),
            dataset_revision=revision,
            notes=f"{metric} of the split {split}, {numbers.count(score.records)} records{interval}",
        )
        files[path] = yaml.safe_dump(eval_result_entries_to_yaml([entry]), sort_keys=False, width=1_000)
    return files


def _cell(part: Part, metric: MetricName) -> str:
    return f"{part.metrics[metric]:.4f}{_interval(part, metric, ' ')}" if metric in part.metrics else "-"


def _interval(part: Part, metric: MetricName, before: str) -> str:
    if metric not in part.intervals:
        return ""
    return f"{before}{numbers.interval(part.intervals[metric])}"


MAX_LISTED = 100
"""More values than these, as the examples of a whole split, are counted and not named."""


def render_score_report(manifest: ScoreManifest) -> str:
    """The `README.md` of a score folder."""
    figures = manifest.figures
    drawn = {file.path for file in manifest.outputs}
    pictures = {"figure": CONFUSION_FIGURE, "reliability": RELIABILITY_FIGURE, "coverage": COVERAGE_FIGURE}
    body: dict[str, object] = {
        "figures": figures,
        "protocol": figures.protocol,
        "system": figures.system,
        "title": f"{figures.system.name} on {figures.protocol.corpus}, {figures.protocol.split} split",
        "warnings": figures.warnings,
        "level": f"{100 * figures.resampling.level:g} %",
        "resamples": numbers.count(figures.resampling.resamples),
        "metrics": _metrics_table(figures),
        "left_to_chance": numbers.count(figures.left_to_chance) if figures.left_to_chance else "",
        "per_label": _label_table(figures),
        "confusion": _confusion_table(figures),
        **{name: path if path in drawn else None for name, path in pictures.items()},
        "breakdown": {name: _parts_table(figures, parts) for name, parts in figures.breakdown.items()},
        "stamp": _stamp_table(figures.protocol.model_dump(mode="json")),
        "system_table": _stamp_table(figures.system.model_dump(mode="json")),
    }
    if figures.probabilities:
        body["bins"] = len(figures.probabilities.all.bins)
        body["probabilities"] = _probability_table(figures)
        body["selected"] = _selected_table(figures.calibrated or figures.probabilities)
    return render_card("model_cards", "score.md.jinja", {"tags": ["evaluation"]}, body)


def _metrics_table(figures: ScoreFigures) -> str:
    """Every metric of all records, of the clean ones where they are known, and of the commonest label."""
    parts: dict[str, Part] = {f"all {numbers.count(figures.records)} records": figures}
    if figures.clean:
        parts[f"{numbers.count(figures.clean.records)} records that share no text"] = figures.clean
    rows = [
        (
            METRICS[name].title.format(without=figures.without),
            *(_with_interval(part, name) for part in parts.values()),
            numbers.points(figures.majority[name]),
        )
        for name in METRICS
        if name in figures.metrics
    ]
    return table(("", *parts, f"always {figures.majority_label}"), rows)


def _probability_table(figures: ScoreFigures) -> str:
    """Each metric of the probabilities as they are and with the temperature, of all records and the clean."""
    views: dict[str, ProbabilityFigures] = {}
    for found in (figures.probabilities, figures.calibrated):
        if found:
            name = "as given" if found.temperature is None else f"temperature {found.temperature:.4f}"
            views[name] = found.all
            if found.clean:
                views[f"{name}, clean part"] = found.clean
    rows = [
        (
            title,
            *(f"{one.metrics[name]:.4f} {numbers.interval(one.intervals[name])}" for one in views.values()),
        )
        for name, title in PROBABILITY_METRICS.items()
    ]
    return table(("", *views), rows)


def _selected_table(found: Probabilities) -> str:
    shown: tuple[MetricName, ...] = ("accuracy", "weighted_f1")
    rows = [
        (
            numbers.percent(part.coverage, 0),
            numbers.decimal(part.min_probability, 4),
            numbers.count(part.records),
            *(_with_interval(part, name) for name in shown),
        )
        for part in found.selected
    ]
    header = ("Coverage", "Least probability", "Records", *(METRICS[name].title for name in shown))
    return table(header, rows)


def calibration_table(calibration: Calibration) -> str:
    """The temperature of an adapter, and the errors of its probabilities before and after, for its card."""
    records = f"{numbers.count(calibration.records)} records of {calibration.corpus}, {calibration.split}"
    header = (records, "As given", f"With temperature {calibration.temperature:.4f}")
    return table(
        header, [(name, *(f"{value:.4f}" for value in values)) for name, *values in calibration.errors]
    )


def _label_table(figures: ScoreFigures) -> str:
    rows = [
        (
            label,
            *map(numbers.points, (one.precision, one.recall, one.f1)),
            numbers.count(one.references),
            numbers.decimal(one.predictions, 0),
        )
        for label, one in figures.per_label.items()
    ]
    return table(("Label", "Precision", "Recall", "F1", "References", "Predictions"), rows)


def _confusion_table(figures: ScoreFigures) -> str:
    labelled = zip(figures.per_label, figures.confusion_matrix, strict=True)
    rows = [(label, *(numbers.decimal(count, 0) for count in counts)) for label, counts in labelled]
    return table(("Reference", *figures.per_label, "invalid"), rows)


def _parts_table(figures: ScoreFigures, parts: Mapping[str, Part]) -> str:
    shown: tuple[MetricName, ...] = tuple(dict.fromkeys(("accuracy", figures.headline)))
    titles = (METRICS[name].title.format(without=figures.without) for name in shown)
    rows = [
        (value, numbers.count(part.records), *(_with_interval(part, name) for name in shown))
        for value, part in parts.items()
    ]
    return table(("", "Records", *titles), rows)


def _stamp_table(stamp: Mapping[str, object]) -> str:
    return table(("Key", "Value"), [(f"`{name}`", _shown(value)) for name, value in stamp.items()])


def _shown(value: object) -> str:
    if isinstance(value, list) and len(value) > MAX_LISTED:
        return f"{numbers.count(len(value))} of them: see `scores.json`"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return "not applicable" if value is None else f"`{value}`"


def _with_interval(part: Part, name: MetricName) -> str:
    return f"{numbers.points(part.metrics[name])} ({numbers.points_range(part.intervals[name])})"
