"""What cards and checks need of a scoring run, in one place: its figures may grow without them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import yaml

from dialoguellm_release.cards.markdown import number, table
from dialoguellm_release.schemas.labels import CorpusName, Label, Split
from dialoguellm_release.schemas.manifest import ScoreManifest
from dialoguellm_release.schemas.scores import MetricName, Part

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


@dataclass(frozen=True)
class Scored:
    """A scoring run; metrics are fractions.

    Attributes:
        scorer: None where the answers were not read off a model.
        whole: The figures of all records.
        clean: Of those that share no text with a training split; None where the dataset was not audited.
    """

    name: str
    corpus: CorpusName
    split: Split
    scorer: str | None
    whole: Part
    clean: Part | None
    majority: Mapping[MetricName, float]
    majority_label: Label
    label_space: tuple[Label, ...]
    dataset_content_sha256: str
    prompt_sha256: str | None
    adapter_content_sha256: str | None
    base: str | None
    base_revision: str | None
    base_content_sha256: str | None


def scored(manifest: ScoreManifest) -> Scored:
    """A scoring run as its manifest tells of it."""
    figures = manifest.figures
    protocol, system = figures.protocol, figures.system
    return Scored(
        name=manifest.recipe.name,
        corpus=protocol.corpus,
        split=protocol.split,
        scorer=protocol.scorer,
        whole=figures,
        clean=figures.clean,
        majority=figures.majority,
        majority_label=figures.majority_label,
        label_space=protocol.label_space,
        dataset_content_sha256=protocol.dataset_content_sha256,
        prompt_sha256=protocol.prompt_sha256,
        adapter_content_sha256=system.adapter_content_sha256,
        base=system.base,
        base_revision=system.base_revision,
        base_content_sha256=system.base_content_sha256,
    )


def score_table(scores: Sequence[Scored]) -> str:
    """Each run beside the answer that is always the commonest label; intervals in brackets."""
    metrics = list(dict.fromkeys(name for score in scores for name in score.whole.metrics))
    rows = []
    for score in scores:
        place, scorer = (score.corpus, score.split), score.scorer or "-"
        parts = {"this adapter": score.whole}
        if score.clean:
            parts["this adapter, clean part"] = score.clean
        for answer, part in parts.items():
            cells = [_cell(part, name) for name in metrics]
            rows.append((*place, number(part.records), answer, scorer, *cells))
        always = [f"{score.majority[name]:.4f}" if name in score.majority else "-" for name in metrics]
        rows.append((*place, number(score.whole.records), f"always {score.majority_label}", "-", *always))
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
            metric_name=f"{name}{_interval(score.whole, metric, ', interval ')}",
            metric_value=round(value, 6),
            metric_args=arguments,
        )
        for score in scores
        for metric, value in score.whole.metrics.items()
        for metric_type, name, arguments in [_HUB_METRICS.get(metric, (metric, metric, None))]
    ]
    data: dict[str, object] = ModelCardData(model_name=model_name, eval_results=results).to_dict()  # type: ignore[no-untyped-call]
    return data["model-index"]


def hub_metrics(scores: Sequence[Scored]) -> list[str]:
    """The key `metrics` of a model card."""
    metrics = [metric for score in scores for metric in score.whole.metrics]
    return list(dict.fromkeys(_HUB_METRICS.get(metric, (metric, "", None))[0] for metric in metrics))


def eval_results(scores: Sequence[Scored], dataset_id: str, revision: str | None) -> dict[str, str]:
    """The files of `.eval_results/` by path: one a run and metric, as the Hub asks for variants."""
    from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml

    files = {}
    for score in scores:
        for metric, value in score.whole.metrics.items():
            interval = _interval(score.whole, metric, "; interval ")
            entry = EvalResultEntry(
                dataset_id=dataset_id,
                task_id=score.corpus,
                value=round(value, 6),
                dataset_revision=revision,
                notes=f"{metric} of the split {score.split}, {number(score.whole.records)} records{interval}",
            )
            text = yaml.safe_dump(eval_result_entries_to_yaml([entry]), sort_keys=False, width=1_000)
            files[f".eval_results/{score.corpus}-{score.split}-{metric}.yaml"] = text
    return files


def _cell(part: Part, metric: MetricName) -> str:
    return f"{part.metrics[metric]:.4f}{_interval(part, metric, ' ')}" if metric in part.metrics else "-"


def _interval(part: Part, metric: MetricName, before: str) -> str:
    if metric not in part.intervals:
        return ""
    low, high = part.intervals[metric]
    return f"{before}[{low:.4f}, {high:.4f}]"
