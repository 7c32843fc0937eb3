"""The cards of adapters and backbones, the report of a score folder, and scores as the Hub reads them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import yaml

from dialoguellm_release.cards.card import render_card
from dialoguellm_release.cards.dataset import (
    derived_license_metadata,
    hub_license,
    language_metadata,
    languages_of,
    recipe_of,
)
from dialoguellm_release.corpora.registry import corpus_entries
from dialoguellm_release.layout import JOINT_CONFIGS
from dialoguellm_release.render import numbers
from dialoguellm_release.schemas.dataset_manifest import DatasetManifest
from dialoguellm_release.schemas.manifests import (
    CONFUSION_FIGURE,
    COVERAGE_FIGURE,
    LOSS_FIGURE,
    RELIABILITY_FIGURE,
    AdapterManifest,
    BackboneManifest,
    Calibration,
    ScoreManifest,
)
from dialoguellm_release.schemas.recipes.adapter import AdapterRecipe
from dialoguellm_release.schemas.recipes.backbone import BackboneRecipe
from dialoguellm_release.schemas.recipes.dataset import DatasetRecipe
from dialoguellm_release.schemas.scores import METRICS, PROBABILITY_METRICS, MetricName, ScoreFigures

TASK_TAG = "emotion-recognition-in-conversations"


def render_backbone_card(manifest: BackboneManifest, repo_id: str) -> str:
    """The `README.md` of a backbone that this package built."""
    recipe = recipe_of(manifest, BackboneRecipe)
    metadata = {
        "license": hub_license(recipe.license),
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": [TASK_TAG, "test-model"],
    }
    body = {"manifest": manifest, "recipe": recipe, "repo_id": repo_id, "owner": repo_id.rpartition("/")[0]}
    return render_card("model_cards", "backbone.md.jinja", metadata, body)


@dataclass(frozen=True)
class AdapterLinks:
    """What a release says of an adapter beside its folder."""

    # Of the dataset, `owner/name` or `owner/name@commit`; None where the release does not hold it.
    dataset_id: str | None = None
    metric_ids: Sequence[str] = ()  # the Spaces of the metrics
    predictions: Sequence[str] = ()  # files of the repository that hold the answers to single records


def render_adapter_card(
    manifest: AdapterManifest,
    scores: Sequence[ScoreManifest],
    repo_id: str,
    dataset: DatasetManifest | None = None,
    backbone: BackboneManifest | None = None,
    calibration: Calibration | None = None,
    links: AdapterLinks | None = None,
) -> str:
    """The `README.md` of an adapter; its base is None where another than this package made it."""
    recipe, figures = recipe_of(manifest, AdapterRecipe), manifest.figures
    links = links or AdapterLinks()
    dataset_id, _, revision = (links.dataset_id or "").partition("@")
    runs = [score.figures for score in scores]
    entries = corpus_entries(recipe_of(dataset, DatasetRecipe)) if dataset else {}
    languages = languages_of(one for name, one in entries.items() if _holds(figures.dataset_config, name))
    metadata: dict[str, object] = {
        **adapter_license(manifest, dataset, backbone),
        **({"language": language_metadata(languages)["language"]} if languages else {}),
        "library_name": "peft",
        "base_model": figures.base,
        "base_model_relation": "adapter",
        **({"datasets": [dataset_id]} if dataset_id else {}),
        **({"metrics": hub_metrics(runs)} if runs else {}),
        "pipeline_tag": "text-generation",
        "tags": [TASK_TAG, "lora"],
    }
    if runs and dataset and dataset_id:
        name = recipe_of(dataset, DatasetRecipe).pretty_name
        metadata["model-index"] = model_index(runs, repo_id, dataset_id, name, revision or None)
    body: dict[str, object] = {
        "manifest": manifest,
        "figures": figures,
        "recipe": recipe,
        "repo_id": repo_id,
        "owner": repo_id.rpartition("/")[0],
        "languages": languages,
        "dataset_id": dataset_id,
        "backbone": backbone,
        "is_synthetic": dataset is not None and recipe_of(dataset, DatasetRecipe).synthetic,
        "left_out": _left_out(dataset, figures.dataset_config) if dataset else [],
        "loss_figure": next((file.path for file in manifest.outputs if file.path == LOSS_FIGURE), None),
        "labels": _labels(manifest, dataset),
        "choice": figures.choices,
        "scores": runs,
        "chooses_labels": all(run.protocol.scorer in LABEL_SCORERS for run in runs),
        "has_intervals": any(run.intervals for run in runs),
        "metric_ids": ", ".join(f"[{one}](https://huggingface.co/spaces/{one})" for one in links.metric_ids),
        "predictions": list(links.predictions),
        "calibration": calibration,
        "base_license": recipe_of(backbone, BackboneRecipe).license if backbone else None,
        "data_licenses": _data_licenses(dataset, figures.dataset_config) if dataset else {},
    }
    return render_card("model_cards", "adapter.md.jinja", metadata, body)


def adapter_license(
    manifest: AdapterManifest, dataset: DatasetManifest | None, backbone: BackboneManifest | None
) -> dict[str, object]:
    """The licence keys of an adapter's card, from those of its base and its data."""
    base = recipe_of(backbone, BackboneRecipe).license if backbone else None
    data = _data_licenses(dataset, manifest.figures.dataset_config).values() if dataset else [None]
    return derived_license_metadata([base, *data])


def _data_licenses(dataset: DatasetManifest, config: str) -> dict[str, str]:
    corpora = dataset.figures.corpora
    return {name: one.license for name, one in corpora.items() if _holds(config, name)}


def _left_out(dataset: DatasetManifest, config: str) -> list[str]:
    """The corpora that an adapter was trained on, and whose text the published dataset does not hold."""
    published = dataset.published
    withheld = (*published.left_out, *published.standoff) if published else ()
    return [name for name in withheld if _holds(config, name)]


def _labels(manifest: AdapterManifest, dataset: DatasetManifest | None) -> list[str]:
    """The labels of the corpora that it was trained on, in the order of their spaces."""
    figures = manifest.figures
    if figures.task:
        spaces = [one.label_space for one in figures.task.corpora.values()]
    else:
        corpora = dataset.figures.corpora if dataset else {}
        spaces = [one.label_space for name, one in corpora.items() if _holds(figures.dataset_config, name)]
    return list(dict.fromkeys(label for space in spaces for label in space))


def _holds(config: str, corpus: str) -> bool:
    """Whether a config of the dataset has records of a corpus."""
    return config == corpus or config in JOINT_CONFIGS


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
    Of several scores on one corpus the first counts. The other metrics are in `model-index` and in the card.
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
