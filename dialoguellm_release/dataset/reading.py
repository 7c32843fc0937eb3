"""What a dataset is built from: the dialogues of its corpora with their splits, and video descriptions."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import JsonValue

from dialoguellm_release.corpora.notes import Notes
from dialoguellm_release.corpora.registry import CorpusFolders
from dialoguellm_release.dataset.records import HeldDialogue, SplitTotals
from dialoguellm_release.dataset.splits import Drawable, draw_split, read_split, series_table
from dialoguellm_release.errors import DataError, Problem, ReleaseError
from dialoguellm_release.folders import stamp
from dialoguellm_release.leakage.leaks import word_for_word
from dialoguellm_release.leakage.shared import find_shared
from dialoguellm_release.leakage.turns import TurnCollector, Turns
from dialoguellm_release.recipes.load import Loaded
from dialoguellm_release.schemas.counts import Sizes
from dialoguellm_release.schemas.dataset_manifest import VideoProvenance
from dialoguellm_release.schemas.labels import CorpusName, Split
from dialoguellm_release.schemas.recipes.dataset import CorpusRecipe, DatasetRecipe, SplitDraw
from dialoguellm_release.schemas.record import Dialogue

ReadCorpus = Callable[[CorpusName, CorpusRecipe, Notes], Iterator[Dialogue]]
"""Gives the dialogues of a corpus; fills the notes while they are read."""


@dataclass
class CorpusContent:
    """What is read of one corpus.

    Attributes:
        notes: Its files, and what was noticed in them.
        dialogues: In the order of its files.
        undrawn: The dialogues to which the corpus gives no split.
        assigned: The split of each of them by its id; one that is not here is left out.
        draw: How they were drawn, for the manifest; None where nothing had to be.
        totals: What was written of each split.
    """

    notes: Notes = field(default_factory=Notes)
    dialogues: list[HeldDialogue] = field(default_factory=list)
    undrawn: list[Drawable] = field(default_factory=list)
    assigned: dict[str, Split] = field(default_factory=dict)
    draw: dict[str, JsonValue] | None = None
    totals: dict[Split, SplitTotals] = field(default_factory=dict)

    def split_of(self, dialogue: HeldDialogue) -> Split | None:
        """The split of a dialogue; None where it is left out."""
        return dialogue.split or self.assigned.get(dialogue.id)

    @property
    def sizes(self) -> dict[Split, Sizes]:
        """How much was written of each split."""
        return {
            split: Sizes(dialogues=one.dialogues, utterances=len(one.digests))
            for split, one in self.totals.items()
        }

    @property
    def unused(self) -> Sizes:
        """What is left out."""
        left = [one for one in self.undrawn if one.id not in self.assigned]
        return Sizes(dialogues=len(left), utterances=sum(one.utterances for one in left))


def read_corpora(
    named: Mapping[CorpusName, CorpusRecipe],
    recipe: DatasetRecipe,
    folders: CorpusFolders,
    read: ReadCorpus,
    advance: Callable[[int], None],
) -> tuple[Turns, dict[CorpusName, CorpusContent]]:
    """The turns of all corpora that go into the dataset, and the content of each.

    Args:
        named: The corpora to read, in this order.
        folders: Where the split file of each corpus is.
        advance: Called with the number of dialogues that were read.

    Raises:
        DataError: With everything that is wrong in the corpora.
    """
    collector, contents, problems = TurnCollector(named), dict[CorpusName, CorpusContent](), list[Problem]()
    for name, corpus in named.items():
        contents[name] = content = CorpusContent()
        try:
            for dialogue in read(name, corpus, content.notes):
                content.dialogues.append(HeldDialogue.of(dialogue))
                _collect(dialogue, recipe, content, collector)
                advance(1)
        except ReleaseError as error:
            problems.extend(error.problems)
    if problems:
        raise DataError(problems)
    for name, corpus in named.items():
        if contents[name].undrawn:
            assert corpus.split is not None
            _assign(name, corpus.split, folders[name], contents[name], collector)
    return collector.turns(), contents


def _collect(
    dialogue: Dialogue, recipe: DatasetRecipe, content: CorpusContent, collector: TurnCollector
) -> None:
    """Adds a dialogue to the turns; one without a split as a held-out one, until its split is drawn."""
    if dialogue.split is None:
        content.undrawn.append(Drawable(dialogue.id, dialogue.series, len(dialogue.utterances)))
    basic7, context_k = recipe.basic7, recipe.context_k
    turns = (
        (one.index, one.text, basic7.get(one.label, one.label), min(position, context_k))
        for position, one in enumerate(dialogue.utterances)
    )
    collector.add(dialogue.corpus, dialogue.split or "test", dialogue.id, turns)


def _assign(
    name: CorpusName, draw: SplitDraw, source: Path, content: CorpusContent, collector: TurnCollector
) -> None:
    """Gives the dialogues of a corpus their splits, from a file or drawn.

    No dialogue is held out that shares something word for word with a training split, or is the same
    sequence of utterances as a dialogue there, however short: others can be drawn instead.
    """
    if draw.split_file is not None:
        path = source / draw.split_file
        content.assigned = read_split(path, content.undrawn)
        stamped = stamp(path, source)
        content.notes.files.append(stamped.model_copy(update={"path": f"{name}/{stamped.path}"}))
        drawn: dict[str, JsonValue] = {"split_file": draw.split_file}
    else:
        shared = find_shared(collector.turns())
        barred = shared.speech.where(word_for_word(shared, min_dialogue=1) != 0).dialogues_of(name)
        content.assigned = draw_split(content.undrawn, draw, lambda one: one.id not in barred)
        drawn = {"seed": draw.seed, "barred_from_held_out": len(barred)}
    content.draw = {**drawn, "dialogues": series_table(content.undrawn, content.assigned)}
    collector.assign(name, content.assigned)


def arranged(
    loaded: Loaded[DatasetRecipe], texts: Mapping[str, str], provenance: VideoProvenance | None
) -> tuple[Mapping[str, str], VideoProvenance | None]:
    """Descriptions by record id as the recipe wants them, with a provenance that says so.

    Args:
        texts: Descriptions by the id of the record that they belong to.
        provenance: None where no video folder was given.

    Raises:
        DataError: The recipe needs descriptions, and there are none.
    """
    use = loaded.recipe.video
    if use is not None and provenance is None:
        what = f"the recipe {loaded.name} needs video descriptions"
        fix = "name the folder that `dlm-release video describe` made"
        raise DataError(Problem("--video", what, fix=fix, code="dataset.no_descriptions"))
    if use is None or use.shuffle_seed is None or provenance is None:
        return texts, provenance
    shuffled_by = provenance.model_copy(update={"shuffle_seed": use.shuffle_seed})
    return shuffled(texts, use.shuffle_seed), shuffled_by


def shuffled(texts: Mapping[str, str], seed: int) -> dict[str, str]:
    """Each description at another record of the same corpus and split; one that is alone there stays.

    Why a turn of a shuffled circle, and no plain shuffle: that leaves some where they were.
    """
    groups: defaultdict[str, list[str]] = defaultdict(list)
    for name in sorted(texts):
        corpus, split, *_ = name.split("/")
        groups[f"{corpus}/{split}"].append(name)
    moved = {}
    for group, names in groups.items():
        random.Random(f"{seed} {group}").shuffle(names)
        moved.update({name: texts[other] for name, other in zip(names, [*names[1:], names[0]], strict=True)})
    return moved
