"""A release next to what its target holds: what is to be done in each repository, and every verdict on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dialoguellm_release.cards.check import CARD
from dialoguellm_release.cards.merge import split_card
from dialoguellm_release.errors import Problem
from dialoguellm_release.hub.changes import FileChange, changes, placed, refusals
from dialoguellm_release.hub.plan import plan_release
from dialoguellm_release.hub.planned import PlannedFile, PlannedRepository
from dialoguellm_release.hub.publication import Publication, PublishedRepository
from dialoguellm_release.hub.targets import Standing, Target, TargetRepository
from dialoguellm_release.hub.verdicts import Verdict, verdict_on
from dialoguellm_release.schemas.recipes.release import ReleaseRecipe
from dialoguellm_release.schemas.release import RepositoryName


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


def compare_release(recipe: ReleaseRecipe, build: Path, target: Target) -> tuple[list[Step], list[Verdict]]:
    """The steps of a release in the order of the graph, and every verdict on them; nothing is written."""
    found = {name: target.repository(name) for name in recipe.in_order()}
    standings = {name: one.look(recipe.tag) for name, one in found.items()}
    cards = {name: one.card for name, one in standings.items() if one and one.card is not None}
    plan = plan_release(recipe, build, cards)
    steps, commits = list[Step](), dict[RepositoryName, str]()
    for planned in plan.repositories:
        files, standing = planned.files_at(commits), standings[planned.name]
        commit = placed(files, standing)
        if commit:
            commits[planned.name] = commit
        steps.append(Step(planned, found[planned.name], standing, files, commit))
    problems = [problem for step in steps for problem in step.refusals(recipe.tag)]
    return steps, [*plan.verdicts, verdict_on("target", problems, "tags, and what others changed there")]


def publication(tag: str, steps: Sequence[Step], verdicts: Sequence[Verdict]) -> Publication:
    """What the steps of a release are to do."""
    return Publication(tag, tuple(_published(tag, step) for step in steps), tuple(verdicts))


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
