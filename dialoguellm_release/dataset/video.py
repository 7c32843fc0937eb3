"""Video descriptions on their way into a dataset, as they are or shuffled, and what its manifest says."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Mapping

from dialoguellm_release.errors import DataError, Problem
from dialoguellm_release.recipes.load import Loaded
from dialoguellm_release.schemas.dataset_manifest import VideoProvenance
from dialoguellm_release.schemas.recipes.dataset import DatasetRecipe


def arranged(
    loaded: Loaded[DatasetRecipe], texts: Mapping[str, str], provenance: VideoProvenance | None
) -> tuple[Mapping[str, str], VideoProvenance | None]:
    """Descriptions by record id as the recipe wants them, with a provenance that says so.

    Args:
        texts: Descriptions by the id of the record that they belong to.
        provenance: None where no video folder was given.

    Raises:
        DataError: The recipe needs descriptions, and there are none.
    """
    use = loaded.recipe.video
    if use is not None and provenance is None:
        what = f"the recipe {loaded.name} needs video descriptions"
        fix = "name the folder that `dlm-release video describe` made"
        raise DataError(Problem("--video", what, fix=fix, code="dataset.no_descriptions"))
    if use is None or use.shuffle_seed is None or provenance is None:
        return texts, provenance
    shuffled_by = provenance.model_copy(update={"shuffle_seed": use.shuffle_seed})
    return shuffled(texts, use.shuffle_seed), shuffled_by


def shuffled(texts: Mapping[str, str], seed: int) -> dict[str, str]:
    """Each description at another record of the same corpus and split; one that is alone there stays.

    Why a turn of a shuffled circle, and no plain shuffle: that leaves some where they were.
    """
    groups: defaultdict[str, list[str]] = defaultdict(list)
    for name in sorted(texts):
        corpus, split, *_ = name.split("/")
        groups[f"{corpus}/{split}"].append(name)
    moved = {}
    for group, names in groups.items():
        random.Random(f"{seed} {group}").shuffle(names)
        moved.update({name: texts[other] for name, other in zip(names, [*names[1:], names[0]], strict=True)})
    return moved
