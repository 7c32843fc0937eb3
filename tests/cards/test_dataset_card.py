from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, cast

import pytest
import yaml
from pydantic import JsonValue

from dialoguellm_release.cards.check import check_our_card
from dialoguellm_release.cards.dataset import render_dataset_card
from dialoguellm_release.cards.metadata import configs
from dialoguellm_release.errors import CardError
from dialoguellm_release.layout import FIGURE_FILES, DataFile, data_file
from dialoguellm_release.schemas.claims import ClaimsRecipe
from dialoguellm_release.schemas.corpus import CorpusEntry
from dialoguellm_release.schemas.dataset_manifest import DatasetManifest
from dialoguellm_release.schemas.labels import PARTS, CorpusName, Part
from dialoguellm_release.schemas.record import COLUMN_NOTES, COLUMNS

Registry = dict[CorpusName, CorpusEntry]


def metadata_of(card: str) -> dict[str, Any]:
    loaded = yaml.safe_load(card.split("---\n")[1])
    assert isinstance(loaded, dict)
    return loaded


def pictures_on(card: str) -> dict[str, str]:
    """The words of each picture by its path."""
    return {path: words for words, path in re.findall(r"^!\[(.*)\]\((.*)\)$", card, re.MULTILINE)}


def paths_of(manifest: DatasetManifest) -> list[str]:
    return [file.path for file in manifest.outputs]


def test_the_whole_build_has_this_card(
    dataset: DatasetManifest, claims: ClaimsRecipe, registry: Registry, golden: Callable[[str, str], None]
) -> None:
    card = render_dataset_card(dataset, claims, registry)
    golden("cards/dataset.md", card)
    assert check_our_card(card, paths_of(dataset)) == []


def test_a_published_copy_has_this_card(
    published: DatasetManifest, claims: ClaimsRecipe, registry: Registry, golden: Callable[[str, str], None]
) -> None:
    card = render_dataset_card(published, claims, registry, source="dialoguellm/instructions")
    golden("cards/dataset-published.md", card)
    assert check_our_card(card, paths_of(published)) == []


def test_synthetic_data_is_called_so_before_anything_else(
    dataset: DatasetManifest, registry: Registry
) -> None:
    resolved = {**dataset.recipe.resolved, "synthetic": True}
    recipe = dataset.recipe.model_copy(update={"resolved": resolved})
    card = render_dataset_card(dataset.model_copy(update={"recipe": recipe}), None, registry)
    title, first = card.split("\n# ", 1)[1].split("\n\n")[:2]
    assert title == "Instructions of the tests"
    assert first.startswith("> **Synthetic data.**")
    assert "synthetic" in metadata_of(card)["tags"]
    assert "Please cite the corpora" not in card


def test_a_config_lists_only_what_has_files_and_carries_the_hash(
    published: DatasetManifest, registry: Registry
) -> None:
    listed = metadata_of(render_dataset_card(published, None, registry))["configs"]
    assert [config["config_name"] for config in listed] == ["default", "clean", "meld", "sft"]
    assert [config.get("default") for config in listed] == [True, None, None, None]
    assert {split["split"] for split in listed[0]["data_files"]} == {"train", "test"}
    assert listed[0]["data_files"][0]["path"] == ["data/meld/train-clean-*.parquet"]
    assert all(config["description"].startswith(f"content {'2' * 64}") for config in listed)


def test_each_config_reads_its_parts_and_the_clean_ones_first() -> None:
    paths = [
        f"data/{corpus}/{split}-{part}-00000.parquet"
        for corpus in ("meisd", "meld")
        for split in ("test", "train")
        for part in ("repeated", "leaked", "clean")
        if (split, part) != ("test", "repeated")
    ]
    listed = {
        str(entry["config_name"]): {
            one["split"]: [path.removeprefix("data/").removesuffix("-*.parquet") for path in one["path"]]
            for one in cast(list[dict[str, Any]], entry["data_files"])
        }
        for entry in configs(
            [*paths, "sft/train-meld-leaked-00000.parquet"], ("meld", "meisd"), "c", "p", "b"
        )
    }
    held_out = ["meld/test-clean", "meisd/test-clean", "meld/test-leaked", "meisd/test-leaked"]
    repeated = ["meld/train-repeated", "meisd/train-repeated"]
    trained = ["meld/train-clean", "meisd/train-clean", "meld/train-leaked", "meisd/train-leaked", *repeated]
    assert listed == {
        "default": {"train": trained, "test": held_out},
        "clean": {"train": trained[:2], "test": held_out},
        "meld": {"train": trained[::2], "test": held_out[::2]},
        "meisd": {"train": trained[1::2], "test": held_out[1::2]},
        "sft": {"train": ["sft/train-meld-leaked"]},
    }


@pytest.mark.parametrize(
    "path",
    [
        "data/Friends/train-clean-00000.parquet",
        "data/meld/dev-clean-00000.parquet",
        "data/meld/train-00000.parquet",
        "data/meld/train-dirty-00000.parquet",
        "README.md",
    ],
)
def test_other_files_are_no_data_files(path: str) -> None:
    assert data_file(path) is None


