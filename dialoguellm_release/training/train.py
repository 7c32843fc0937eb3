"""An adapter recipe, a backbone and a dataset folder become an adapter folder."""

from __future__ import annotations

import json
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from dialoguellm_release.backbones import Base, base_of, load_backbone, weights_sha256
from dialoguellm_release.encoding import GOLDEN_RECORD, Encoder
from dialoguellm_release.errors import DataError, Problem
from dialoguellm_release.folders import (
    canonical_json,
    combined_sha256,
    package_versions,
    read_manifest,
    sha256_of_text,
    staged,
    stamps,
    write_manifest,
    write_text,
)
from dialoguellm_release.prompts import Prompt, load_prompt, prompt_as_json
from dialoguellm_release.recipes.load import Loaded
from dialoguellm_release.records import read_records, record_files
from dialoguellm_release.schemas.manifest import AdapterFigures, AdapterManifest, DatasetManifest
from dialoguellm_release.schemas.recipes.adapter import AdapterRecipe
from dialoguellm_release.schemas.recipes.backbone import BackboneRecipe
from dialoguellm_release.training.sft import training_rows, tune

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedTokenizerBase


def train_adapter(
    recipe: Loaded[AdapterRecipe],
    backbone: Loaded[BackboneRecipe],
    backbone_folder: Path | None,
    dataset: Path,
    out: Path,
) -> AdapterManifest:
    """Trains an adapter and writes its folder; gives the manifest.

    Args:
        backbone_folder: Where a backbone of our own making was built; None for one from the Hub.

    Raises:
        DataError: The dataset was built with another prompt, a record does not fit, the backbone cannot
            be had, or the training failed.
        RecipeError: The backbone has no layer of a target module's name.
        MissingExtraError: A library of the extra `train` is not installed.
    """
    settings = recipe.recipe
    prompt = load_prompt(settings.prompt)
    built = read_manifest(dataset, DatasetManifest)
    _check_prompt(prompt, built, dataset)
    records = list(islice(read_records(dataset, settings.data.config, "train"), settings.data.max_records))
    base = base_of(backbone.recipe, backbone_folder)
    with staged(out, "adapter") as folder:
        model, tokenizer = load_backbone(backbone.recipe, backbone_folder)
        encoder = Encoder(prompt, tokenizer, settings.trainer.max_length)
        prompts = encoder.encode_all(records)
        tuned = tune(model, tokenizer, training_rows(encoder, prompts), settings)
        _save_adapter(tuned.model, base, folder)
        _save_tokenizer(tokenizer, folder)
        write_text(folder / "prompt.json", prompt_as_json(prompt))
        write_text(folder / "golden_prompt.json", _golden_prompt(encoder))
        manifest = AdapterManifest(
            created_by=package_versions("torch", "transformers", "trl", "peft"),
            recipe=recipe.stamp,
            inputs=record_files(dataset, settings.data.config, "train"),
            outputs=stamps(folder),
            content_sha256=_content_sha256(tuned.model, settings, base, prompt),
            figures=AdapterFigures(
                base=base.repo_id,
                base_revision=base.revision,
                base_content_sha256=base.content_sha256,
                dataset_config=settings.data.config,
                dataset_content_sha256=built.content_sha256,
                prompt_sha256=prompt.sha256,
                records=len(records),
                truncated_records=sum(prompt.is_shortened for prompt in prompts),
                trainable_parameters=tuned.trainable_parameters,
                steps=tuned.steps,
                first_loss=tuned.first_loss,
                last_loss=tuned.last_loss,
                seed=settings.seed,
            ),
        )
        write_manifest(folder, manifest)
    return manifest


def _check_prompt(prompt: Prompt, built: DatasetManifest, dataset: Path) -> None:
    if built.figures.prompt_sha256 != prompt.sha256:
        raise DataError(
            Problem(
                str(dataset),
                f"was built with another prompt ({built.figures.prompt}) than the adapter recipe names",
                expected=f"{prompt.name}, sha256 {prompt.sha256}",
                got=f"{built.figures.prompt}, sha256 {built.figures.prompt_sha256}",
                fix="build the dataset again, or name its prompt in the adapter recipe",
            )
        )


def _save_adapter(model: PeftModel, base: Base, folder: Path) -> None:
    """Saves weights and configuration, in bytes that depend on neither machine nor hash seed.

    Why: PEFT names the base by the path that it was loaded from, writes its set of target modules in
    hash order, and adds a card of its own.
    """
    config = model.peft_config["default"]
    config.base_model_name_or_path = base.repo_id
    config.revision = base.revision
    model.save_pretrained(folder, save_embedding_layers=False)
    (folder / "README.md").unlink()
    path = folder / "adapter_config.json"
    settings = json.loads(path.read_text(encoding="utf-8"))
    settings["target_modules"] = sorted(settings["target_modules"])
    write_text(path, json.dumps(settings, indent=2, sort_keys=True) + "\n")


def _save_tokenizer(tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Saves the tokenizer without how this machine came by it."""
    tokenizer.save_pretrained(folder)
    path = folder / "tokenizer_config.json"
    settings = json.loads(path.read_text(encoding="utf-8"))
    for name in ("is_local", "local_files_only"):
        settings.pop(name, None)
    write_text(path, json.dumps(settings, indent=2, ensure_ascii=False, sort_keys=True) + "\n")


def _golden_prompt(encoder: Encoder) -> str:
    encoded = encoder.encode(GOLDEN_RECORD)
    fixture = {
        "record": GOLDEN_RECORD.model_dump(mode="json"),
        "prompt": encoded.text,
        "prompt_ids": encoded.ids,
        "completion": GOLDEN_RECORD.output,
        "completion_ids": encoder.completion_ids(GOLDEN_RECORD.output),
    }
    return json.dumps(fixture, indent=2, ensure_ascii=False) + "\n"


def _content_sha256(model: PeftModel, recipe: AdapterRecipe, base: Base, prompt: Prompt) -> str:
    from peft import get_peft_model_state_dict

    return combined_sha256(
        [
            ("weights", weights_sha256(get_peft_model_state_dict(model, save_embedding_layers=False))),
            ("lora", sha256_of_text(canonical_json(recipe.lora))),
            ("base", sha256_of_text(canonical_json(asdict(base)))),
            ("prompt", prompt.sha256),
        ]
    )
