"""The first pass over the corpora: their turns for the ledger, and the draw of splits that are not there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import JsonValue

from dialoguellm_release.corpora.notes import Notes
from dialoguellm_release.corpora.registry import CorpusFolders
from dialoguellm_release.dataset.splits import Drawable, draw_split, read_split, series_table
from dialoguellm_release.errors import DataError, Problem, ReleaseError
from dialoguellm_release.folders import stamp
from dialoguellm_release.leakage.leaks import word_for_word
from dialoguellm_release.leakage.shared import find_shared
from dialoguellm_release.leakage.turns import TurnCollector, Turns
from dialoguellm_release.schemas.counts import Sizes
from dialoguellm_release.schemas.labels import CorpusName, Split
from dialoguellm_release.schemas.recipes.dataset import CorpusRecipe, DatasetRecipe, SplitDraw
from dialoguellm_release.schemas.record import Dialogue

ReadCorpus = Callable[[CorpusName, CorpusRecipe, Notes], Iterator[Dialogue]]
"""Gives the dialogues of a corpus, each time from the start; fills the notes while they are read."""


@dataclass
class CorpusSurvey:
    """What the first pass learns of a corpus.

    Attributes:
        undrawn: Its dialogues, where it has no split of its own.
        assigned: The split of each of them by its id; one that is not here is left out.
        draw: How they were drawn, for the manifest; None where nothing had to be.
    """

    notes: Notes = field(default_factory=Notes)
    undrawn: list[Drawable] = field(default_factory=list)
    assigned: dict[str, Split] = field(default_factory=dict)
    draw: dict[str, JsonValue] | None = None

    def split_of(self, dialogue: Dialogue) -> Split | None:
        """The split of a dialogue; None where it is left out."""
        return dialogue.split or self.assigned.get(dialogue.id)

    @property
    def unused(self) -> Sizes:
        """What is left out."""
        left = [one for one in self.undrawn if one.id not in self.assigned]
        return Sizes(dialogues=len(left), utterances=sum(one.utterances for one in left))


def survey_corpora(
    named: Mapping[CorpusName, CorpusRecipe],
    recipe: DatasetRecipe,
    folders: CorpusFolders,
    read: ReadCorpus,
    advance: Callable[[int], None],
) -> tuple[Turns, dict[CorpusName, CorpusSurvey]]:
    """The turns of all corpora, and what is known of each.

    `Turns.place` counts the utterances as they are read, also those of dialogues that are left out.

    Args:
        named: The corpora to read, in this order.
        folders: Where the split file of each corpus is.
        advance: Told how many dialogues are read more.

    Raises:
        DataError: With everything that is wrong in the corpora.
    """
    collector, surveys, problems = TurnCollector(named), dict[CorpusName, CorpusSurvey](), list[Problem]()
    for name, corpus in named.items():
        surveys[name] = survey = CorpusSurvey()
        try:
            for dialogue in read(name, corpus, survey.notes):
                _collect(dialogue, recipe, survey, collector)
                advance(1)
        except ReleaseError as error:
            problems.extend(error.problems)
    if problems:
        raise DataError(problems)
    for name, corpus in named.items():
        if surveys[name].undrawn:
            assert corpus.split is not None
            _assign(name, corpus.split, folders[name], surveys[name], collector)
    return collector.turns(), surveys


def _collect(
    dialogue: Dialogue, recipe: DatasetRecipe, survey: CorpusSurvey, collector: TurnCollector
) -> None:
    """Takes up a dialogue; one without a split as a held-out one, until its split is drawn."""
    if dialogue.split is None:
        survey.undrawn.append(Drawable(dialogue.id, dialogue.series, len(dialogue.utterances)))
    where = (dialogue.corpus, dialogue.split or "test", dialogue.id)
    for position, one in enumerate(dialogue.utterances):
        label = recipe.basic7.get(one.label, one.label)
        collector.add(*where, one.index, one.text, label, min(position, recipe.context_k))


def _assign(
    name: CorpusName, draw: SplitDraw, source: Path, survey: CorpusSurvey, collector: TurnCollector
) -> None:
    """Gives the dialogues of a corpus their splits, from a file or drawn.

    None is drawn to be held out that shares something word for word with a training split, or is the same
    sequence of utterances as a dialogue there, however short: others can be drawn in its place.
    """
    if draw.split_file is not None:
        path = source / draw.split_file
        survey.assigned = read_split(path, survey.undrawn)
        stamped = stamp(path, source)
        survey.notes.files.append(stamped.model_copy(update={"path": f"{name}/{stamped.path}"}))
        told: dict[str, JsonValue] = {"split_file": draw.split_file}
    else:
        shared = find_shared(collector.turns())
        barred = shared.speech.where(word_for_word(shared, min_dialogue=1) != 0).dialogues_of(name)
        survey.assigned = draw_split(survey.undrawn, draw, lambda one: one.id not in barred)
        told = {"seed": draw.seed, "barred_from_held_out": len(barred)}
    survey.draw = {**told, "dialogues": series_table(survey.undrawn, survey.assigned)}
    collector.assign(name, survey.assigned)