@pytest.mark.parametrize("holds", ["records", "sft"])
@pytest.mark.parametrize("part", PARTS)
def test_a_path_tells_what_its_file_holds(part: Part, holds: Any) -> None:
    file = DataFile("meld", "train", part, holds)
    assert data_file(file.path) == file


def test_every_column_is_described_in_its_order() -> None:
    assert tuple(COLUMN_NOTES) == COLUMNS


def test_the_totals_and_the_reasons_come_from_claims_and_manifest(
    dataset: DatasetManifest, claims: ClaimsRecipe, registry: Registry
) -> None:
    lines = render_dataset_card(dataset, claims, registry).splitlines()
    assert (
        "| **all** | train | 1,018 dialogues | 1,017 dialogues, with the paper's own count of MEISD, IEMOCAP "
        "| 1,005 / 4,050 | MELD -1, IEMOCAP -12 |"
    ) in lines
    assert "The paper's total is the sum of its training column." in lines
    assert r"| MELD | train | 1,001 / 4,000 | 1,000 / 4,000 | 1,000 / 4,000 | an id \| is left out |" in lines
    assert "| IEMOCAP | train | 12 / 120 | - | not built | not part of this build |" in lines
    assert "| MEISD | test | - | 2 / 21 | 2 / 20 | not explained |" in lines


def test_the_lines_on_the_card_turn_records_back_into_dialogues(
    dataset: DatasetManifest, registry: Registry
) -> None:
    card = render_dataset_card(dataset, None, registry)
    (block,) = [code for code in re.findall(r"```python\n(.*?)```", card, re.DOTALL) if "def " in code]
    names: dict[str, Any] = {}
    exec(block, names)
    records = [
        {"corpus": "meld", "split": split, "dialogue_id": dialogue, "utterance_index": index}
        for split, dialogue, index in (
            ("train", "0", 2), ("train", "1", 0), ("test", "0", 0), ("train", "0", 0), ("train", "0", 10)
        )
    ]  # fmt: skip
    dialogues = names["whole_dialogues"](records)
    assert [[turn["utterance_index"] for turn in turns] for turns in dialogues] == [[0, 2, 10], [0], [0]]


def test_the_papers_percentages_stand_beside_the_built_ones(
    dataset: DatasetManifest, claims: ClaimsRecipe, registry: Registry
) -> None:
    lines = render_dataset_card(dataset, claims, registry).splitlines()
    assert "| happiness | 3,999 | 98.7 % | 31.2 % |" in lines
    assert "| anger | 49 | 1.2 % | none printed |" in lines
    assert "| MELD | train | 9 (2 to 17; 18) | 14 (2 to 999; 1000) | 1,226 (1,641) |" in lines


def test_pictures_are_shown_where_they_are_with_their_numbers_in_words(
    dataset: DatasetManifest, claims: ClaimsRecipe, registry: Registry
) -> None:
    shown = pictures_on(render_dataset_card(dataset, claims, registry))
    assert sorted(shown) == sorted(FIGURE_FILES)
    assert shown["figures/corpora.png"] == (
        "Training dialogues per corpus. This build: MELD 1,000 (99.5 %), MEISD 5 (0.5 %). "
        "The paper: MELD 1,001, MEISD 5, IEMOCAP 12."
    )
    assert "happiness 98.7 %" in shown["figures/emotions.png"]
    assert shown["figures/emotions.png"].endswith("The paper: happiness 31.2 %, acceptance 4.0 %.")
    assert "MELD 9 (2 to 17; 18), MEISD 20 (2 to 39; 40)" in shown["figures/dialogue_lengths.png"]
    assert "MELD 14 (2 to 999; 1000)" in shown["figures/utterance_lengths.png"]
    assert "MEISD: happiness 0.0 %, anger 98.0 %" in shown["figures/label_spaces.png"]


def test_a_picture_that_is_not_there_is_not_shown(
    dataset: DatasetManifest, claims: ClaimsRecipe, registry: Registry
) -> None:
    outputs = tuple(file for file in dataset.outputs if file.path != "figures/emotions.png")
    card = render_dataset_card(dataset.model_copy(update={"outputs": outputs}), claims, registry)
    assert set(pictures_on(card)) == set(FIGURE_FILES) - {"figures/emotions.png"}
    assert check_our_card(card, [file.path for file in outputs]) == []


def test_the_datasheet_answers_from_the_manifest(dataset: DatasetManifest, registry: Registry) -> None:
    card = render_dataset_card(dataset, None, registry)
    sheet = card.split("\n## Datasheet\n")[1].split("\n## ")[0]
    parts = (
        "Motivation",
        "Composition",
        "Collection",
        "Preprocessing",
        "Uses",
        "Distribution",
        "Maintenance",
    )
    assert re.findall(r"^### (.*)", sheet, re.MULTILINE) == list(parts)
    assert "4,082 in 1,010 dialogues" in " ".join(sheet.split())
    assert "no split were left out: 1 of MEISD." in sheet
    assert "\n- MELD: transcripts of the television series" in sheet
    assert "IEMOCAP" not in sheet
    assert "\n## Taking text down\n" in card
    assert "\n## Errata\n" in card


