"""The files of an adapter folder, the figures over several seeds, and an adapter merged into its base."""

from __future__ import annotations

import json
import shutil
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dialoguellm_release.backbones.adapters import (
    check_unchanged,
    load_adapter,
    other_function,
    without_defaults,
)
from dialoguellm_release.backbones.load import load_backbone, load_model
from dialoguellm_release.backbones.weights import (
    Base,
    base_of,
    pinned,
    weights_sha256,
    write_for_earlier_versions,
)
from dialoguellm_release.encoding import Encoder, context_window, golden_record
from dialoguellm_release.errors import DataError, Problem
from dialoguellm_release.folders import (
    Output,
    canonical_json,
    combined_sha256,
    read_manifest,
    sha256_of_text,
    write_text,
)
from dialoguellm_release.prompts import Prompt, chat_template, prompt_as_json, standalone_template
from dialoguellm_release.recipes.load import Loaded
from dialoguellm_release.render.figure_style import BLUE, ORANGE, drawing
from dialoguellm_release.schemas.base import Schema, Sha256
from dialoguellm_release.schemas.labels import Label
from dialoguellm_release.schemas.manifests import (
    LOSS_FIGURE,
    TRAINING_LOG,
    AdapterManifest,
    MergedFigures,
    RecipeStamp,
)
from dialoguellm_release.schemas.recipes.adapter import AdapterRecipe, LoraRecipe
from dialoguellm_release.schemas.recipes.backbone import BackboneRecipe
from dialoguellm_release.schemas.record import Record
from dialoguellm_release.training.checkpoints import writing_weights
from dialoguellm_release.training.sft import Tuned
from dialoguellm_release.training.trainer import LogEntry, log_lines

if TYPE_CHECKING:
    import torch
    from peft import PeftModel
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def write_adapter(
    folder: Path,
    tuned: Tuned,
    tokenizer: PreTrainedTokenizerBase,
    encoder: Encoder,
    prompt: Prompt,
    base: Base,
    example: tuple[Record, Sequence[Label]],
) -> None:
    """Writes everything but card and manifest; the example becomes the golden prompt."""
    with writing_weights(folder):
        save_adapter(tuned.model, base, folder)
    _save_tokenizer(tokenizer, folder)
    write_text(folder / "prompt.json", prompt_as_json(prompt))
    write_text(folder / "prompt_template.jinja", standalone_template(prompt))
    write_text(folder / "golden_prompt.json", _golden_prompt(encoder, prompt, *example))
    write_text(folder / TRAINING_LOG, log_lines(tuned.log))


def save_adapter(model: PeftModel, base: Base, folder: Path) -> None:
    """Saves weights and configuration, in bytes that depend on neither machine nor hash seed.

    Why: PEFT names the base by the path that it was loaded from, writes its set of target modules in
    hash order, adds a card of its own, and states defaults that an earlier version refuses to read.
    """
    config = model.peft_config["default"]
    config.base_model_name_or_path = base.repo_id
    config.revision = base.revision
    model.save_pretrained(folder, save_embedding_layers=False)
    (folder / "README.md").unlink()
    path = folder / "adapter_config.json"
    settings = without_defaults(json.loads(path.read_text(encoding="utf-8")))
    settings["target_modules"] = sorted(settings["target_modules"])
    write_text(path, json.dumps(settings, indent=2, sort_keys=True) + "\n")


def content_sha256(model: PeftModel, lora: LoraRecipe, base: Base, prompt: Prompt) -> str:
    """The hash of what an adapter answers with: weights, scaling, base and prompt."""
    from peft import get_peft_model_state_dict

    function = other_function(model.peft_config["default"].to_dict(), lora.model_dump())
    return combined_sha256(
        [
            ("weights", weights_sha256(get_peft_model_state_dict(model, save_embedding_layers=False))),
            ("lora", sha256_of_text(canonical_json(lora))),
            ("base", sha256_of_text(canonical_json(base.as_data()))),
            ("prompt", prompt.sha256),
            *([("function", sha256_of_text(canonical_json(function)))] if function else []),
        ]
    )


