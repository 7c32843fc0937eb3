"""A release next to what its target holds: what is to be done in each repository, and every verdict on it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dialoguellm_release.cards.check import CARD
from dialoguellm_release.cards.merge import split_card
from dialoguellm_release.errors import Problem
from dialoguellm_release.hub.changes import FileChange, changes, placed, refusals
from dialoguellm_release.hub.others import Other, links_to
from dialoguellm_release.hub.plan import plan_release
from dialoguellm_release.hub.planned import PlannedFile, PlannedRepository
from dialoguellm_release.hub.publication import Collected, Publication, PublishedRepository
from dialoguellm_release.hub.selection import part_of
from dialoguellm_release.hub.targets import CollectionPage, Standing, Target, TargetRepository
from dialoguellm_release.hub.verdicts import Verdict, verdict_on
from dialoguellm_release.schemas.recipes.release import ReleaseRecipe
from dialoguellm_release.schemas.release import Link, RepositoryName


@dataclass(frozen=True)
class Step:
    """What a release does in one repository.

    Attributes:
        files: As far as they are known: a dependant names a commit that is not made yet by `UNKNOWN_COMMIT`.
        commit: That already holds the files; None where one is to be made.
    """

    planned: PlannedRepository
    at: TargetRepository
    standing: Standing | None
    files: Mapping[str, PlannedFile]
    commit: str | None

    @property
    def is_tagged(self) -> bool:
        """Whether the tag of the release is there."""
        return self.standing is not None and self.standing.tagged is not None

    @property
    def parent(self) -> str | None:
        """The commit that the branch stands on."""
        return self.standing.head if self.standing else None

    def changes(self, files: Mapping[str, PlannedFile]) -> tuple[FileChange, ...]:
        """What a commit of these files does on top of the branch."""
        return changes(files, self.standing.files if self.standing else {})

    def refusals(self, tag: str) -> list[Problem]:
        """Why the release may not do it."""
        return [
            *refusals(self.planned, self.files, self.standing, self.at.where, tag),
            *self.at.refusals(self.standing, list(self.files)),
        ]

    def card_metadata(self) -> Mapping[str, object]:
        """The metadata of the planned card; empty where there is no card."""
        if CARD not in self.files:
            return {}
        content = self.files[CARD].content
        text = content.decode() if isinstance(content, bytes) else content.read_text(encoding="utf-8")
        return split_card(text)[0]


@dataclass(frozen=True)
class Comparison:
    """A release next to what its target holds.

    Attributes:
        steps: In the order of the graph.
        verdicts: Every one on them.
        others: The repositories that are left alone, but whose commits are named, by their names.
    """

    steps: Sequence[Step]
    verdicts: Sequence[Verdict]
    others: Mapping[RepositoryName, Link]


def compare_release(
    recipe: ReleaseRecipe, build: Path, target: Target, names: Collection[RepositoryName]
) -> Comparison:
    """The steps of a release, and every verdict on them; nothing is written.

    Args:
        names: The repositories to publish.
    """
    part = part_of(recipe, names)
    found = {name: target.repository(name) for name in part.in_order()}
    standings = {name: one.look(recipe.tag) for name, one in found.items()}
    cards = {name: one.card for name, one in standings.items() if one and one.card is not None}
    plan = plan_release(part, build, cards, names)
    others, missing = links_to(
        [
            Other(name, needed_by, held, found[name], standings[name])
            for name, held in plan.others.items()
            if (needed_by := [one.name for one in plan.repositories if name in one.depends_on])
        ],
        recipe.tag,
    )
    steps, commits = list[Step](), {name: link.commit for name, link in others.items()}
    for planned in plan.repositories:
        files, standing = planned.files_at(commits), standings[planned.name]
        commit = placed(files, standing)
        if commit:
            commits[planned.name] = commit
        steps.append(Step(planned, found[planned.name], standing, files, commit))
    problems = [problem for step in steps for problem in step.refusals(recipe.tag)]
    verdicts = [*plan.verdicts, verdict_on("target", problems, "tags, and what others changed there")]
    if plan.others:
        verdicts.append(verdict_on("others", missing, f"left as they are: {', '.join(plan.others)}"))
    return Comparison(steps, verdicts, others)


def publication(recipe: ReleaseRecipe, compared: Comparison, page: CollectionPage | None) -> Publication:
    """What the steps of a release are to do.

    Args:
        page: Of its collection; None where there is none, or it is not to be shown.
    """
    repositories = tuple(_published(recipe.tag, step) for step in compared.steps)
    return Publication(
        tag=recipe.tag,
        repositories=repositories,
        verdicts=tuple(compared.verdicts),
        others=tuple(compared.others.values()),
        collection=_collected(recipe, page, [one.name for one in repositories]) if page else None,
    )


def _collected(recipe: ReleaseRecipe, page: CollectionPage, names: Sequence[RepositoryName]) -> Collected:
    assert recipe.collection is not None
    listed = page.listed or frozenset()
    added = tuple(name for name in names if name not in listed)
    return Collected(recipe.collection.title, page.where, page.listed is None, added)


def _published(tag: str, step: Step) -> PublishedRepository:
    return PublishedRepository(
        name=step.planned.name,
        where=step.at.where,
        tag=tag,
        is_new=step.standing is None,
        visibility=step.planned.visibility,
        gated=step.planned.gated,
        license=_as_text(step.card_metadata().get("license")),
        size=sum(file.size for file in step.files.values()),
        changes=changes(step.files, step.standing.tagged_files)
        if step.standing and step.is_tagged
        else step.changes(step.files),
        commit=step.commit,
        state="unchanged" if step.commit else "committed",
    )


def _as_text(value: object) -> str | None:
    """A value of a card's metadata, which may be a list."""
    if value is None:
        return None
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
