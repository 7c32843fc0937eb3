"""The records that an adapter is trained on."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from dialoguellm_release.errors import DataError, Problem
from dialoguellm_release.knowledge import each_with_knowledge
from dialoguellm_release.prompts import Prompt
from dialoguellm_release.records import read_records
from dialoguellm_release.schemas.dataset_manifest import DatasetManifest
from dialoguellm_release.schemas.labels import Split
from dialoguellm_release.schemas.recipes.adapter import AdapterRecipe
from dialoguellm_release.schemas.record import Record


def records_of(
    dataset: Path, built: DatasetManifest, recipe: AdapterRecipe, prompt: Prompt, split: Split
) -> Iterator[Record]:
    """The records of a split as the adapter sees them, read as they are asked for.

    They are those of its recipe's config, with its knowledge.

    Raises:
        DataError: The dataset was built with another prompt, has no such records, or no description to
            shuffle.
    """
    _check_prompt(prompt, built, dataset)
    most = recipe.data.max_records if split == "train" else recipe.data.max_validation_records
    found = islice(read_records(dataset, recipe.data.config, split), most)
    label_spaces = {name: corpus.label_space for name, corpus in built.figures.corpora.items()}
    records = each_with_knowledge(found, recipe.data.knowledge, prompt, label_spaces)
    if recipe.data.knowledge.video_descriptions != "shuffled":
        return records
    shuffled = list(records)
    if not any(record.video_description for record in shuffled):
        raise DataError(
            Problem(
                str(dataset),
                f"has no video description to shuffle in the {split} split of {recipe.data.config}",
                fix="describe the videos and build the dataset again",
            )
        )
    return iter(shuffled)


def _check_prompt(prompt: Prompt, built: DatasetManifest, dataset: Path) -> None:
    if built.figures.prompt_sha256 != prompt.sha256:
        raise DataError(
            Problem(
                str(dataset),
                f"was built with another prompt ({built.figures.prompt}) than the adapter recipe names",
                expected=f"{prompt.name}, sha256 {prompt.sha256}",
                got=f"{built.figures.prompt}, sha256 {built.figures.prompt_sha256}",
                fix="build the dataset again, or name its prompt in the adapter recipe",
            )
        )
