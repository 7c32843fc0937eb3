"""What a release needs of its build folder, named all at once where it is not there."""

from __future__ import annotations

from pathlib import Path

import pytest

from dialoguellm_release.errors import PublishError
from dialoguellm_release.hub.plan import read_sources
from dialoguellm_release.recipes.catalogue import load_recipe
from dialoguellm_release.schemas.release import ReleaseRecipe


def test_the_release_of_the_paper_names_everything_that_is_missing(tmp_path: Path) -> None:
    recipe = load_recipe("v1", "release", ReleaseRecipe).recipe
    with pytest.raises(PublishError) as caught:
        read_sources(recipe, tmp_path)
    missing = {problem.where: problem.fix for problem in caught.value.problems}
    folders = ["dataset", *(one.folder for one in recipe.adapters)]
    folders += [score for one in recipe.adapters for score in one.scores]
    assert set(missing) == {str(tmp_path / folder) for folder in folders}
    adapter, score = tmp_path / "adapters/llama-2-7b", tmp_path / "scores/emorynlp-llama-2-7b"
    assert missing[str(score)] == f"dlm-release score run emorynlp --adapter {adapter} --out {score}"
    assert missing[str(adapter)] == f"dlm-release adapter train llama-2-7b --out {adapter}"


def test_every_adapter_of_a_bundled_release_rests_on_its_dataset_and_metric() -> None:
    for name in ("demo", "v1"):
        recipe = load_recipe(name, "release", ReleaseRecipe).recipe
        assert recipe.adapters
        for adapter in recipe.adapters:
            assert {"datasets/dialoguellm/instructions", "spaces/dialoguellm/erc_scores"} <= set(
                adapter.depends_on
            )
            assert recipe.in_order().index(adapter.repo_id) > recipe.in_order().index(
                "datasets/dialoguellm/instructions"
            )


@pytest.mark.parametrize("tag", ["v1", "1.0.0", "v01.0.0", "v1.0.0-", "v1.0.0 ", "latest"])
def test_a_tag_is_a_semantic_version(tag: str) -> None:
    recipe = load_recipe("demo", "release", ReleaseRecipe).recipe
    for good in ("v0.1.0", "v10.20.30", "v1.0.0-rc.1"):
        assert ReleaseRecipe.model_validate({**recipe.model_dump(), "tag": good}).tag == good
    with pytest.raises(ValueError, match="tag"):
        ReleaseRecipe.model_validate({**recipe.model_dump(), "tag": tag})
