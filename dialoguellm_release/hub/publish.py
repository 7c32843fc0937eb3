"""Publishes a release: planned whole, checked, then sent to its target."""

from __future__ import annotations

from pathlib import Path

from dialoguellm_release.errors import Problem, PublishError
from dialoguellm_release.hub.folder import publish_to_folder
from dialoguellm_release.hub.plan import plan_release
from dialoguellm_release.hub.planned import PublishedRepository
from dialoguellm_release.hub.verdicts import problems_of
from dialoguellm_release.schemas.recipes.release import ReleaseRecipe

HUB = "hub"


def target_folder(to: str) -> Path:
    """The folder that `--to` names.

    Raises:
        PublishError: It names the Hub.
    """
    if to == HUB:
        raise PublishError(
            Problem(
                "--to hub",
                "this version publishes to a folder only",
                expected="--to DIR",
                fix="a folder that is called hub is ./hub",
            )
        )
    return Path(to)


def publish_release(
    recipe: ReleaseRecipe, build: Path, target: Path, *, dry_run: bool = False
) -> list[PublishedRepository]:
    """What became of each repository of a release.

    Args:
        build: Holds the folders that the recipe names (`--from`).
        target: Holds the repositories; made where it is not there.
        dry_run: Plan and compare, write nothing.

    Raises:
        PublishError: Something is missing, not fit to be published, or refused by the target.
        CardError: A folder was made by a recipe of another version.
    """
    plan = plan_release(recipe, build)
    problems = problems_of(plan.verdicts)
    if problems:
        raise PublishError(problems)
    return publish_to_folder(plan.repositories, target, recipe.tag, recipe.changelog, dry_run)
