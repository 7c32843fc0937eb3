"""No path through recipe, override, manifest or target lets a text leave that the registry keeps in."""

from __future__ import annotations

import json
import stat
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import pytest

from dialoguellm_release.cards.dataset import recipe_of
from dialoguellm_release.corpora.registry import corpus_entries, corpus_entry
from dialoguellm_release.errors import CardError, PublishError, RecipeError
from dialoguellm_release.hub import plan
from dialoguellm_release.hub.licenses import publishable_part
from dialoguellm_release.layout import data_file
from dialoguellm_release.recipes.catalogue import load_recipe
from dialoguellm_release.schemas.corpus import DISTRIBUTIONS, Distribution
from dialoguellm_release.schemas.labels import CorpusName
from dialoguellm_release.schemas.recipes.dataset import DatasetRecipe
from dialoguellm_release.schemas.release import Visibility
from tests.corpus_names import CORPORA
from tests.hub.codes import refuses
from tests.hub.rights import (
    DATASET,
    RIGHT,
    publish,
    rebuilt,
    refused,
    released,
    remade,
    repositories,
    with_dataset,
    with_rights,
)

if TYPE_CHECKING:
    from tests.hub.conftest import Build


@pytest.mark.parametrize("asked", ["full", "standoff"])
@pytest.mark.parametrize("visibility", ["public", "private"])
def test_more_than_the_registry_allows_is_refused_and_says_what_to_do(
    build: Build, target: Path, asked: Distribution, visibility: Visibility
) -> None:
    rebuilt(build, meisd=asked)
    (problem,) = refused(build, target, visibility)
    assert problem.startswith(
        f"{build.path / 'dataset'}: corpora.meisd.distribution: the recipe demo publishes more"
    )
    assert "text: LicenseRef-MEISD-none-found, may be redistributed: no" in problem
    assert "labels: LicenseRef-MEISD-none-found, may be redistributed: unknown" in problem
    assert "expected: exclude\n" in problem
    assert f"got: {asked}\n" in problem
    assert "--set corpora.meisd.distribution=exclude" in problem
    assert "rights.meisd" in problem


def test_a_right_counts_in_a_private_repository_only(build: Build, target: Path) -> None:
    rebuilt(build, meisd="full")
    with_rights(build, meisd=RIGHT)
    (problem,) = refused(build, target)
    assert (
        "rights.meisd counts in a private repository only: set dataset.visibility in the release" in problem
    )


def test_a_right_to_one_corpus_is_none_to_another(build: Build, target: Path) -> None:
    rebuilt(build, meisd="full")
    with_rights(build, iemocap=RIGHT)
    assert len(refused(build, target, "private")) == 1


@pytest.mark.parametrize("right", ["", "''", "' '", '"\\t\\n"', "{}", "[]", "true"])
def test_a_right_is_a_sentence(right: str) -> None:
    with pytest.raises(RecipeError, match=r"rights\.meisd"):
        load_recipe("demo", "dataset", DatasetRecipe, [f"rights.meisd={right}"])


def test_a_right_to_what_is_no_part_of_the_dataset_is_a_mistake() -> None:
    with pytest.raises(RecipeError, match="rights names what is not among the corpora: iemocap"):
        load_recipe("demo", "dataset", DatasetRecipe, ["corpora.iemocap=null", "rights.iemocap=mine"])


def test_an_empty_right_that_was_written_into_the_manifest_is_none(build: Build, target: Path) -> None:
    rebuilt(build, meisd="full")
    with_rights(build, meisd=" ")
    with pytest.raises(CardError, match=r"rights\.meisd"):
        publish(released(build, "private"), build.path, target)
    assert not repositories(target)


def test_with_the_right_a_private_repository_gets_the_text_and_shows_the_right(
    build: Build, target: Path
) -> None:
    rebuilt(build, meisd="full")
    with_rights(build, meisd=RIGHT)
    publish(released(build, "private"), build.path, target)
    repository = target / DATASET
    assert (repository / "data/meisd/test-clean-00000.parquet").is_file()
    for name in ("README.md", "LICENSE.md"):
        assert RIGHT in (repository / name).read_text(encoding="utf-8")
    assert stat.S_IMODE(repository.stat().st_mode) == 0o700
    again = publish(released(build, "private"), build.path, target)
    assert {one.state for one in again} == {"unchanged"}


def test_a_private_repository_does_not_become_public_nor_the_other_way(
    build: Build, target: Path, tmp_path: Path
) -> None:
    publish(build.recipe, build.path, target)
    with refuses("hub.other_visibility"):
        publish(released(build, "private"), build.path, target)
    private = tmp_path / "private"
    publish(released(build, "private"), build.path, private)
    for dry_run in (True, False):
        with refuses("hub.other_visibility") as caught:
            publish(build.recipe, build.path, private, dry_run=dry_run)
        assert caught.value.problems[0].where == str(private / DATASET)


