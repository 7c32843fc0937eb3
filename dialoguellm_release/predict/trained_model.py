"""A trained model: what its folder says of labels and prompt, and its answers, here or on a server."""

from __future__ import annotations

import difflib
import math
import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from dialoguellm_release.backbones.adapters import check_unchanged, downloaded, find_adapter, load_answering
from dialoguellm_release.backbones.load import load_backbone
from dialoguellm_release.backbones.weights import Base, base_of
from dialoguellm_release.encoding import EncodedPrompt, Encoder, context_window
from dialoguellm_release.errors import DataError, Problem, one_of
from dialoguellm_release.folders import kind_of, read_calibration, read_manifest
from dialoguellm_release.prompts import Prompt, read_prompt
from dialoguellm_release.schemas.labels import CorpusName, Label, class_labels
from dialoguellm_release.schemas.manifests import (
    AdapterFigures,
    AdapterManifest,
    BackboneManifest,
    Calibration,
    MergedManifest,
    TrainedTask,
)
from dialoguellm_release.schemas.recipes.backbone import BackboneRecipe
from dialoguellm_release.schemas.recipes.dataset import SpeakerNames
from dialoguellm_release.schemas.record import Record
from dialoguellm_release.schemas.scores import ScorerName
from dialoguellm_release.scoring.scorers import LikelihoodScorer, chosen_scorer, label_tokens
from dialoguellm_release.scoring.served import PROBES, ServedAsker
from dialoguellm_release.serve.client import ServedModel

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True)
class TrainedModel:
    """The folder of an adapter or of a merged model."""

    folder: Path
    where: str  # the folder or repository as the user named it
    manifest: AdapterManifest | MergedManifest
    prompt: Prompt

    @property
    def task(self) -> TrainedTask | None:
        """What it was trained to do; None in the manifest of an earlier version."""
        return self.manifest.figures.task

    @property
    def max_length(self) -> int | None:
        """Longest prompt and completion of its training, in tokens; None where nothing says it."""
        if self.task is not None:
            return self.task.max_length
        trainer = self.manifest.recipe.resolved.get("trainer")
        length = trainer.get("max_length") if isinstance(trainer, dict) else None
        return length if isinstance(length, int) else None


def read_model(reference: str | Path, revision: str | None = None) -> TrainedModel:
    """The folder of an adapter or a merged model, downloaded where it is one on the Hub."""
    where = f"{reference}@{revision}" if revision else str(reference)
    folder = find_adapter(where)
    manifest: AdapterManifest | MergedManifest
    if kind_of(folder) == "merged":
        manifest = read_manifest(folder, MergedManifest)
    else:
        manifest = read_manifest(folder, AdapterManifest)
    check_unchanged(folder, manifest)
    return TrainedModel(folder, where, manifest, read_prompt(folder / "prompt.json"))


@dataclass(frozen=True)
class TaskChoice:
    """What is asked in a run."""

    shown: tuple[Label, ...]  # the labels that the instruction names, as in training
    labels: tuple[Label, ...]  # those that a prediction may be
    context_k: int  # turns before each one that its prompt shows, at most
    speakers: SpeakerNames = "named"
    corpora: tuple[CorpusName, ...] = ()  # whose label space it is; empty where the model does not say
    languages: tuple[str, ...] = ()  # BCP 47 tags of their texts


def choose_task(
    model: TrainedModel | None,
    labels: Sequence[Label] | None = None,
    corpus: CorpusName | None = None,
    context_k: int | None = None,
) -> TaskChoice:
    """The task of a corpus that the model was trained on, or a part of its label space.

    Without a corpus, the model knows one task, or one alone that has all `labels`.
    """
    listed = [labels] if isinstance(labels, str) else labels
    wanted = tuple(dict.fromkeys(listed)) if listed is not None else None
    if wanted is not None and len(wanted) < 2:
        what, got = "there is nothing to choose from", ", ".join(wanted) or "no label"
        raise DataError(Problem("labels", what, "two labels or more", got, code="predict.labels"))
    if context_k is not None and context_k < 0:
        raise DataError(Problem("context_k", "is negative", got=str(context_k), code="predict.context"))
    if model is None or model.task is None:
        if wanted is None or context_k is None:
            where = "the model" if model is None else model.where
            what = "nothing says which labels and how much context its prompts show"
            fix = "state both with --labels and --context-k, the labels in the order of the training"
            raise DataError(Problem(where, what, fix=fix, code="predict.no_task"))
        return TaskChoice(wanted, wanted, context_k)
    corpora = model.task.corpora
    if corpus is not None:
        corpora = {corpus: corpora[one_of("corpus", corpus, corpora)]}
    fitting = {name: one for name, one in corpora.items() if set(wanted or ()) <= set(one.label_space)}
    spaces = {name: one.label_space for name, one in (fitting or corpora).items()}
    if not fitting:
        raise DataError(_outside(model.where, wanted or (), spaces))
    contexts = {one.context_k for one in fitting.values()} if context_k is None else {context_k}
    if len(set(spaces.values())) > 1 or len(contexts) > 1:
        what = "was trained with several label spaces or contexts, and each may be meant"
        got = "; ".join(
            f"{name}: {', '.join(one.label_space)}, {one.context_k} of context"
            for name, one in fitting.items()
        )
        fix = f"choose with --corpus {next(iter(fitting))}, or another of these"
        code = "predict.several_label_spaces"
        raise DataError(Problem(model.where, what, got=got, fix=fix, code=code))
    shown = next(iter(spaces.values()))
    return TaskChoice(
        shown,
        shown if wanted is None else tuple(label for label in shown if label in wanted),
        contexts.pop(),
        model.task.speakers,
        tuple(fitting),
        tuple(dict.fromkeys(language for one in fitting.values() for language in one.languages)),
    )


