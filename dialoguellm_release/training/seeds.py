"""The figures of adapters that differ in their seed alone."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from dialoguellm_release.recipes.load import Loaded
from dialoguellm_release.schemas.base import Schema, Sha256
from dialoguellm_release.schemas.manifests import AdapterManifest, RecipeStamp
from dialoguellm_release.schemas.recipes.adapter import AdapterRecipe

SEEDS_FILE = "seeds.json"


class SeedFigures(Schema):
    """One adapter of several."""

    folder: str
    seed: int
    content_sha256: Sha256
    last_loss: float
    validation_loss: float | None


class MeanAndDeviation(Schema):
    """Over the seeds; the standard deviation is that of a sample, and None for a single seed."""

    mean: float
    standard_deviation: float | None


class SeedsSummary(Schema):
    """`seeds.json`: the adapters of one recipe over its seeds.

    Attributes:
        validation_loss: None where the recipe does not look at the validation split.
    """

    recipe: RecipeStamp
    adapters: tuple[SeedFigures, ...]
    last_loss: MeanAndDeviation
    validation_loss: MeanAndDeviation | None


def over_seeds(recipe: Loaded[AdapterRecipe], manifests: Sequence[AdapterManifest]) -> SeedsSummary:
    """The figures of adapters that one recipe gave, in the order of its seeds."""
    adapters = tuple(
        SeedFigures(
            folder=f"seed-{manifest.figures.seed}",
            seed=manifest.figures.seed,
            content_sha256=manifest.content_sha256,
            last_loss=manifest.figures.last_loss,
            validation_loss=manifest.figures.validation_loss,
        )
        for manifest in manifests
    )
    looked_at = [one.validation_loss for one in adapters if one.validation_loss is not None]
    return SeedsSummary(
        recipe=recipe.stamp,
        adapters=adapters,
        last_loss=mean_and_deviation([one.last_loss for one in adapters]),
        validation_loss=mean_and_deviation(looked_at) if looked_at else None,
    )


def mean_and_deviation(values: Sequence[float]) -> MeanAndDeviation:
    """The mean of values, and how far they lie from it.

    >>> mean_and_deviation([1.0, 2.0, 3.0])
    MeanAndDeviation(mean=2.0, standard_deviation=1.0)
    """
    deviation = statistics.stdev(values) if len(values) > 1 else None
    return MeanAndDeviation(mean=statistics.fmean(values), standard_deviation=deviation)