def test_what_a_killed_private_release_wrote_does_not_become_public(
    build: Build, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> str:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("dialoguellm_release.hub.store_folder.GitRepository._write_tree", killed)
        with pytest.raises(KeyboardInterrupt):
            publish(released(build, "private"), build.path, target)
    with refuses("hub.other_visibility"):
        publish(build.recipe, build.path, target)


def test_of_every_recipe_only_what_is_allowed_leaves(build: Build) -> None:
    """All ways to ask for two corpora, with all rights, in both kinds of repository."""
    registry = {name: corpus_entry(name) for name in CORPORA}
    names: tuple[CorpusName, ...] = ("meld", "meisd")
    left = 0
    for meld, meisd, right, visibility in product(
        DISTRIBUTIONS, DISTRIBUTIONS, ((), ("meld",), ("meisd",), names), get_args(Visibility)
    ):
        rebuilt(build, meld=meld, meisd=meisd)
        with_rights(build, **dict.fromkeys(right, RIGHT))
        try:
            part = publishable_part(build.dataset, registry, visibility, build.path / "dataset")
        except PublishError:
            continue
        left += 1
        held = {one.corpus for file in part.outputs if (one := data_file(file.path))}
        assert part.published is not None
        for name, asked in zip(names, (meld, meisd), strict=True):
            may = name == "meld" or (visibility == "private" and name in right)
            assert (name in held) <= (asked == "full" and may)
            assert (name in part.published.standoff) <= (asked == "standoff" and may)
            assert (name in part.published.left_out) == (asked == "exclude")
    meld_alone = 2 * 4 * 2  # with text or without; rights that do not matter, and kinds of repository
    with_meisd = 3 * 2 * 2  # whatever of MELD; MEISD with text or without, in private, with the right or both
    assert left == meld_alone + with_meisd


def test_a_manifest_that_says_it_may_is_not_believed(build: Build, target: Path) -> None:
    corpora = dict(build.dataset.figures.corpora)
    corpora["meisd"] = corpora["meisd"].model_copy(update={"may_redistribute": True})
    remade(build, corpora=corpora)
    (problem,) = refused(build, target)
    assert "meisd: its manifest states another licence than the corpus file" in problem


def test_a_manifest_under_a_better_licence_is_not_believed(build: Build, target: Path) -> None:
    rebuilt(build, meisd="full")
    corpora = dict(build.dataset.figures.corpora)
    update = {"license": "CC0-1.0", "may_redistribute": True}
    corpora["meisd"] = corpora["meisd"].model_copy(update=update)
    remade(build, corpora=corpora)
    told, asked = refused(build, target)
    assert "got: CC0-1.0, may be redistributed: True" in told
    assert "publishes more of MEISD than its licences allow" in asked


def test_a_recipe_that_was_changed_in_the_manifest_is_noticed(build: Build, target: Path) -> None:
    resolved = build.dataset.recipe.resolved | {"rights": {"meisd": RIGHT}}
    remade(build, build.dataset.recipe.model_copy(update={"resolved": resolved}))
    (problem,) = refused(build, target, "private")
    assert "recipe demo: was changed after the build" in problem


def test_a_corpus_that_the_recipe_does_not_name_does_not_leave(build: Build, target: Path) -> None:
    remade(build, load_recipe("demo", "dataset", DatasetRecipe, ["corpora.meld=null"]).stamp)
    (problem,) = refused(build, target)
    assert "meld: is in the dataset, but not in its recipe" in problem


def test_a_build_from_before_a_licence_was_withdrawn_does_not_leave(
    build: Build, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = corpus_entry("meld")
    license_ = entry.text_license.model_copy(update={"redistribute": "no"})
    withdrawn = {**corpus_entries(), "meld": entry.model_copy(update={"text_license": license_})}
    monkeypatch.setattr(plan, "corpus_entries", lambda _recipe: withdrawn)
    told, asked = refused(build, target)
    assert "meld: its manifest states another licence than the corpus file" in told
    assert "expected: exclude or standoff\n" in asked


def test_a_recipe_that_lets_no_text_leave_makes_no_repository(build: Build, target: Path) -> None:
    rebuilt(build, meld="exclude")
    (problem,) = refused(build, target)
    assert "its recipe publishes no corpus" in problem


def test_a_published_copy_is_not_published_again(build: Build, target: Path, tmp_path: Path) -> None:
    publish(build.recipe, build.path, target)
    recipe = with_dataset(build.recipe, folder=DATASET).model_copy(update={"adapters": (), "backbones": ()})
    with refuses("licenses.already_published"):
        publish(recipe, target, tmp_path / "other")


def test_a_corpus_of_which_a_recipe_says_nothing_does_not_leave(build: Build) -> None:
    resolved = json.loads(json.dumps(build.dataset.recipe.resolved))
    del resolved["corpora"]["meld"]["distribution"]
    stamp = build.dataset.recipe.model_copy(update={"resolved": resolved})
    recipe = recipe_of(build.dataset.model_copy(update={"recipe": stamp}), DatasetRecipe)
    assert recipe.corpora["meld"].distribution == "exclude"
