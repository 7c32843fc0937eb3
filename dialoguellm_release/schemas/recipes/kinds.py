"""The kinds of recipe, each with its schema."""

from __future__ import annotations

from typing import Literal

from dialoguellm_release.schemas.claims import ClaimsRecipe
from dialoguellm_release.schemas.corpus import CorpusEntry
from dialoguellm_release.schemas.recipes.adapter import AdapterRecipe
from dialoguellm_release.schemas.recipes.backbone import BackboneRecipe
from dialoguellm_release.schemas.recipes.dataset import DatasetRecipe
from dialoguellm_release.schemas.recipes.prompt import PromptRecipe
from dialoguellm_release.schemas.recipes.release import ReleaseRecipe
from dialoguellm_release.schemas.recipes.score import ScoreRecipe
from dialoguellm_release.schemas.recipes.video import VideoRecipe

RecipeKind = Literal[
    "corpus", "dataset", "backbone", "adapter", "score", "release", "prompt", "claims", "video"
]
Recipe = (
    CorpusEntry
    | DatasetRecipe
    | BackboneRecipe
    | AdapterRecipe
    | ScoreRecipe
    | ReleaseRecipe
    | PromptRecipe
    | ClaimsRecipe
    | VideoRecipe
)

RECIPE_MODELS: dict[RecipeKind, type[Recipe]] = {
    "corpus": CorpusEntry,
    "dataset": DatasetRecipe,
    "backbone": BackboneRecipe,
    "adapter": AdapterRecipe,
    "score": ScoreRecipe,
    "release": ReleaseRecipe,
    "prompt": PromptRecipe,
    "claims": ClaimsRecipe,
    "video": VideoRecipe,
}
