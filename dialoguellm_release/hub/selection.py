"""Which repositories of a release a run publishes: all of them, or those that are named."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from dialoguellm_release.errors import Problem, PublishError
from dialoguellm_release.schemas.recipes.release import ReleaseRecipe, Repository
from dialoguellm_release.schemas.release import RepositoryName, RepoType, repository_name


def chosen(recipe: ReleaseRecipe, only: Sequence[str]) -> tuple[RepositoryName, ...]:
    """The names of the repositories to publish, each after all that it depends on.

    Args:
        only: Keys of the recipe (`dataset`, `backbones`, `adapters`, `spaces`), names or ids of repositories;
            empty for all.

    Raises:
        PublishError: With every word that names none of them.
    """
    named = _words(recipe)
    known = ", ".join(named)
    problems = [
        Problem(f"--only {word}", "names no repository of this release", expected=known)
        for word in only
        if word not in named
    ]
    if problems:
        raise PublishError(problems, outcome="nothing was changed")
    picked = {name for word in only for name in named[word]} or recipe.repositories
    return tuple(name for name in recipe.in_order() if name in picked)


def part_of(recipe: ReleaseRecipe, names: Collection[RepositoryName]) -> ReleaseRecipe:
    """The release of some repositories and of all that they were made from.

    Wherever an adapter is, the dataset is as well: whether the one was trained on the other is always
    looked at.
    """
    wanted = _with_origins(recipe, names)
    dataset = recipe.dataset
    if dataset and not wanted & {*_names("dataset", [dataset]), *_names("model", recipe.adapters)}:
        dataset = None
    return recipe.model_copy(
        update={
            "dataset": dataset,
            "backbones": tuple(one for one in recipe.backbones if one.repo_id in wanted),
            "adapters": tuple(one for one in recipe.adapters if one.repo_id in wanted),
            "spaces": tuple(one for one in recipe.spaces if repository_name("space", one.repo_id) in wanted),
        }
    )


def _with_origins(recipe: ReleaseRecipe, names: Iterable[RepositoryName]) -> set[RepositoryName]:
    wanted, pending = set[RepositoryName](), list(names)
    while pending:
        name = pending.pop()
        wanted.add(name)
        pending += recipe.repositories[name].depends_on
    return wanted


def _words(recipe: ReleaseRecipe) -> dict[str, list[RepositoryName]]:
    """What each word names; an id alone is that of a model where there is one, as on the Hub."""
    keys = {
        "dataset": _names("dataset", [recipe.dataset] if recipe.dataset else []),
        "backbones": _names("model", recipe.backbones),
        "adapters": _names("model", recipe.adapters),
        "spaces": _names("space", recipe.spaces),
    }
    names = {name: [name] for name in recipe.repositories}
    ids = {one.repo_id: [name] for name, one in recipe.repositories.items() if one.repo_id not in names}
    return {key: held for key, held in keys.items() if held} | names | ids


def _names(repo_type: RepoType, repositories: Sequence[Repository]) -> list[RepositoryName]:
    return [repository_name(repo_type, one.repo_id) for one in repositories]
