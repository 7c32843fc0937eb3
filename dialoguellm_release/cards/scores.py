"""Scoring runs in the card of a model: as a table, in the metadata, and as files of `.eval_results/`."""

from __future__ import annotations

from collections.abc import Sequence

import yaml

from dialoguellm_release.cards.markdown import table
from dialoguellm_release.render import numbers
from dialoguellm_release.schemas.scores import MetricName, Part, ScoreFigures

TASK = "text-classification"
LABEL_SCORERS = ("first_token", "full_likelihood", "full_likelihood_per_token", "constrained_generation")
"""Scorers that choose among the labels, so that no answer is outside them."""

_HUB_METRICS: dict[MetricName, tuple[str, str, dict[str, str] | None]] = {
    "accuracy": ("accuracy", "Accuracy", None),
    "weighted_f1": ("f1", "Weighted F1", {"average": "weighted"}),
    "macro_f1": ("f1", "Macro F1", {"average": "macro"}),
    "micro_f1": ("f1", "Micro F1", {"average": "micro"}),
}
"""Id on the Hub, name and arguments of the metrics that have one there."""


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
    return table(("Corpus", "Split", "Records", "Answer", "Scorer", *(f"`{name}`" for name in metrics)), rows)


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
            metric_type=metric_type,
            metric_name=f"{name}{_interval(score, metric, ', interval ')}",
            metric_value=round(value, 6),
            metric_args=arguments,
        )
        for score in scores
        for metric, value in score.metrics.items()
        for metric_type, name, arguments in [_HUB_METRICS.get(metric, (metric, metric, None))]
    ]
    data: dict[str, object] = ModelCardData(model_name=model_name, eval_results=results).to_dict()  # type: ignore[no-untyped-call]
    return data["model-index"]


def hub_metrics(scores: Sequence[ScoreFigures]) -> list[str]:
    """The key `metrics` of a model card."""
    metrics = [metric for score in scores for metric in score.metrics]
    return list(dict.fromkeys(_HUB_METRICS.get(metric, (metric, "", None))[0] for metric in metrics))


def eval_results(scores: Sequence[ScoreFigures], dataset_id: str, revision: str | None) -> dict[str, str]:
    """The files of `.eval_results/` by path: one a run and metric, as the Hub asks for variants."""
    from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml

    files = {}
    for score in scores:
        corpus, split = score.protocol.corpus, score.protocol.split
        for metric, value in score.metrics.items():
            interval = _interval(score, metric, "; interval ")
            entry = EvalResultEntry(
                dataset_id=dataset_id,
                task_id=corpus,
                value=round(value, 6),
                dataset_revision=revision,
                notes=f"{metric} of the split {split}, {numbers.count(score.records)} records{interval}",
            )
            text = yaml.safe_dump(eval_result_entries_to_yaml([entry]), sort_keys=False, width=1_000)
            files[f".eval_results/{corpus}-{split}-{metric}.yaml"] = text
    return files


def _cell(part: Part, metric: MetricName) -> str:
    return f"{part.metrics[metric]:.4f}{_interval(part, metric, ' ')}" if metric in part.metrics else "-"


def _interval(part: Part, metric: MetricName, before: str) -> str:
    if metric not in part.intervals:
        return ""
    low, high = part.intervals[metric]
    return f"{before}[{low:.4f}, {high:.4f}]"
