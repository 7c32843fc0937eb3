"""The card of a dataset folder of a user's own data: what was found in it, and how to load it."""

from __future__ import annotations

from dialoguellm_release.cards.data_files import configs
from dialoguellm_release.cards.dataset import label_table
from dialoguellm_release.cards.features import dataset_info
from dialoguellm_release.cards.leakage import overlap_table
from dialoguellm_release.cards.markdown import render_card, table
from dialoguellm_release.cards.provenance import recipe_of
from dialoguellm_release.render import numbers
from dialoguellm_release.schemas.audit import RepeatCounts
from dialoguellm_release.schemas.dataset_manifest import CorpusFigures, DatasetManifest
from dialoguellm_release.schemas.labels import OWN, SPLITS
from dialoguellm_release.schemas.recipes.dataset import DatasetRecipe


def render_own_card(manifest: DatasetManifest) -> str:
    """The `README.md` of a dataset folder that holds the corpus `own`, audited.

    Why a card: without its configs `load_dataset` would mix records and `sft` rows.
    """
    figures, recipe = manifest.figures, recipe_of(manifest, DatasetRecipe)
    own, audit = figures.corpora[OWN], figures.audit
    assert audit is not None
    paths = [file.path for file in manifest.outputs]
    listed = configs(paths, (OWN,), manifest.content_sha256, figures.prompt_sha256, manifest.content_sha256)
    metadata: dict[str, object] = {
        "license": "unknown",
        "pretty_name": recipe.pretty_name,
        "configs": listed,
        "dataset_info": dataset_info((str(config["config_name"]) for config in listed), figures.class_labels),
    }
    body: dict[str, object] = {
        "recipe": recipe,
        "configs": [config["config_name"] for config in listed],
        "files": [file.path for file in own.files],
        "parts": _part_table(own),
        "labels": label_table(own),
        "overlaps": overlap_table(audit),
        "duplicates": _in_words(audit.duplicates),
        "conflicts": _in_words(audit.conflicts),
    }
    return render_card("dataset_cards", "own.md.jinja", metadata, body)


def _part_table(own: CorpusFigures) -> str:
    rows = []
    for split in SPLITS:
        if split in own.splits:
            size, parts = own.splits[split], own.parts[split]
            counts = (size.dialogues, size.utterances, parts.leaked, parts.conflicts, parts.duplicates)
            rows.append((split, *map(numbers.count, (*counts, parts.clean))))
    header = ("Split", "Dialogues", "Records", "Leak", "Lose a conflict", "Duplicates", "Clean")
    return table(header, rows)


def _in_words(counts: RepeatCounts) -> str:
    return f"{numbers.count(counts.records)} records in {numbers.count(counts.groups)} groups"