def _outside(
    where: str, wanted: Sequence[Label], spaces: dict[CorpusName, tuple[Label, ...]]
) -> list[Problem]:
    """Why labels are in no label space, with the nearest label for each that no label space has."""
    known = dict.fromkeys(label for space in spaces.values() for label in space)
    problems = []
    for label in wanted:
        if label not in known:
            near = difflib.get_close_matches(label, known, n=1, cutoff=0.0)
            what = f"the model was not trained with the label {label}; is it {near[0]}?"
            problems.append(Problem(where, what, ", ".join(known), label, code="predict.label_outside_space"))
    if not problems:
        what = "no label space of the model has all of these labels"
        expected = "; ".join(f"{name}: {', '.join(space)}" for name, space in spaces.items())
        problems.append(Problem(where, what, expected, ", ".join(wanted), code="predict.labels_of_several"))
    return problems


def calibration_of(model: TrainedModel, choice: TaskChoice, scorer: ScorerName) -> Calibration | None:
    """The calibration over the same label space, whatever corpus it was fitted on; else None."""
    if not isinstance(model.manifest, AdapterManifest):
        return None
    found = read_calibration(model.folder, model.manifest)
    return found if found and found.fits(scorer, choice.shown) else None


def load_model(
    model: TrainedModel, backbone: Path | None, device: str | None
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The model and its tokenizer, ready to be asked."""
    manifest = model.manifest
    if isinstance(manifest, MergedManifest):
        source = {"type": "folder", "path": str(model.folder), "repo_id": manifest.figures.base}
        merged, tokenizer = load_backbone(_recipe(source), None, device=device)
        return merged.eval(), tokenizer
    recipe = _base_recipe(model.where, manifest.figures, backbone)
    base, tokenizer = load_backbone(recipe, None, device=device)
    return load_answering(base, model.folder, model.where), tokenizer


def _recipe(source: dict[str, Any]) -> BackboneRecipe:
    described = {"description": "the base that a manifest states", "license": "see its repository"}
    return BackboneRecipe.model_validate({"version": 1, "kind": "backbone", **described, "source": source})


def _base_recipe(where: str, figures: AdapterFigures, folder: Path | None) -> BackboneRecipe:
    """Where the base of an adapter is loaded from, once it is known to be that base."""
    stated = Base.of(figures)
    gguf = {"gguf_file": stated.gguf_file, "dequantized_to": stated.dequantized_to or "float32"}
    if folder is None and stated.content_sha256 is None:
        return _recipe({"type": "hub", "repo_id": stated.repo_id, "revision": stated.revision, **gguf})
    if folder is None and stated.is_folder:
        what = "its base is a folder, which is not on the Hub"
        fix = "name the folder with --backbone DIR"
        raise DataError(Problem(where, what, got=stated.repo_id, fix=fix, code="predict.no_base"))
    found = folder or _downloaded_base(where, stated.repo_id)
    recipe = _recipe({"type": "folder", "path": str(found), "repo_id": stated.repo_id, **gguf})
    base = base_of(recipe, None)
    if stated.content_sha256 is None:
        expected, got = stated.revision, _commit_of(found)
    elif stated.is_folder:
        expected, got = stated.content_sha256, base.content_sha256
    else:
        expected, got = stated.content_sha256, read_manifest(found, BackboneManifest).content_sha256
    if expected is not None and got is not None and expected != got:
        what = f"is not the {stated.repo_id} that {where} was trained on"
        fix = "name the base at the revision of the training, or leave --backbone out to download it"
        raise DataError(Problem(str(found), what, expected, got, fix, code="predict.other_base"))
    return recipe


def _downloaded_base(where: str, repo_id: str) -> Path:
    fix = "name the folder of its base with --backbone DIR"
    try:
        return downloaded(repo_id, None, fix, files=None)
    except DataError as error:
        (problem,) = error.problems
        what = f"its base cannot be loaded: {problem.where} {problem.what}"
        raise DataError(replace(problem, where=where, what=what, fix=fix, code="predict.no_base")) from error


def _commit_of(folder: Path) -> str | None:
    """The commit of a folder that was downloaded from the Hub; None where nothing says it."""
    if folder.resolve().parent.name == "snapshots":
        return folder.resolve().name
    metadata = folder / ".cache" / "huggingface" / "download" / "config.json.metadata"
    first = metadata.read_text(encoding="utf-8").partition("\n")[0].strip() if metadata.is_file() else ""
    return first if re.fullmatch(r"[0-9a-f]{40}", first) else None


@dataclass(frozen=True)
class LabelScores:
    """What was answered to one record."""

    log_probs: tuple[float, ...] | None
    label: Label | None = None  # of an answer without probabilities
    reason: str | None = None
    is_shortened: bool = False  # whether context was left out to fit
    is_cut: bool = False  # whether the turn itself was cut to fit


class Answerer(Protocol):
    """Whoever compares the labels for records."""

    def answers(self, records: Sequence[Record]) -> list[LabelScores]:
        """The answer to each record, in their order."""


class LocalModel:
    """A model on this machine."""

    def __init__(
        self,
        model: TrainedModel,
        choice: TaskChoice,
        backbone: Path | None,
        batch_size: int,
        device: str | None,
    ) -> None:
        if batch_size < 1:
            what, got = "is not positive", str(batch_size)
            raise DataError(Problem("batch_size", what, got=got, code="predict.batch_size"))
        loaded, tokenizer = load_model(model, backbone, device)
        task = model.task
        spaces = [one.label_space for one in task.corpora.values()] if task else [choice.shown]
        window = context_window(loaded.config.get_text_config())
        lengths = [length for length in (model.max_length, window) if length]
        self.device = str(loaded.device)
        self._encoder = Encoder(model.prompt, tokenizer, min(lengths), class_labels(spaces))
        tokens = label_tokens(self._encoder, choice.labels)
        # Over the whole label space, so that a part of it is asked for as the whole would be.
        self.scorer = chosen_scorer("auto", label_tokens(self._encoder, choice.shown))
        ids = [one[:1] if self.scorer == "first_token" else one for one in tokens.values()]
        self._scorer = LikelihoodScorer(loaded, ids, batch_size)

    def answers(self, records: Sequence[Record]) -> list[LabelScores]:
        """The log-probabilities of the labels; prompts of the same text are asked once."""
        prompts = self._encoder.fit_all(records)
        cut = [len(one.ids) > self._encoder.room for one in prompts]
        prompts = [self._cut(one) if is_cut else one for one, is_cut in zip(prompts, cut, strict=True)]
        distinct = list({prompt.text: prompt for prompt in prompts}.values())
        found: dict[str, tuple[float, ...] | None] = {}
        for batch in self._scorer.plan(distinct):
            replies = self._scorer.replies(distinct, batch)
            for place, reply in zip(batch.places, replies, strict=True):
                found[distinct[place].text] = reply.log_probs
        return [
            LabelScores(found[prompt.text], is_shortened=prompt.is_shortened and not is_cut, is_cut=is_cut)
            for prompt, is_cut in zip(prompts, cut, strict=True)
        ]

    def _cut(self, prompt: EncodedPrompt) -> EncodedPrompt:
        """The prompt with as much of the beginning of its turn as fits, and without context."""

        def beginning(length: int) -> EncodedPrompt:
            shorter = {"input": prompt.record.input[:length].rstrip(), "context": ()}
            return self._encoder.encode(prompt.record.model_copy(update=shorter))

        lengths = range(1, len(prompt.record.input) + 1)
        kept = bisect_right(lengths, self._encoder.room, key=lambda length: len(beginning(length).ids))
        if not kept:
            what = "the instruction alone does not fit into the context window of the model"
            raise DataError(Problem("max_length", what, code="predict.no_room"))
        return beginning(kept)


class RemoteModel:
    """A model on a server, which cuts nothing."""

    def __init__(self, served: ServedModel, prompt: Prompt, choice: TaskChoice, cache: Path) -> None:
        self._prompt = prompt
        self._asker = ServedAsker(served, choice.labels, cache)

    def settle(self, records: Sequence[Record]) -> None:
        """Has the first records of a file decide how answers are read, as in the run that is resumed."""
        self._asker.answers(list(dict.fromkeys(map(self._prompt.prompt, records)))[:PROBES])

    def answers(self, records: Sequence[Record]) -> list[LabelScores]:
        """The answers of the server; without log-probabilities, the label that it wrote."""
        texts = list(map(self._prompt.prompt, records))
        _, read = self._asker.answers(list(dict.fromkeys(texts)))
        found = []
        for text in texts:
            answer = read[text].answer
            scores = answer.scores and tuple(math.log(one) if one else -math.inf for one in answer.scores)
            found.append(LabelScores(scores, answer.label, read[text].invalid))
        return found
