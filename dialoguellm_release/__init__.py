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
    from dialoguellm_release.steps import (
        Made,
        audit_dataset,
        build_backbone,
        build_dataset,
        check_corpora,
        check_dataset,
        fetch_corpora,
        publish,
        score,
    )

_HOMES = {
    "adapter_steps": ("TrainedSeeds", "check_adapter", "train_adapter", "train_seeds"),
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
    "steps": (
        "Made",
        "audit_dataset",
        "build_backbone",
        "build_dataset",
        "check_corpora",
        "check_dataset",
        "fetch_corpora",
        "publish",
        "score",
    ),
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
    "TrainedSeeds",
    "audit_dataset",
    "build_backbone",
    "build_dataset",
    "check_adapter",
    "check_corpora",
    "check_dataset",
    "export_training",
    "fetch_corpora",
    "load_prompt",
    "merge_adapter",
    "new_recipe",
    "publish",
    "read_records",
    "score",
    "train_adapter",
    "train_seeds",
]


def __getattr__(name: str) -> object:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{home}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
