"""What cards and checks need of a scoring run, in one place: its figures may grow without them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

import yaml

from dialoguellm_release.cards.markdown import number, table
from dialoguellm_release.schemas.labels import CorpusName, Label, Split
from dialoguellm_release.schemas.manifest import ScoreManifest

TASK = "text-classification"
LABEL_SCORERS = ("first_token", "full_likelihood")
"""Scorers that choose among the labels, so that no answer is outside them."""

_HUB_METRICS: dict[str, tuple[str, str, dict[str, str] | None]] = {
    "accuracy": ("accuracy", "Accuracy", None),
    "weighted_f1": ("f1", "Weighted F1", {"average": "weighted"}),
    "macro_f1": ("f1", "Macro F1", {"average": "macro"}),
    "micro_f1": ("f1", "Micro F1", {"average": "micro"}),
}
"""Id on the Hub, name and arguments of the metrics that have one there."""


@dataclass(frozen=True)
class Scored:
    """A scoring run; metrics are fractions.

    Attributes:
        intervals: Lower and upper end per metric; empty where none were made.
    """

    name: str
    corpus: CorpusName
    split: Split
    records: int
    scorer: str
    metrics: Mapping[str, float]
    majority: Mapping[str, float]
    majority_label: Label
    dataset_content_sha256: str
    prompt_sha256: str | None
    adapter_content_sha256: str | None
    base: str | None
    base_revision: str | None
    base_content_sha256: str | None
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)


def scored(manifest: ScoreManifest) -> Scored:
    """A scoring run as its manifest tells of it."""
    figures = manifest.figures
    return Scored(
        name=manifest.recipe.name,
        corpus=cast("CorpusName", figures.corpus),
        split=figures.split,
        records=figures.records,
        scorer=figures.scorer,
        metrics=figures.metrics,
        majority=figures.majority,
        majority_label=figures.majority_label,
        dataset_content_sha256=figures.dataset_content_sha256,
        prompt_sha256=figures.prompt_sha256,
        adapter_content_sha256=figures.adapter_content_sha256,
        base=figures.base,
        base_revision=figures.base_revision,
        base_content_sha256=figures.base_content_sha256,
    )


def score_table(scores: Sequence[Scored]) -> str:
    """Each run beside the answer that is always the commonest label; intervals in brackets."""
    metrics = list(dict.fromkeys(name for score in scores for name in score.metrics))
    rows = []
    for score in scores:
        place = (score.corpus, score.split, number(score.records))
        own = [_cell(score.metrics.get(name), score.intervals.get(name)) for name in metrics]
        constant = [_cell(score.majority.get(name), None) for name in metrics]
        rows.append((*place, "this adapter", score.scorer, *own))
        rows.append((*place, f"always {score.majority_label}", "-", *constant))
    return table(("Corpus", "Split", "Records", "Answer", "Scorer", *(f"`{name}`" for name in metrics)), rows)


def model_index(
    scores: Sequence[Scored], model_name: str, dataset_id: str, dataset_name: str, revision: str | None
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
            dataset_name=f"{dataset_name} ({score.corpus})",
            dataset_config=score.corpus,
            dataset_split=score.split,
            dataset_revision=revision,
            metric_type=metric_type,
            metric_name=f"{name}{_interval(score.intervals.get(metric), ', interval ')}",
            metric_value=round(value, 6),
            metric_args=arguments,
        )
        for score in scores
        for metric, value in score.metrics.items()
        for metric_type, name, arguments in [_HUB_METRICS.get(metric, (metric, metric, None))]
    ]
    data: dict[str, object] = ModelCardData(model_name=model_name, eval_results=results).to_dict()  # type: ignore[no-untyped-call]
    return data["model-index"]


def hub_metrics(scores: Sequence[Scored]) -> list[str]:
    """The key `metrics` of a model card."""
    named = (_HUB_METRICS.get(metric, (metric, "", None))[0] for score in scores for metric in score.metrics)
    return list(dict.fromkeys(named))


def eval_results(scores: Sequence[Scored], dataset_id: str, revision: str | None) -> dict[str, str]:
    """The files of `.eval_results/` by path: one a run and metric, as the Hub asks for variants."""
    from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml

    files = {}
    for score in scores:
        for metric, value in score.metrics.items():
            interval = _interval(score.intervals.get(metric), "; interval ")
            entry = EvalResultEntry(
                dataset_id=dataset_id,
                task_id=score.corpus,
                value=round(value, 6),
                dataset_revision=revision,
                notes=f"{metric} of the split {score.split}, {number(score.records)} records{interval}",
            )
            text = yaml.safe_dump(eval_result_entries_to_yaml([entry]), sort_keys=False, width=1_000)
            files[f".eval_results/{score.corpus}-{score.split}-{metric}.yaml"] = text
    return files


def _cell(value: float | None, interval: tuple[float, float] | None) -> str:
    return "-" if value is None else f"{value:.4f}{_interval(interval, ' ')}"


def _interval(interval: tuple[float, float] | None, before: str) -> str:
    return "" if interval is None else f"{before}[{interval[0]:.4f}, {interval[1]:.4f}]"
