"""The cards of adapters and backbones, from their manifests."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel

from dialoguellm_release.cards.licenses import derived_license_metadata, hub_license
from dialoguellm_release.cards.markdown import number, render_card, table
from dialoguellm_release.cards.provenance import recipe_of
from dialoguellm_release.schemas.knowledge import Knowledge
from dialoguellm_release.schemas.labels import CORPORA
from dialoguellm_release.schemas.manifest import (
    LOSS_FIGURE,
    AdapterFigures,
    AdapterManifest,
    BackboneManifest,
    DatasetManifest,
    ScoreManifest,
)
from dialoguellm_release.schemas.recipes.adapter import AdapterRecipe
from dialoguellm_release.schemas.recipes.backbone import BackboneRecipe
from dialoguellm_release.schemas.recipes.dataset import DatasetRecipe

TASK_TAG = "emotion-recognition-in-conversations"


def render_backbone_card(manifest: BackboneManifest, repo_id: str) -> str:
    """The `README.md` of a backbone of our own making."""
    recipe = recipe_of(manifest, BackboneRecipe)
    metadata = {
        "license": hub_license(recipe.license),
        "language": ["en"],
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": [TASK_TAG, "test-model"],
    }
    body = {
        "manifest": manifest,
        "recipe": recipe,
        "repo_id": repo_id,
        "parameters": number(manifest.parameters),
        "settings": _settings(recipe.source),
    }
    return render_card("model_cards", "backbone.md.jinja", metadata, body)


def render_adapter_card(
    manifest: AdapterManifest,
    scores: Sequence[ScoreManifest],
    repo_id: str,
    dataset: DatasetManifest | None = None,
    dataset_id: str | None = None,
    backbone: BackboneManifest | None = None,
) -> str:
    """The `README.md` of an adapter.

    Args:
        scores: Scoring runs of this adapter, in the order of the table.
        dataset: What it was trained on, as published; None where the release does not hold it.
        dataset_id: Its repository; None likewise.
        backbone: Its base, where that is one of our own making; None for a model of others.
    """
    recipe, figures = recipe_of(manifest, AdapterRecipe), manifest.figures
    base_license = recipe_of(backbone, BackboneRecipe).license if backbone else None
    data_licenses = _data_licenses(dataset, figures.dataset_config) if dataset else {}
    metadata: dict[str, object] = {
        **derived_license_metadata([base_license, *(data_licenses.values() if dataset else [None])]),
        "language": ["en"],
        "library_name": "peft",
        "base_model": figures.base,
        **({"datasets": [dataset_id]} if dataset_id else {}),
        "pipeline_tag": "text-generation",
        "tags": [TASK_TAG, "lora"],
    }
    body: dict[str, object] = {
        "manifest": manifest,
        "figures": figures,
        "recipe": recipe,
        "repo_id": repo_id,
        "dataset_id": dataset_id,
        "is_demonstration": backbone is not None,
        "base_parameters": number(backbone.parameters) if backbone else "",
        "is_synthetic": dataset is not None and recipe_of(dataset, DatasetRecipe).synthetic,
        "left_out": _left_out(dataset, figures.dataset_config) if dataset else [],
        "training": _training_table(manifest),
        "loss_figure": next((file.path for file in manifest.outputs if file.path == LOSS_FIGURE), None),
        "lora": _settings(recipe.lora),
        "trainer": _settings(recipe.trainer),
        "scores": _score_table(scores) if scores else "",
        "base_license": base_license,
        "data_licenses": ", ".join(f"{name} `{license_id}`" for name, license_id in data_licenses.items()),
    }
    return render_card("model_cards", "adapter.md.jinja", metadata, body)


def _data_licenses(dataset: DatasetManifest, config: str) -> dict[str, str]:
    corpora = dataset.figures.corpora
    return {name: corpora[name].license for name in CORPORA if name in corpora and _holds(config, name)}


def _left_out(dataset: DatasetManifest, config: str) -> list[str]:
    left_out = dataset.published.left_out if dataset.published else ()
    return [name for name in left_out if _holds(config, name)]


def _holds(config: str, corpus: str) -> bool:
    """Whether a config of the dataset has records of a corpus."""
    return config == corpus or config not in CORPORA


def _training_table(manifest: AdapterManifest) -> str:
    figures = manifest.figures
    rows = {
        "Records": number(figures.records),
        "Records shortened to the length limit": number(figures.truncated_records),
        "Trainable parameters": number(figures.trainable_parameters),
        "Steps": number(figures.steps),
        "Loss, first and last logged": f"{figures.first_loss:.4f}, {figures.last_loss:.4f}",
        **_validation(figures),
        "Shown beside the input": _knowledge(figures.knowledge),
        "Seed": str(figures.seed),
        "Packages": ", ".join(f"{name} {version}" for name, version in manifest.created_by.items()),
    }
    return table(("Training", ""), rows.items())


def _validation(figures: AdapterFigures) -> dict[str, str]:
    if figures.validation_loss is None:
        return {}
    records = number(figures.validation_records)
    return {"Loss on the validation split": f"{figures.validation_loss:.4f} ({records} records)"}


def _knowledge(knowledge: Knowledge) -> str:
    videos = {
        "as_built": "video descriptions where there are any",
        "left_out": "no video descriptions",
        "shuffled": "the video descriptions of other records",
    }
    context = "the context" if knowledge.context else "no context"
    return f"{context}, {videos[knowledge.video_descriptions]}"


def _settings(settings: BaseModel) -> str:
    return table(
        ("Setting", "Value"),
        [(f"`{name}`", _value(value)) for name, value in settings.model_dump(mode="json").items()],
    )


def _value(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _score_table(scores: Sequence[ScoreManifest]) -> str:
    metrics = list(dict.fromkeys(name for score in scores for name in score.figures.metrics))
    rows = []
    for score in scores:
        figures = score.figures
        place = (figures.corpus, figures.split, number(figures.records))
        for answer, scorer, values in (
            ("this adapter", figures.scorer, figures.metrics),
            (f"always {figures.majority_label}", "-", figures.majority),
        ):
            cells = [f"{values[name]:.4f}" if name in values else "-" for name in metrics]
            rows.append((*place, answer, scorer, *cells))
    return table(("Corpus", "Split", "Records", "Answer", "Scorer", *(f"`{name}`" for name in metrics)), rows)
