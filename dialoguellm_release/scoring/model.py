"""A language model answers the records of a score recipe, by one scorer or several."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from dialoguellm_release.backbones.adapters import check_unchanged, load_answering
from dialoguellm_release.backbones.load import load_backbone, location_at
from dialoguellm_release.backbones.weights import Base, base_of, pinned
from dialoguellm_release.encoding import Encoder, check_context_window
from dialoguellm_release.errors import DataError, Problem
from dialoguellm_release.folders import (
    canonical_json,
    package_versions,
    read_calibration,
    read_manifest,
    sha256_of_text,
)
from dialoguellm_release.prompts import Prompt, prompt_of_dataset, read_prompt, with_knowledge
from dialoguellm_release.recipes.load import Loaded
from dialoguellm_release.records import draw_records, read_records, shown_sha256
from dialoguellm_release.schemas.manifests import AdapterManifest
from dialoguellm_release.schemas.recipes.backbone import BackboneRecipe
from dialoguellm_release.schemas.recipes.dataset import Knowledge
from dialoguellm_release.schemas.scores import LeakPolicy, ScoreRecipe, ScorerName, SelectedOn, System
from dialoguellm_release.scoring.answers import Reply, authors_dice, authors_script_of, kept_replies
from dialoguellm_release.scoring.few_shot import PromptWithExamples, examples_of
from dialoguellm_release.scoring.scorers import (
    SHARED_REPLIES,
    alike_at_first,
    chosen_scorer,
    label_tokens,
    make_scorer,
    read_reply,
)
from dialoguellm_release.scoring.task import (
    Scored,
    Task,
    leak_policy_of,
    prompt_problem,
    protocol_of_model,
    read_task,
)

PACKAGES = ("torch", "transformers", "peft")


@dataclass(frozen=True)
class ModelFolders:
    """A backbone, with its folder where it was built here, and an adapter on it or none."""

    backbone: Loaded[BackboneRecipe]
    backbone_folder: Path | None
    adapter: Path | None
    adapter_name: str | None = None  # of an adapter from the Hub, whose folder is named by its commit

    @property
    def name(self) -> str:
        """The name in that of a score folder."""
        return self.adapter_name or (self.adapter.name if self.adapter else self.backbone.name)


def score_model(
    settings: ScoreRecipe,
    dataset: Path,
    model: ModelFolders,
    scorers: Sequence[Literal["auto"] | ScorerName],
    folder: Path,
    *,
    again: bool = False,
    leave_out_unfit: bool = False,
) -> Iterator[tuple[ScorerName, Scored]]:
    """The answers of a model by each scorer; scorers share replies where they can, and keep each at once.

    `leave_out_unfit` leaves `first_token` out where two labels share their first token, instead of refusing.
    """
    task = read_task(settings, dataset)
    trained = None if model.adapter is None else read_manifest(model.adapter, AdapterManifest)
    backbone = pinned(model.backbone.recipe, trained.figures.base_revision if trained else None)
    base = base_of(backbone, model.backbone_folder)
    backbone = pinned(backbone, base.revision)
    prompt = (
        prompt_of_dataset(task.dataset)
        if model.adapter is None
        else read_prompt(model.adapter / "prompt.json")
    )
    _check_inputs(task, dataset, model, trained, base, prompt)
    shown = examples_of(task, dataset)
    knowledge = trained.figures.knowledge if trained else Knowledge()
    label_spaces = {name: corpus.label_space for name, corpus in task.dataset.figures.corpora.items()}
    # Of the whole split, so that a record is shown the same however many are scored.
    seen = list(with_knowledge(task.split, knowledge, prompt, label_spaces))[: len(task.records)]
    language_model, tokenizer = load_backbone(backbone, model.backbone_folder)
    asked = prompt
    if shown is not None:
        examples = list(with_knowledge(shown.records, knowledge, prompt, label_spaces))
        asked = PromptWithExamples(prompt, shown.with_records(examples))
    encoder = Encoder(asked, tokenizer, settings.max_length, task.dataset.figures.class_labels)
    prompts = encoder.encode_all(seen)
    tokens = label_tokens(encoder, task.labels)
    if leave_out_unfit and alike_at_first(tokens):
        scorers = [name for name in scorers if name != "first_token"]
    chosen = list(dict.fromkeys(chosen_scorer(name, tokens) for name in scorers))
    answer = encoder.longest_completion
    if not {"free_generation", "authors_parser"}.isdisjoint(chosen):
        answer = max(answer, settings.max_new_tokens)
    longest = max(len(one.ids) for one in prompts) + answer
    check_context_window(language_model, location_at(base.repo_id, base.revision), longest)
    if model.adapter is not None and trained is not None:
        check_unchanged(model.adapter, trained)
        language_model = load_answering(language_model, model.adapter)
    language_model = language_model.eval()
    script = authors_script_of(settings.corpus, task.dataset)
    calibration = read_calibration(model.adapter, trained) if model.adapter and trained else None
    identity = {**base.as_data(), "adapter_content_sha256": trained.content_sha256 if trained else None}

    @cache
    def replies(way: ScorerName) -> list[Reply]:
        stated = {
            **identity,
            # Of a model from the Hub, also where no revision is pinned; one from a folder has none.
            "commit": getattr(language_model.config, "_commit_hash", None),
            "way": way,
            "labels": list(task.labels),
            "max_new_tokens": settings.max_new_tokens if way == "free_generation" else None,
            "dtype": str(language_model.dtype),
            "device": language_model.device.type,
            "packages": package_versions(*PACKAGES),
        }
        scorer = make_scorer(way, language_model, tokenizer, encoder, task.labels, settings)
        return kept_replies(scorer, prompts, stated, folder, again=again)

    for name in chosen:
        why_not = calibration.why_not(settings.corpus, name, task.labels) if calibration else None
        given = replies(SHARED_REPLIES.get(name, name))
        yield (
            name,
            Scored(
                split=task.split,
                answers=[read_reply(name, reply, tokens, script) for reply in given],
                protocol=protocol_of_model(
                    task,
                    prompt,
                    name,
                    shown.stated if shown else None,
                    has_context=knowledge.context,
                    selected_on=_selected_on(trained),
                    leak_policy=_leak_policy(task, dataset, trained),
                ),
                examples=shown.shown if shown else {},
                system=_system(model, base, trained),
                truncated_records=sum(one.is_shortened for one in prompts),
                chances=authors_dice(script, task.labels) if name == "authors_parser" else {},
                temperature=calibration.temperature if calibration and not why_not else None,
                uncalibrated=why_not,
            ),
        )


def _leak_policy(task: Task, dataset: Path, trained: AdapterManifest | None) -> LeakPolicy | None:
    if trained is None:
        return None
    figures, content = trained.figures, task.dataset.content_sha256
    is_same = figures.dataset_content_sha256 == content or _has_its_records(dataset, trained)
    return leak_policy_of(
        task, figures.dataset_config, content if is_same else figures.dataset_content_sha256
    )


def _has_its_records(dataset: Path, trained: AdapterManifest) -> bool:
    """Whether an adapter was trained on records of this dataset, whichever other corpora either has."""
    if trained.figures.records_sha256 is None:
        return False
    data = trained.recipe.resolved.get("data")
    limit = data.get("max_records") if isinstance(data, dict) else None
    most, seed = limit if isinstance(limit, int) else None, trained.recipe.resolved.get("seed")
    try:
        every = read_records(dataset, trained.figures.dataset_config, "train")
        records = draw_records(every, most, seed if isinstance(seed, int) else 0)
        return shown_sha256(records) == trained.figures.records_sha256
    except DataError:
        return False


def _selected_on(trained: AdapterManifest | None) -> SelectedOn | None:
    """The split on which the trainer chose the checkpoint, by the recipe of the training."""
    trainer = trained.recipe.resolved.get("trainer") if trained else None
    if trained is None or not isinstance(trainer, dict):
        return None
    keeps_best = trainer.get("load_best_model_at_end") is True
    return "validation" if keeps_best and trained.figures.validation_records else "none"


def _system(model: ModelFolders, base: Base, trained: AdapterManifest | None) -> System:
    backbone = System(
        name=model.backbone.name,
        kind="model",
        base=base.repo_id,
        base_revision=base.revision,
        base_content_sha256=base.content_sha256,
        base_gguf_file=base.gguf_file,
    )
    if trained is None:
        return backbone
    training = {name: value for name, value in trained.recipe.resolved.items() if name != "seed"}
    shaped = {"recipe": training, "dataset": trained.figures.dataset_content_sha256, **base.as_data()}
    return backbone.model_copy(
        update={
            "name": trained.recipe.name,
            "adapter_content_sha256": trained.content_sha256,
            "training_sha256": sha256_of_text(canonical_json(shaped)),
            "seed": trained.figures.seed,
        }
    )


def _check_inputs(
    task: Task,
    dataset: Path,
    model: ModelFolders,
    trained: AdapterManifest | None,
    base: Base,
    prompt: Prompt,
) -> None:
    """Refuses a dataset with another prompt and an adapter of another backbone, with a DataError."""
    holder = "the present prompt recipe" if trained is None else f"the adapter {model.adapter}"
    problems = [prompt_problem(task, dataset, prompt, holder)]
    wanted = base if trained is None else Base.of(trained.figures)
    if wanted != base:
        problems.append(
            Problem(
                str(model.adapter),
                "was trained on another backbone",
                expected=_described(wanted),
                got=_described(base),
                fix="name the backbone of the adapter, or train the adapter again",
                code="score.other_backbone",
            )
        )
    if found := [one for one in problems if one is not None]:
        raise DataError(found)


def _described(base: Base) -> str:
    revision = f" at {base.revision}" if base.revision is not None else ""
    content = f" with content {base.content_sha256}" if base.content_sha256 is not None else ""
    return f"{base.repo_id}{revision}{content}"
