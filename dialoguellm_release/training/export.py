"""The same training text for other trainers: rows as each takes them, and a configuration to start from."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import yaml

from dialoguellm_release.encoding import EncodedPrompt, Encoder
from dialoguellm_release.errors import DataError, Problem
from dialoguellm_release.folders import read_manifest, sha256_of, write_text
from dialoguellm_release.prompts import load_prompt
from dialoguellm_release.recipes.load import Loaded
from dialoguellm_release.records import record_files
from dialoguellm_release.schemas.dataset_manifest import DatasetManifest
from dialoguellm_release.schemas.labels import Label, Split
from dialoguellm_release.schemas.manifests import ExportFigures, FileStamp
from dialoguellm_release.schemas.recipes.adapter import AdapterRecipe
from dialoguellm_release.schemas.recipes.backbone import BackboneRecipe, HubSource
from dialoguellm_release.training.check import encode_or_show_survival
from dialoguellm_release.training.data import records_of

Settings = dict[str, object]

ROWS = "rows"
"""The folder of the rows, beside the configuration; each tool is started where that lies."""


def trl_settings(recipe: AdapterRecipe, backbone: BackboneRecipe, *, has_validation: bool) -> Settings:
    """For `trl sft --config trl-sft.yaml`: keys of its ScriptArguments, SFTConfig and ModelConfig."""
    trainer = recipe.trainer.model_dump(mode="json", exclude={"load_best_model_at_end"}, exclude_none=True)
    return {
        "model_name_or_path": backbone.source.repo_id,
        **_revision(backbone, "model_revision"),
        "dataset_name": ROWS,
        "dataset_test_split": "validation",
        "output_dir": "out",
        "use_peft": True,
        "lora_r": recipe.lora.r,
        "lora_alpha": recipe.lora.lora_alpha,
        "lora_dropout": recipe.lora.lora_dropout,
        "lora_target_modules": list(recipe.lora.target_modules),
        "load_in_4bit": bool(recipe.quantization and recipe.quantization.load_in_4bit),
        "load_in_8bit": bool(recipe.quantization and recipe.quantization.load_in_8bit),
        **trainer,
        "report_to": ",".join(recipe.trainer.report_to) or "none",
        "eval_strategy": "steps" if has_validation else "no",
        "seed": recipe.seed,
    }


def axolotl_settings(recipe: AdapterRecipe, backbone: BackboneRecipe, *, has_validation: bool) -> Settings:
    """For `axolotl train axolotl.yaml`.

    Source: axolotl's documentation, template-free prompts (`type: input_output`) and configuration reference.
    """
    trainer = recipe.trainer
    rows = {"ds_type": "json", "type": "input_output"}
    floor = trainer.lr_scheduler_kwargs.get("min_lr_rate")
    held_out = [{"path": f"{ROWS}/validation.jsonl", "split": "train", **rows}]
    is_cosine = trainer.lr_scheduler_type.startswith("cosine")
    return {
        "base_model": backbone.source.repo_id,
        **_revision(backbone, "model_revision"),
        "datasets": [{"path": f"{ROWS}/train.jsonl", **rows}],
        **({"test_datasets": held_out} if has_validation else {}),
        "train_on_inputs": not trainer.completion_only_loss,
        "adapter": "qlora" if recipe.quantization and recipe.quantization.load_in_4bit else "lora",
        "load_in_4bit": bool(recipe.quantization and recipe.quantization.load_in_4bit),
        "load_in_8bit": bool(recipe.quantization and recipe.quantization.load_in_8bit),
        "lora_r": recipe.lora.r,
        "lora_alpha": recipe.lora.lora_alpha,
        "lora_dropout": recipe.lora.lora_dropout,
        "lora_target_modules": list(recipe.lora.target_modules),
        "sequence_len": trainer.max_length,
        "sample_packing": False,
        "micro_batch_size": trainer.per_device_train_batch_size,
        "gradient_accumulation_steps": trainer.gradient_accumulation_steps,
        "num_epochs": trainer.num_train_epochs,
        "learning_rate": trainer.learning_rate,
        "optimizer": trainer.optim,
        "adam_beta1": trainer.adam_beta1,
        "adam_beta2": trainer.adam_beta2,
        "weight_decay": trainer.weight_decay,
        "max_grad_norm": trainer.max_grad_norm,
        "lr_scheduler": "cosine" if is_cosine else trainer.lr_scheduler_type,
        **({"cosine_min_lr_ratio": floor} if floor is not None else {}),
        "warmup_steps": round(trainer.warmup_steps),
        "gradient_checkpointing": trainer.activation_checkpointing,
        "bf16": "auto",
        "seed": recipe.seed,
        "output_dir": "out",
    }


def llama_factory_settings(
    recipe: AdapterRecipe, backbone: BackboneRecipe, *, has_validation: bool
) -> Settings:
    """For `llamafactory-cli train llama-factory.yaml`; the template adds nothing to prompt and response.

    Source: LLaMA-Factory's data/README.md and its template `empty`.
    """
    trainer = recipe.trainer
    return {
        "model_name_or_path": backbone.source.repo_id,
        **_revision(backbone, "model_revision"),
        "stage": "sft",
        "do_train": True,
        "finetuning_type": "lora",
        "lora_rank": recipe.lora.r,
        "lora_alpha": recipe.lora.lora_alpha,
        "lora_dropout": recipe.lora.lora_dropout,
        "lora_target": ",".join(recipe.lora.target_modules),
        **({"quantization_bit": 4 if recipe.quantization.load_in_4bit else 8} if recipe.quantization else {}),
        "dataset_dir": ".",
        "dataset": "dialoguellm_train",
        **({"eval_dataset": "dialoguellm_validation"} if has_validation else {}),
        "template": "empty",
        "train_on_prompt": not trainer.completion_only_loss,
        "cutoff_len": trainer.max_length,
        "per_device_train_batch_size": trainer.per_device_train_batch_size,
        "gradient_accumulation_steps": trainer.gradient_accumulation_steps,
        "num_train_epochs": trainer.num_train_epochs,
        "learning_rate": trainer.learning_rate,
        "lr_scheduler_type": trainer.lr_scheduler_type,
        **({"lr_scheduler_kwargs": trainer.lr_scheduler_kwargs} if trainer.lr_scheduler_kwargs else {}),
        "warmup_steps": trainer.warmup_steps,
        "optim": trainer.optim,
        "adam_beta1": trainer.adam_beta1,
        "adam_beta2": trainer.adam_beta2,
        "weight_decay": trainer.weight_decay,
        "max_grad_norm": trainer.max_grad_norm,
        "bf16": True,
        "seed": recipe.seed,
        "output_dir": "out",
    }


def _revision(backbone: BackboneRecipe, key: str) -> Settings:
    source = backbone.source
    return {key: source.revision} if isinstance(source, HubSource) and source.revision else {}


if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Tool = Literal["trl", "messages", "axolotl", "llama-factory"]
TOOLS: tuple[Tool, ...] = get_args(Tool)
Row = dict[str, Any]


PACKAGES = ("transformers", "tokenizers")
"""Whose versions shape an export."""


@dataclass(frozen=True)
class Exported:
    """What was exported: the hash of the training rows, the figures, and the data files that were read."""

    content_sha256: str
    figures: ExportFigures
    files: tuple[FileStamp, ...]


def export_training(
    recipe: Loaded[AdapterRecipe],
    backbone: Loaded[BackboneRecipe],
    tokenizer: PreTrainedTokenizerBase,
    dataset: Path,
    tool: Tool,
    folder: Path,
) -> Exported:
    """Writes the rows of an adapter recipe for another trainer, shortened as our own trainer shortens them.

    Raises:
        DataError: A record does not fit, or the tool would split the text into other tokens than our trainer.
    """
    prompt = load_prompt(recipe.recipe.prompt)
    built = read_manifest(dataset, DatasetManifest)
    encoder = Encoder(prompt, tokenizer, recipe.recipe.trainer.max_length, built.figures.class_labels)
    splits: tuple[Split, ...] = ("train", "validation") if recipe.recipe.trainer.eval_steps else ("train",)
    row_of = _row_maker(tool, encoder, tokenizer)
    (folder / ROWS).mkdir()
    counts: dict[Split, int] = {}
    for split in splits:
        read = partial(records_of, dataset, built, recipe.recipe, prompt, split)
        rows = [row_of(one) for one in encode_or_show_survival(encoder, read)]
        counts[split] = len(rows)
        lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        write_text(folder / ROWS / f"{split}.jsonl", "".join(lines))
    for name, settings in _settings(tool, recipe.recipe, backbone.recipe, splits).items():
        write_text(folder / name, settings)
    files = [file for split in splits for file in record_files(dataset, recipe.recipe.data.config, split)]
    figures = ExportFigures(
        tool=tool,
        dataset_content_sha256=built.content_sha256,
        prompt_sha256=prompt.sha256,
        records=counts,
    )
    return Exported(sha256_of(folder / ROWS / "train.jsonl"), figures, tuple(files))


def _row_maker(
    tool: Tool, encoder: Encoder, tokenizer: PreTrainedTokenizerBase
) -> Callable[[EncodedPrompt], Row]:
    match tool:
        case "trl":
            return lambda one: {"prompt": _same(one, tokenizer), "completion": f" {one.record.output}"}
        case "messages":
            return lambda one: _messages(one, tokenizer)
        case "axolotl":
            segments = Segments(encoder, tokenizer)
            return lambda one: {
                "segments": [
                    {"label": False, "text": segments.prompt(one)},
                    {"label": True, "text": segments.answer(one.record.output)},
                ]
            }
        case "llama-factory":
            segments = Segments(encoder, tokenizer)
            return lambda one: {
                "prompt": segments.prompt(one),
                "response": segments.answer(one.record.output),
            }


def _messages(one: EncodedPrompt, tokenizer: PreTrainedTokenizerBase) -> Row:
    """For chat models, whose own template is put around the prompt."""
    asked = {"role": "user", "content": _same(one, tokenizer)}
    return {"prompt": [asked], "completion": [{"role": "assistant", "content": one.record.output}]}


def _same(one: EncodedPrompt, tokenizer: PreTrainedTokenizerBase) -> str:
    """The text of a prompt, which these tools tokenise with the special tokens that it spells.

    Raises:
        DataError: It spells one, so they would train on other tokens.
    """
    ids = tokenizer(one.text, verbose=False).input_ids
    if ids != one.ids:
        raise _other_tokens(one.record.id, one.ids, ids)
    return one.text


def _other_tokens(where: str, expected: Sequence[int], got: Sequence[int]) -> DataError:
    return DataError(
        Problem(
            where,
            "this tool would train on other tokens than our trainer",
            expected=str(list(expected)),
            got=str(list(got)),
            fix="leave out a text that spells a special token, or export for another tool",
            code="training.other_tokens",
        )
    )


class Segments:
    """Prompt and answer for trainers that tokenise both alone and add no special token.

    Why: a tokenizer with a prefix space puts one before each text, so that the answer must then be written
    without its own; and the tokens around the whole have to stand in the text.

    Raises:
        DataError: No way to write them gives the tokens of our trainer.
    """

    def __init__(self, encoder: Encoder, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        self._begin = ""
        self._answers: dict[Label, str] = {}
        self._encoder = encoder

    def prompt(self, one: EncodedPrompt) -> str:
        """The text whose tokens, without special ones, are those of the prompt."""
        bos = self._tokenizer.bos_token or ""
        for text in (one.text, bos + one.text):
            if self._ids(text) == one.ids:
                return text
        raise _other_tokens(one.record.id, one.ids, self._ids(bos + one.text))

    def answer(self, label: Label) -> str:
        """The text whose tokens, without special ones, are those of the completion."""
        if label not in self._answers:
            wanted = self._encoder.completion_ids(label)
            tried = [f" {label}{self._tokenizer.eos_token}", f"{label}{self._tokenizer.eos_token}"]
            fitting = [text for text in tried if self._ids(text) == wanted]
            if not fitting:
                raise _other_tokens(label, wanted, self._ids(tried[0]))
            self._answers[label] = fitting[0]
        return self._answers[label]

    def _ids(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer(text, add_special_tokens=False, verbose=False).input_ids
        return ids


def _settings(
    tool: Tool, recipe: AdapterRecipe, backbone: BackboneRecipe, splits: Sequence[Split]
) -> dict[str, str]:
    has_validation = "validation" in splits
    match tool:
        case "trl" | "messages":
            return {"trl-sft.yaml": _yaml(trl_settings(recipe, backbone, has_validation=has_validation))}
        case "axolotl":
            return {"axolotl.yaml": _yaml(axolotl_settings(recipe, backbone, has_validation=has_validation))}
        case "llama-factory":
            columns = {"prompt": "prompt", "response": "response"}
            entries = {
                f"dialoguellm_{split}": {"file_name": f"{ROWS}/{split}.jsonl", "columns": columns}
                for split in splits
            }
            settings = llama_factory_settings(recipe, backbone, has_validation=has_validation)
            return {
                "dataset_info.json": json.dumps(entries, indent=2) + "\n",
                "llama-factory.yaml": _yaml(settings),
            }


def _yaml(settings: Mapping[str, object]) -> str:
    return yaml.safe_dump(dict(settings), sort_keys=False, allow_unicode=True)
