"""Scores: the report of a score folder, and its part of a model card."""

from __future__ import annotations

from collections.abc import Sequence

import yaml

from dialoguellm_release.cards.card import render_card
from dialoguellm_release.render import numbers
from dialoguellm_release.schemas.manifests import (
    CONFUSION_FIGURE,
    COVERAGE_FIGURE,
    RELIABILITY_FIGURE,
    ScoreManifest,
)
from dialoguellm_release.schemas.scores import METRICS, PROBABILITY_METRICS, MetricName, ScoreFigures

TASK = "text-classification"
LABEL_SCORERS = ("first_token", "full_likelihood", "full_likelihood_per_token", "constrained_generation")
"""Scorers that choose among the labels, so that no answer is outside them."""


def model_index(
    scores: Sequence[ScoreFigures], model_name: str, dataset_id: str, dataset_name: str, revision: str | None
) -> object:
    """The key `model-index` of a model card."""
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


def _interval(score: ScoreFigures, metric: MetricName, before: str) -> str:
    return f"{before}{numbers.interval(score.intervals[metric])}" if metric in score.intervals else ""


def render_score_report(manifest: ScoreManifest) -> str:
    """The `README.md` of a score folder."""
    body = {
        "figures": manifest.figures,
        "titles": {name: one.title.format(without=manifest.figures.without) for name, one in METRICS.items()},
        "error_titles": PROBABILITY_METRICS,
        "drawn": [file.path for file in manifest.outputs],
        "confusion": CONFUSION_FIGURE,
        "reliability": RELIABILITY_FIGURE,
        "coverage": COVERAGE_FIGURE,
    }
    return render_card("model_cards", "score.md.jinja", {"tags": ["evaluation"]}, body)
