"""The records that a score recipe selects, the protocol, and the answers of a system."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from dialoguellm_release.errors import DataError, Problem
from dialoguellm_release.folders import read_manifest, sha256_of_text
from dialoguellm_release.layout import CLEAN_CONFIG
from dialoguellm_release.prompts import Prompt
from dialoguellm_release.records import read_records
from dialoguellm_release.schemas.dataset_manifest import DatasetManifest
from dialoguellm_release.schemas.labels import Label
from dialoguellm_release.schemas.recipes.score import ScoreRecipe
from dialoguellm_release.schemas.record import Record
from dialoguellm_release.schemas.scores import (
    FewShotRule,
    LeakPolicy,
    Protocol,
    ScorerName,
    SelectedOn,
    ServedFigures,
    System,
)
from dialoguellm_release.scoring.answers import Answer


@dataclass(frozen=True)
class Scored:
    """The answers of one system.

    Attributes:
        split: Every record of the split, in the order of the dataset; the first of them were scored.
        chances: The probability of each label where answers are drawn at random.
        examples: The examples in the prompt of each record, by its id; empty for prompts without.
        served: How the answers of a server could be read; None for what ran here.
        temperature: Of the calibration of the adapter, for the probabilities of this scorer; None for none.
    """

    split: Sequence[Record]
    answers: Sequence[Answer]
    protocol: Protocol
    system: System
    truncated_records: int = 0
    chances: Mapping[Label, float] = field(default_factory=dict)
    examples: Mapping[str, Sequence[Record]] = field(default_factory=dict)
    served: ServedFigures | None = None
    temperature: float | None = None

    @property
    def records(self) -> Sequence[Record]:
        """The records that were scored."""
        return self.split[: len(self.answers)]


@dataclass(frozen=True)
class Task:
    """The records that a recipe wants scored, and the labels to choose from.

    Attributes:
        split: Every record of the split; `records` the ones to score.
    """

    settings: ScoreRecipe
    dataset: DatasetManifest
    split: Sequence[Record]
    records: Sequence[Record]
    labels: tuple[Label, ...]


def read_task(settings: ScoreRecipe, dataset: Path) -> Task:
    """The task that a recipe sets on a dataset folder."""
    built = read_manifest(dataset, DatasetManifest)
    split = list(read_records(dataset, settings.corpus, settings.split))
    labels = built.figures.corpora[settings.corpus].label_space
    check_references(split, labels)
    return Task(settings, built, split, list(islice(split, settings.max_records)), labels)


@dataclass(frozen=True)
class Asked:
    """How a language model was asked.

    Attributes:
        has_context: Whether the prompt shows the context that the dataset has.
        examples: What a prompt shows as examples; None for none.
    """

    prompt_sha256: str
    scorer: ScorerName
    has_context: bool
    examples: ShownExamples | None = None


@dataclass(frozen=True)
class ShownExamples:
    """The examples in prompts, as the protocol states them.

    Attributes:
        ids: Every record that is an example.
        sha256: Of which record is shown which examples, in which order.
    """

    shots: int
    rule: FewShotRule
    ids: tuple[str, ...]
    sha256: str


def protocol_of(
    task: Task,
    asking: Asked | None = None,
    *,
    context_k: int | None = None,
    selected_on: SelectedOn | None = None,
    leak_policy: LeakPolicy | None = None,
) -> Protocol:
    """The protocol of a score.

    Args:
        asking: None for what is no language model.
        context_k: Utterances of context that such a system sees; of a language model the task knows it.
        selected_on: The split on which the checkpoint was chosen.
        leak_policy: What became of training records that share text with held-out ones.
    """
    if asking is not None:
        context_k = task.dataset.figures.context_of(task.settings.corpus) if asking.has_context else 0
    examples = asking.examples if asking else None
    return Protocol(
        corpus=task.settings.corpus,
        split=task.settings.split,
        dataset_content_sha256=task.dataset.content_sha256,
        records_sha256=sha256_of_text("".join(f"{one.id} {one.output}\n" for one in task.records)),
        label_space=task.labels,
        context_k=context_k,
        context_direction="past" if context_k else None,
        prompt_sha256=asking.prompt_sha256 if asking else None,
        scorer=asking.scorer if asking else None,
        shots=examples.shots if examples else 0 if asking else None,
        few_shot_rule=examples.rule if examples else None,
        few_shot_ids=examples.ids if examples else () if asking else None,
        few_shot_sha256=examples.sha256 if examples else None,
        selected_on=selected_on,
        leak_policy=leak_policy,
    )


def leak_policy_of(task: Task, config: str, content_sha256: str) -> LeakPolicy:
    """What became of training records that share text with held-out ones.

    Args:
        config: Of the dataset, that the system was trained on.
        content_sha256: The dataset that it was trained on.
    """
    if content_sha256 != task.dataset.content_sha256:
        return "trained on another dataset"
    if any(record.leaks is None for record in task.split):
        return "not audited"
    return "removed from training" if config == CLEAN_CONFIG else "kept in training"


def prompt_problem(task: Task, dataset: Path, prompt: Prompt, holder: str) -> Problem | None:
    """What is wrong where a dataset was built with another prompt than its holder has; None where nothing."""
    built = task.dataset.figures
    if built.prompt_sha256 == prompt.sha256:
        return None
    return Problem(
        str(dataset),
        f"was built with another prompt than {holder}",
        expected=f"{prompt.name}, sha256 {prompt.sha256}",
        got=f"{built.prompt}, sha256 {built.prompt_sha256}",
        fix="build the dataset again, or train the adapter on this one",
        code="score.other_prompt",
    )


def check_references(records: Sequence[Record], labels: Sequence[Label]) -> None:
    """Refuses records with labels that the label space lacks, with a DataError."""
    outside = [record.output for record in records if record.output not in labels]
    if outside:
        counts = {label: outside.count(label) for label in sorted(set(outside))}
        raise DataError(
            Problem(
                records[0].corpus,
                f"the {records[0].split} records hold labels that the label space of the corpus lacks",
                expected=", ".join(labels),
                got=", ".join(f"{label} ({count})" for label, count in counts.items()),
                fix="build the dataset again",
                code="score.label_outside_space",
            )
        )