def test_the_datasheet_of_synthetic_data_names_no_source_of_others(
    dataset: DatasetManifest, registry: Registry
) -> None:
    resolved = {**dataset.recipe.resolved, "synthetic": True}
    recipe = dataset.recipe.model_copy(update={"resolved": resolved})
    card = render_dataset_card(dataset.model_copy(update={"recipe": recipe}), None, registry)
    sheet = card.split("\n## Datasheet\n")[1].split("\n## ")[0]
    assert "Nobody was recorded or observed" in sheet
    assert "transcripts" not in sheet
    assert "papers" not in sheet


def test_the_datasheet_of_a_copy_names_what_it_lacks(published: DatasetManifest, registry: Registry) -> None:
    card = render_dataset_card(published, None, registry)
    sheet = card.split("\n## Datasheet\n")[1].split("\n## ")[0]
    assert "MEISD: nothing of it is in this copy" in sheet
    assert "4,012 in 1,003 dialogues" in " ".join(sheet.split())
    assert "describe the whole build, not this copy" in card


def test_a_paper_that_prints_no_total_has_none_on_the_card(
    dataset: DatasetManifest, claims: ClaimsRecipe, registry: Registry
) -> None:
    card = render_dataset_card(dataset, claims.model_copy(update={"training_dialogues": None}), registry)
    assert "| **all** | train | - | 1,017 dialogues" in card
    assert "The paper's total" not in card


def test_without_claims_nothing_is_said_of_a_paper(dataset: DatasetManifest, registry: Registry) -> None:
    card = render_dataset_card(dataset, None, registry)
    assert "| **all** | train | - | - | 1,005 / 4,050 |  |" in card.splitlines()
    assert "The paper's" not in card.replace("the paper's sizes", "")
    assert "not part of this build" not in card


def test_several_licences_are_not_made_one(dataset: DatasetManifest, registry: Registry) -> None:
    metadata = metadata_of(render_dataset_card(dataset, None, registry))
    assert {key: value for key, value in metadata.items() if key.startswith("license")} == {
        "license": "other",
        "license_name": "each-config-under-its-own",
        "license_link": "LICENSE.md",
    }


def test_a_recipe_of_another_version_is_said_so(dataset: DatasetManifest, registry: Registry) -> None:
    recipe = dataset.recipe.model_copy(update={"resolved": {**dataset.recipe.resolved, "context": 1}})
    with pytest.raises(CardError) as caught:
        render_dataset_card(dataset.model_copy(update={"recipe": recipe}), None, registry)
    (problem,) = caught.value.problems
    assert problem.code == "card.recipe_of_manifest"
    assert "context" in problem.what


def test_the_card_tells_what_leaks_and_what_clean_leaves_out(
    dataset: DatasetManifest, registry: Registry
) -> None:
    card = render_dataset_card(dataset, None, registry)
    lines = card.splitlines()
    assert "| MELD | 4,000 | 3 | 1 | 2 | 3,994 |" in lines
    assert "| MELD | test | 12 | 3 (25.0 %) | 9 |" in lines
    assert "| meld/test | meisd/train | 8 | 2 (25.0 %) | 4 | 3 | 1 | 1 | 0 | 12.50 % |" in lines
    assert "3 more pairs of a held-out and a training split have nothing in common." in lines
    assert "1,015 records in 7 groups; 5 groups have a text of 5 words or more" in card
    assert "| MELD and MEISD | 4 | 75.0 % | 0.500 | 1 |" in lines
    assert "| anger | 50 % (1) | 50 % (1) |" in lines
    assert "| neutral | - | 100 % (2) |" in lines
    assert "75.0 % with the same label" in pictures_on(card)["figures/agreement.png"]
    assert card.count("figures/agreement.png") == 1


@pytest.mark.parametrize(
    ("conflicts", "duplicates", "told", "not_told"),
    [
        ("majority", "first", ["in a tie, with that of the first record", "it has the first."], []),
        ("drop", "keep", ["it has none where their labels differ."], ["it has the first."]),
        ("keep", "first", ["it has those of every label."], ["in a tie"]),
    ],
)
def test_the_card_tells_the_rules_of_clean(
    dataset: DatasetManifest,
    registry: Registry,
    conflicts: str,
    duplicates: str,
    told: list[str],
    not_told: list[str],
) -> None:
    rules: dict[str, JsonValue] = {"conflicts": conflicts, "duplicates": duplicates}
    recipe = dataset.recipe.model_copy(update={"resolved": {**dataset.recipe.resolved, "clean": rules}})
    card = render_dataset_card(dataset.model_copy(update={"recipe": recipe}), None, registry)
    assert all(text in card for text in told)
    assert not any(text in card for text in not_told)


def test_a_dataset_without_a_ledger_tells_nothing_of_one(
    dataset: DatasetManifest, registry: Registry
) -> None:
    figures = dataset.figures.model_copy(update={"audit": None})
    assert "## Leakage" not in render_dataset_card(
        dataset.model_copy(update={"figures": figures}), None, registry
    )
