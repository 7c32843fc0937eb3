"""The steps that publish a release and verify a published one."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dialoguellm_release.hub.checks import problems_of as problems_of
from dialoguellm_release.hub.store import UNFINISHED as UNFINISHED
from dialoguellm_release.recipes.catalogue import load_recipe
from dialoguellm_release.schemas.release import ReleaseRecipe
from dialoguellm_release.step import BUILD, StrPath

if TYPE_CHECKING:
    from dialoguellm_release.hub.checks import Check as Check
    from dialoguellm_release.hub.publish import Publication as Publication
    from dialoguellm_release.hub.publish import Published as Published
    from dialoguellm_release.hub.store import Collected as Collected
    from dialoguellm_release.hub.verify import Verified as Verified


def publish(
    recipe: StrPath,
    build: StrPath = BUILD,
    to: StrPath = "build/release",
    *,
    only: Sequence[str] = (),
    dry_run: bool = False,
    approve: Callable[[Publication], bool] | None = None,
) -> Publication:
    """Publishes a release.

    Args:
        recipe: Name of a bundled release recipe, or a path.
        build: Holds the folders that the recipe names.
        to: `hub`, or a folder; each repository is a git repository below it.
        only: Publish these alone, by key of the recipe (`dataset`, `adapters`), name or id; empty for all.
            What they were made from must be published already, under the tag of the release.
        dry_run: Plan and compare, write nothing; problems are in the checks.
        approve: Called with the plan before anything is written; None publishes without asking.

    Returns:
        What was or would be done with each repository, and what the checks found.

    Raises:
        PublishError: Something is missing, not fit to be published, or refused by the target.

    Example:
        >>> publish("demo", "build/demo", "build/release", dry_run=True)  # doctest: +SKIP
    """
    from dialoguellm_release.hub.publish import publish_release
    from dialoguellm_release.hub.store import open_store

    loaded = load_recipe(os.fspath(recipe), "release", ReleaseRecipe)
    store = open_store(os.fspath(to))
    return publish_release(loaded.recipe, Path(build), store, only=only, dry_run=dry_run, approve=approve)


def verify_release(
    what: StrPath, at: StrPath = "hub", *, sample: int = 32, saved: StrPath | None = None
) -> list[Verified]:
    """Verifies a published repository, or all of a release; nothing is written except caches.

    Args:
        what: `owner/name@v1.0.0`, a folder, or the name or path of a release recipe for all of it.
        at: `hub`, or a folder that was published to.
        sample: How many records of each score folder are scored again; 0 for none.
        saved: A `release.json` that was saved before; None for none.

    Returns:
        What was found of each repository.

    Raises:
        DataError: `what` is ambiguous, or the saved file is not a `release.json`.
        PublishError: The Hub cannot be reached or does not answer.
        RecipeError: There is no such release recipe.

    Example:
        >>> verify_release("demo", "build/release")  # doctest: +SKIP
    """
    from dialoguellm_release.hub import verify

    return verify.verify_release(
        os.fspath(what), os.fspath(at), sample=sample, saved=Path(saved) if saved else None
    )
