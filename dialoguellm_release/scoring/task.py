"""The records that a score recipe selects, the protocol, and the answers of a system."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from dialoguellm_release.errors import DataError, Problem
from dialoguellm_release.folders import read_manifest, sha256_of_text
from dialoguellm_release.layout import CLEAN_CONFIG
from dialoguellm_release.prompts import Prompt
from dialoguellm_release.records import read_records
from dialoguellm_release.schemas.dataset_manifest import DatasetManifest
from dialoguellm_release.schemas.labels import CorpusName, Label, Split
from dialoguellm_release.schemas.record import Record
from dialoguellm_release.schemas.scores import (
    LeakPolicy,
    Protocol,
    ScoreRecipe,
    ScorerName,
    SelectedOn,
    ServedFigures,
    System,
)
from dialoguellm_release.scoring.answers import Answer


@dataclass(frozen=True)
class Scored:
    """The answers of one system to the first records of a split."""

    split: Sequence[Record]
    answers: Sequence[Answer]
    protocol: Protocol
    system: System
    truncated_records: int = 0
    # The probability of each label where answers are drawn at random.
    chances: Mapping[Label, float] = field(default_factory=dict)
    # The examples in the prompt of each record, by its id.
    examples: Mapping[str, Sequence[Record]] = field(default_factory=dict)
    served: ServedFigures | None = None
    # Of the calibration of the adapter, for the probabilities of this corpus and scorer.
    temperature: float | None = None
    uncalibrated: str | None = None  # why the calibration of the adapter is none for them

    @property
    def records(self) -> Sequence[Record]:
        """The records that were scored."""
        return self.split[: len(self.answers)]


@dataclass(frozen=True)
class Task:
    """The records of a split, those of them that a recipe wants scored, and the labels to choose from."""

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
    check_references((one.output for one in split), labels, settings.corpus, settings.split)
    return Task(settings, built, split, list(islice(split, settings.max_records)), labels)


def protocol_of(
    task: Task, *, context_k: int | None = None, leak_policy: LeakPolicy | None = None
) -> Protocol:
    """The protocol of a system that is no language model."""
    return Protocol(
        corpus=task.settings.corpus,
        split=task.settings.split,
        dataset_content_sha256=task.dataset.content_sha256,
        records_sha256=sha256_of_text("".join(f"{one.id} {one.output}\n" for one in task.records)),
        label_space=task.labels,
        context_k=context_k,
        context_direction="past" if context_k else None,
        prompt_sha256=None,
        scorer=None,
        few_shot_ids=None,
        selected_on=None,
        leak_policy=leak_policy,
    )


def protocol_of_model(
    task: Task,
    prompt: Prompt,
    scorer: ScorerName,
    examples: Mapping[str, object] | None,
    *,
    has_context: bool = True,
    selected_on: SelectedOn | None = None,
    leak_policy: LeakPolicy | None = None,
) -> Protocol:
    """The protocol of a language model; `examples` as `Examples.stated` gives them."""
    context_k = task.dataset.figures.context_of(task.settings.corpus) if has_context else 0
    asked: dict[str, object] = {"prompt_sha256": prompt.sha256, "scorer": scorer, "selected_on": selected_on}
    return protocol_of(task, context_k=context_k, leak_policy=leak_policy).model_copy(
        update={**asked, **(examples or {"shots": 0, "few_shot_ids": ()})}
    )


def leak_policy_of(task: Task, config: str, content_sha256: str) -> LeakPolicy:
    """What became of training records that leak, by the config and content of the dataset trained on."""
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


def check_references(
    outputs: Iterable[Label], labels: Sequence[Label], corpus: CorpusName, split: Split
) -> None:
    """Refuses labels of records that the label space lacks, with a DataError."""
    outside = Counter(sorted(output for output in outputs if output not in labels))
    if outside:
        raise DataError(
            Problem(
                corpus,
                f"the {split} records hold labels that the label space of the corpus lacks",
                expected=", ".join(labels),
                got=", ".join(f"{label} ({count})" for label, count in outside.items()),
                fix="build the dataset again",
                code="score.label_outside_space",
            )
        )
