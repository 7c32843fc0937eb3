"""The release of DialogueLLM: the dataset, the adapters and the scores, and the steps that make them.

The names below are the public Python API; each loads what it needs when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dialoguellm_release.adapter_steps import (
        TrainedSeeds,
        check_adapter,
        train_adapter,
        train_seeds,
    )
    from dialoguellm_release.claim_steps import check_claims
    from dialoguellm_release.errors import (
        CardError,
        DataError,
        MissingExtraError,
        Problem,
        PublishError,
        RecipeError,
        ReleaseError,
    )
    from dialoguellm_release.onward_steps import export_training, merge_adapter, new_recipe
    from dialoguellm_release.prompts import load_prompt
    from dialoguellm_release.records import read_records
    from dialoguellm_release.score_steps import (
        compare_scores,
        score,
        score_baseline,
        score_each_way,
        score_predictions,
        score_table,
    )
    from dialoguellm_release.scoring.server import ServedModel
    from dialoguellm_release.served_steps import score_served
    from dialoguellm_release.steps import (
        Made,
        audit_dataset,
        build_backbone,
        build_dataset,
        check_corpora,
        check_dataset,
        examine,
        fetch_corpora,
        hydrate_dataset,
        publish,
        verify_release,
    )
    from dialoguellm_release.video_steps import describe_clips, survey_clips, video_status

_HOMES = {
    "adapter_steps": ("TrainedSeeds", "check_adapter", "train_adapter", "train_seeds"),
    "claim_steps": ("check_claims",),
    "errors": (
        "CardError",
        "DataError",
        "MissingExtraError",
        "Problem",
        "PublishError",
        "RecipeError",
        "ReleaseError",
    ),
    "onward_steps": ("export_training", "merge_adapter", "new_recipe"),
    "prompts": ("load_prompt",),
    "records": ("read_records",),
    "score_steps": (
        "compare_scores",
        "score",
        "score_baseline",
        "score_each_way",
        "score_predictions",
        "score_table",
    ),
    "scoring.server": ("ServedModel",),
    "served_steps": ("score_served",),
    "steps": (
        "Made",
        "audit_dataset",
        "build_backbone",
        "build_dataset",
        "check_corpora",
        "check_dataset",
        "examine",
        "fetch_corpora",
        "hydrate_dataset",
        "publish",
        "verify_release",
    ),
    "video_steps": ("describe_clips", "survey_clips", "video_status"),
}

__all__ = [
    "CardError",
    "DataError",
    "Made",
    "MissingExtraError",
    "Problem",
    "PublishError",
    "RecipeError",
    "ReleaseError",
    "ServedModel",
    "TrainedSeeds",
    "audit_dataset",
    "build_backbone",
    "build_dataset",
    "check_adapter",
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
]


def __getattr__(name: str) -> object:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{home}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