def _save_tokenizer(tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Saves the tokenizer with the chat template of our prompt: the base's may add text around the prompt."""
    template, bos = tokenizer.chat_template, tokenizer.bos_token_id
    begins_with_bos = bos is not None and tokenizer("a").input_ids[0] == bos
    tokenizer.chat_template = chat_template(begins_with_bos=begins_with_bos)
    tokenizer.save_pretrained(folder)
    tokenizer.chat_template = template
    write_for_earlier_versions(folder)


def _golden_prompt(encoder: Encoder, prompt: Prompt, like: Record, labels: Sequence[Label]) -> str:
    record = golden_record(like, labels)
    encoded = encoder.encode(record)
    fixture = {
        "record": record.model_dump(mode="json"),
        "labels": list(labels),
        "prompt": encoded.text,
        "prompt_ids": encoded.ids,
        "completion": prompt.completion(record.output),
        "completion_ids": encoder.completion_ids(record.output),
    }
    return json.dumps(fixture, indent=2, ensure_ascii=False) + "\n"


def write_loss_curve(folder: Path, log: Sequence[LogEntry]) -> None:
    """Writes the picture of training and validation loss over the steps; the same log, the same bytes."""
    with drawing(folder / LOSS_FIGURE, 7, 3.5) as figure:
        axes = figure.subplots()
        for key, name, color, line in (
            ("loss", "training", BLUE, "-"),
            ("eval_loss", "validation", ORANGE, "o--"),
        ):
            entries = [entry for entry in log if key in entry]
            if entries:
                steps, losses = [entry["step"] for entry in entries], [entry[key] for entry in entries]
                axes.plot(steps, losses, line, color=color, label=name)
        axes.set(xlabel="step", ylabel="loss per token of the answer")
        axes.legend()


SEEDS_FILE = "seeds.json"


class SeedFigures(Schema):
    """One adapter of several."""

    folder: str
    seed: int
    content_sha256: Sha256
    last_loss: float
    validation_loss: float | None


class MeanAndDeviation(Schema):
    """Over the seeds; the standard deviation is that of a sample, and None for a single seed."""

    mean: float
    standard_deviation: float | None


class SeedsSummary(Schema):
    """`seeds.json`: the adapters of one recipe over its seeds.

    Attributes:
        validation_loss: None where the recipe does not look at the validation split.
    """

    recipe: RecipeStamp
    adapters: tuple[SeedFigures, ...]
    last_loss: MeanAndDeviation
    validation_loss: MeanAndDeviation | None


def over_seeds(recipe: Loaded[AdapterRecipe], manifests: Sequence[AdapterManifest]) -> SeedsSummary:
    """The figures of adapters that one recipe gave, in the order of its seeds."""
    figures = [one.figures for one in manifests]
    looked_at = [one.validation_loss for one in figures if one.validation_loss is not None]
    return SeedsSummary(
        recipe=recipe.stamp,
        adapters=tuple(
            SeedFigures(
                folder=f"seed-{one.figures.seed}",
                content_sha256=one.content_sha256,
                **one.figures.model_dump(include={"seed", "last_loss", "validation_loss"}),
            )
            for one in manifests
        ),
        last_loss=mean_and_deviation([one.last_loss for one in figures]),
        validation_loss=mean_and_deviation(looked_at) if looked_at else None,
    )


def mean_and_deviation(values: Sequence[float]) -> MeanAndDeviation:
    """The mean of values, and how far they lie from it.

    >>> mean_and_deviation([1.0, 2.0, 3.0])
    MeanAndDeviation(mean=2.0, standard_deviation=1.0)
    """
    deviation = statistics.stdev(values) if len(values) > 1 else None
    return MeanAndDeviation(mean=statistics.fmean(values), standard_deviation=deviation)


TOLERANCES = {"torch.float32": 1e-4, "torch.bfloat16": 5e-2, "torch.float16": 1e-2}
"""How far a merged logit may lie from the unmerged one, as a part of the largest logit.

Why: the sum of weight and adapter is rounded to the type of the weights, which has 24, 8 or 11 bits."""

_CARRIED = (
    "chat_template.jinja",
    "golden_prompt.json",
    "prompt.json",
    "prompt_template.jinja",
    "tokenizer.json",
    "tokenizer_config.json",
)


def merge_adapter(
    adapter: Path, backbone: Loaded[BackboneRecipe], backbone_folder: Path | None, folder: Path
) -> Output:
    """Writes the merged model with tokenizer and prompt into an empty folder, if it answers as before."""
    trained = read_manifest(adapter, AdapterManifest)
    check_unchanged(adapter, trained)
    recipe = pinned(backbone.recipe, trained.figures.base_revision)
    base = base_of(recipe, backbone_folder)
    if (stated := Base.of(trained.figures)) != base:
        what, bases = "was trained on another base", (str(stated.as_data()), str(base.as_data()))
        fix = "name the backbone recipe that it was trained with, and build it again if it changed"
        raise DataError(Problem(str(adapter), what, *bases, fix, code="training.other_base"))
    model, _ = load_backbone(recipe, backbone_folder)
    tuned = load_adapter(model, adapter).eval()
    golden = json.loads((adapter / "golden_prompt.json").read_text(encoding="utf-8"))
    ids = golden["prompt_ids"] + golden["completion_ids"]
    ids = ids[: context_window(model.config.get_text_config())]  # the records may be shorter than these
    expected = _logits(tuned, ids)
    merged = tuned.merge_and_unload(safe_merge=True)
    merged.config._name_or_path = ""
    with writing_weights(folder):
        merged.save_pretrained(folder)
    write_for_earlier_versions(folder)
    for name in _CARRIED:
        shutil.copyfile(adapter / name, folder / name)
    again = load_model(folder, dtype=merged.dtype).to(merged.device).eval()
    difference = float((_logits(again, ids) - expected).abs().max())
    largest = float(expected.abs().max())
    if not difference <= (most := TOLERANCES[str(merged.dtype)] * largest):
        what = "the merged model gives other logits than base and adapter"
        limit = f"a difference of at most {most:g} in {merged.dtype}"
        fix, code = "serve the adapter beside its base", "training.merged_differs"
        raise DataError(Problem(str(adapter), what, limit, f"{difference:g}", fix, code=code))
    figures = MergedFigures(
        adapter_content_sha256=trained.content_sha256,
        base=base.repo_id,
        base_revision=base.revision,
        dtype=str(merged.dtype).removeprefix("torch."),
        largest_difference=difference,
        largest_logit=largest,
        task=trained.figures.task,
    )
    return Output(weights_sha256(merged.state_dict()), {"figures": figures}, trained.outputs)


def _logits(model: PreTrainedModel, ids: list[int]) -> torch.Tensor:
    import torch

    with torch.inference_mode():
        logits: torch.Tensor = model(input_ids=torch.tensor([ids], device=model.device)).logits
    return logits.float().cpu()
