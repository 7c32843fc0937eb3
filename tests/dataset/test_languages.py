"""Corpora of users in other languages: with a prompt of their own that travels with the dataset."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dialoguellm_release.cards.card import split_card
from dialoguellm_release.layout import CROISSANT
from dialoguellm_release.prompts import load_prompt
from dialoguellm_release.records import read_records
from dialoguellm_release.schemas.dataset_manifest import DatasetManifest
from dialoguellm_release.step import StepResult
from dialoguellm_release.steps.dataset import build_dataset, check_dataset
from tests.dataset.test_scripts import SENTENCES
from tests.own_corpus import LANGUAGES, write_own_corpus

pytestmark = pytest.mark.usefixtures("without_figures")

BEGINNINGS = {"hi": "### निर्देश:\nपिछली बातचीत की सहायता से इनपुट में", "zh": "### 指令：\n请根据上文，判断输入的"}


def built(folder: Path, language: str) -> StepResult[DatasetManifest]:
    """A dataset whose prompt file is gone."""
    recipe = write_own_corpus(folder, language)
    made = build_dataset(recipe, folder, folder / "built")
    (folder / "my-prompt.yaml").unlink(missing_ok=True)
    return made


@pytest.mark.parametrize("language", BEGINNINGS)
def test_a_dataset_with_a_prompt_in_its_language(language: str, tmp_path: Path) -> None:
    made = built(tmp_path, language)
    second = list(read_records(made.folder, "talk", "train"))[1]
    assert (second.input, second.context) == (SENTENCES[language][1], (f"A: {SENTENCES[language][0]}",))
    bundled = load_prompt(f"dialogue-{language}")
    assert bundled.prompt(second).startswith(BEGINNINGS[language])
    assert made.manifest.figures.prompt == "my-prompt"
    assert made.manifest.figures.prompt_sha256 == bundled.sha256
    assert check_dataset(made.folder) == []
    assert str(tmp_path) not in (made.folder / "manifest.json").read_text(encoding="utf-8")


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_language_is_stated(language: str, tmp_path: Path) -> None:
    folder, tag = built(tmp_path, language).folder, LANGUAGES[language]
    card = (folder / "README.md").read_text(encoding="utf-8")
    metadata, body = split_card(card)
    assert metadata["language"] == [tag.partition("-")[0]]
    assert metadata.get("language_details", metadata["language"]) == [tag]
    assert metadata["multilinguality"] == ["monolingual"]
    assert f"the language is {tag}," in body
    assert json.loads((folder / CROISSANT).read_text(encoding="utf-8"))["inLanguage"] == tag
