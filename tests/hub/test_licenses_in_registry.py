"""What the registry lets leave of each corpus, and what the bundled recipes ask for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import get_args

import pytest

from dialoguellm_release.corpora.registry import corpus_entry
from dialoguellm_release.recipes.catalogue import load_recipe
from dialoguellm_release.schemas.corpus import Answer, Distribution
from dialoguellm_release.schemas.labels import CorpusName
from dialoguellm_release.schemas.recipes.dataset import DatasetRecipe
from tests.corpus_names import CORPORA

ALLOWED: Mapping[CorpusName, Distribution] = {
    "meld": "full",
    "emorynlp": "full",
    "dailydialog": "full",
    "meisd": "exclude",
    "iemocap": "exclude",
}


@pytest.mark.parametrize("name", CORPORA)
def test_the_registry_allows_what_is_known_and_no_more(name: CorpusName) -> None:
    entry = corpus_entry(name)
    assert entry.allowed == ALLOWED[name]
    for license_ in (entry.text_license, entry.label_license):
        assert license_.stated_in
        assert license_.redistribute in get_args(Answer)
        if license_.id.startswith("LicenseRef-"):
            assert license_.redistribute != "yes"
        assert license_.verified == (name not in ("dailydialog", "iemocap"))


@pytest.mark.parametrize(
    ("text", "labels", "allowed"),
    [
        ("yes", "yes", "full"),
        ("no", "yes", "standoff"),
        ("unknown", "yes", "standoff"),
        ("yes", "no", "exclude"),
        ("yes", "unknown", "exclude"),
        ("unknown", "unknown", "exclude"),
    ],
)
def test_in_doubt_less_leaves(text: Answer, labels: Answer, allowed: Distribution) -> None:
    entry = corpus_entry("meld")
    entry = entry.model_copy(
        update={
            "text_license": entry.text_license.model_copy(update={"redistribute": text}),
            "label_license": entry.label_license.model_copy(update={"redistribute": labels}),
        }
    )
    assert entry.allowed == allowed


@pytest.mark.parametrize("name", ["paper", "demo"])
def test_the_bundled_recipes_ask_for_all_that_may_leave_and_no_more(name: str) -> None:
    recipe = load_recipe(name, "dataset", DatasetRecipe).recipe
    assert {corpus: one.distribution for corpus, one in recipe.corpora.items()} == ALLOWED
    assert recipe.rights == {}
