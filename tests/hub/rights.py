"""Builds whose recipes and manifests ask for more or less than the licences allow, and their release."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest
from pydantic import JsonValue

from dialoguellm_release.errors import PublishError
from dialoguellm_release.folders import canonical_json, sha256_of_text, stamps, write_manifest
from dialoguellm_release.hub.checks import problems_of
from dialoguellm_release.hub.publish import Published, publish_release
from dialoguellm_release.hub.store_folder import FolderStore
from dialoguellm_release.recipes.catalogue import load_recipe
from dialoguellm_release.schemas.corpus import Distribution
from dialoguellm_release.schemas.manifests import RecipeStamp
from dialoguellm_release.schemas.recipes.dataset import DatasetRecipe
from dialoguellm_release.schemas.release import ReleaseRecipe, Visibility

if TYPE_CHECKING:
    from tests.hub.conftest import Build


DATASET = "datasets/dialoguellm/instructions"
RIGHT = "The authors of MEISD allowed it by letter."


def rebuilt(build: Build, **asked: Distribution) -> None:
    """Makes the build one of a recipe that asks for something else."""
    settings = [f"corpora.{name}.distribution={one}" for name, one in asked.items()]
    remade(build, load_recipe("demo", "dataset", DatasetRecipe, settings).stamp)


def with_rights(build: Build, **rights: str) -> None:
    resolved = build.dataset.recipe.resolved | {"rights": cast("JsonValue", rights)}
    sha256 = sha256_of_text(canonical_json(dict(resolved)))
    remade(build, RecipeStamp(name="demo", sha256=sha256, resolved=resolved))


def remade(build: Build, recipe: RecipeStamp | None = None, **figures: object) -> None:
    """Writes a manifest that fits recipe and files, with other figures where they are given."""
    folder = build.path / "dataset"
    whole = build.dataset
    whole = whole.model_copy(
        update={
            "recipe": recipe or whole.recipe,
            "figures": whole.figures.model_copy(update=figures),
            "outputs": stamps(folder),
        }
    )
    write_manifest(folder, whole)


def released(build: Build, visibility: Visibility) -> ReleaseRecipe:
    return with_dataset(build.recipe, visibility=visibility)


def with_dataset(recipe: ReleaseRecipe, **update: object) -> ReleaseRecipe:
    """A release whose dataset repository is another one."""
    assert recipe.dataset is not None
    return recipe.model_copy(update={"dataset": recipe.dataset.model_copy(update=update)})


def publish(
    recipe: ReleaseRecipe, build: Path, target: Path, *, dry_run: bool = False
) -> tuple[Published, ...]:
    """A release to a folder; what a dry run finds wrong is raised as the real run does."""
    done = publish_release(recipe, build, FolderStore(target), dry_run=dry_run)
    if problems := problems_of(done.checks):
        raise PublishError(problems)
    return done.repositories


def repositories(target: Path) -> list[Path]:
    """What a release left behind, but for the file that locks the folder."""
    return [path for path in target.glob("*") if path.is_dir()]


def refused(build: Build, target: Path, visibility: Visibility = "public") -> list[str]:
    """The problems of a release; a dry run names the same, and neither leaves anything behind."""
    said = []
    for dry_run in (True, False):
        with pytest.raises(PublishError) as caught:
            publish(released(build, visibility), build.path, target, dry_run=dry_run)
        said.append([str(problem) for problem in caught.value.problems])
        assert not repositories(target)
    assert said[0] == said[1]
    return said[0]
