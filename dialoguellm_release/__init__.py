"""The release of DialogueLLM: the dataset, the adapters and the scores, and the steps that make them.

The names below are the public Python API; each loads what it needs when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dialoguellm_release.errors import (
        CardError,
        DataError,
        MissingExtraError,
        Problem,
        PublishError,
        RecipeError,
        ReleaseError,
    )
    from dialoguellm_release.prompts import load_prompt
    from dialoguellm_release.records import read_records
    from dialoguellm_release.serve.client import ServedModel
    from dialoguellm_release.step import StepResult
    from dialoguellm_release.steps.adapter import TrainedSeeds, check_adapter, train_adapter, train_seeds
    from dialoguellm_release.steps.backbone import build_backbone
    from dialoguellm_release.steps.card import check_cards, render_card, write_card
    from dialoguellm_release.steps.claims import check_claims
    from dialoguellm_release.steps.compare import compare_scores, score_table
    from dialoguellm_release.steps.corpora import check_corpora, fetch_corpora
    from dialoguellm_release.steps.dataset import audit_dataset, build_dataset, check_dataset, hydrate_dataset
    from dialoguellm_release.steps.doctor import examine
    from dialoguellm_release.steps.onward import export_training, merge_adapter, new_recipe
    from dialoguellm_release.steps.release import publish, verify_release
    from dialoguellm_release.steps.score import (
        score,
        score_baseline,
        score_each_way,
        score_predictions,
        score_served,
    )
    from dialoguellm_release.steps.video import describe_clips, survey_clips, video_status

_HOMES = {
    "errors": (
        "CardError",
        "DataError",
        "MissingExtraError",
        "Problem",
        "PublishError",
        "RecipeError",
        "ReleaseError",
    ),
    "prompts": ("load_prompt",),
    "records": ("read_records",),
    "serve.client": ("ServedModel",),
    "steps.adapter": ("TrainedSeeds", "check_adapter", "train_adapter", "train_seeds"),
    "steps.backbone": ("build_backbone",),
    "steps.card": ("check_cards", "render_card", "write_card"),
    "steps.claims": ("check_claims",),
    "steps.corpora": ("check_corpora", "fetch_corpora"),
    "steps.dataset": ("audit_dataset", "build_dataset", "check_dataset", "hydrate_dataset"),
    "steps.doctor": ("examine",),
    "step": ("StepResult",),
    "steps.onward": ("export_training", "merge_adapter", "new_recipe"),
    "steps.release": ("publish", "verify_release"),
    "steps.score": (
        "ModelChoice",
        "WorkFolders",
        "score",
        "score_baseline",
        "score_each_way",
        "score_predictions",
        "score_served",
    ),
    "steps.compare": ("compare_scores", "score_table"),
    "steps.video": ("describe_clips", "survey_clips", "video_status"),
}

__all__ = [
    "CardError",
    "DataError",
    "MissingExtraError",
    "Problem",
    "PublishError",
    "RecipeError",
    "ReleaseError",
    "ServedModel",
    "StepResult",
    "TrainedSeeds",
    "audit_dataset",
    "build_backbone",
    "build_dataset",
    "check_adapter",
    "check_cards",
    "check_claims",
    "check_corpora",
    "check_dataset",
    "compare_scores",
    "describe_clips",
    "examine",
    "export_training",
    "fetch_corpora",
    "hydrate_dataset",
    "load_prompt",
    "merge_adapter",
    "new_recipe",
    "publish",
    "read_records",
    "render_card",
    "score",
    "score_baseline",
    "score_each_way",
    "score_predictions",
    "score_served",
    "score_table",
    "survey_clips",
    "train_adapter",
    "train_seeds",
    "verify_release",
    "video_status",
    "write_card",
]


def __getattr__(name: str) -> object:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{home}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
