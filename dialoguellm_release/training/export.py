"""An adapter recipe for other trainers: the same rows as each takes them, and a configuration."""

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
from dialoguellm_release.schemas.recipes.adapter import AdapterRecipe, TrainerRecipe
from dialoguellm_release.schemas.recipes.backbone import BackboneRecipe, BuiltSource, HubSource
from dialoguellm_release.training.data import encode_or_show_survival, records_of

Settings = dict[str, object]
Tool = Literal["trl", "messages", "axolotl", "llama-factory"]

ROWS = "rows"
"""The folder of the rows, beside the configuration; each tool is started in the folder of both."""

CPU_NOTE = {
    "trl": "On a machine without a GPU add: bf16: false, use_cpu: true",
    "messages": "On a machine without a GPU add: bf16: false, use_cpu: true",
    "llama-factory": "On a machine without a GPU set: bf16: false",
    "axolotl": "bf16: auto takes float32 where there is no GPU.",
}

_SAME = (
    *("adam_beta1", "adam_beta2", "gradient_accumulation_steps", "learning_rate", "load_best_model_at_end"),
    *("logging_steps", "max_grad_norm", "max_steps", "save_total_limit", "weight_decay"),
)
"""Keys of the trainer that have one name in all tools."""

_AXOLOTL = {
    "activation_checkpointing": "gradient_checkpointing",
    "max_length": "sequence_len",
    "num_train_epochs": "num_epochs",
    "optim": "optimizer",
    "per_device_train_batch_size": "micro_batch_size",
    **{name: name for name in _SAME},
}
_LLAMA_FACTORY = {
    "lr_scheduler_kwargs": "lr_scheduler_kwargs",
    "lr_scheduler_type": "lr_scheduler_type",
    "max_length": "cutoff_len",
    "num_train_epochs": "num_train_epochs",
    "optim": "optim",
    "per_device_train_batch_size": "per_device_train_batch_size",
    **{name: name for name in _SAME},
}
_WRITTEN_BY_STEPS = frozenset({"completion_only_loss", "eval_steps", "save_steps", "warmup_steps"})


@dataclass(frozen=True)
class Configuration:
    """The settings of a tool.

    Attributes:
        left_out: Settings of the recipe that the tool has no key for, and that are not its default.
    """

    settings: Settings
    left_out: tuple[str, ...]


def configuration(
    tool: Tool, recipe: AdapterRecipe, backbone: BackboneRecipe, *, has_validation: bool
) -> Configuration:
    """An adapter recipe in the keys of a tool."""
    match tool:
        case "trl" | "messages":
            settings, known = _trl(recipe, backbone), set(TrainerRecipe.model_fields) - {"threads"}
        case "axolotl":
            settings, known = _axolotl(recipe, backbone, has_validation=has_validation), {*_AXOLOTL}
            known |= {"lr_scheduler_type", "lr_scheduler_kwargs", "report_to"}
        case "llama-factory":
            settings, known = (
                _llama_factory(recipe, backbone, has_validation=has_validation),
                {*_LLAMA_FACTORY},
            )
            known |= {"activation_checkpointing", "report_to"}
    settings |= _by_steps(recipe.trainer, has_validation=has_validation)
    return Configuration(settings, tuple(_left_out(tool, recipe, backbone, known | _WRITTEN_BY_STEPS)))


def _left_out(tool: Tool, recipe: AdapterRecipe, backbone: BackboneRecipe, known: set[str]) -> list[str]:
    found = []
    for name, field in TrainerRecipe.model_fields.items():
        value = getattr(recipe.trainer, name)
        if name not in known and value != field.default:
            found.append(f"trainer.{name}: {value}")
    if tool == "axolotl":
        found += [f"trainer.report_to: {name}" for name in recipe.trainer.report_to if name == "trackio"]
    if recipe.packing == "shared_prefix":
        found.append("packing: shared_prefix (records are padded: slower, the same loss)")
    quantization = recipe.quantization
    if quantization and quantization.load_in_4bit:
        if quantization.bnb_4bit_compute_dtype != "bfloat16":
            found.append(f"quantization.bnb_4bit_compute_dtype: {quantization.bnb_4bit_compute_dtype}")
        if tool == "axolotl" and quantization.bnb_4bit_quant_type != "nf4":
            found.append(f"quantization.bnb_4bit_quant_type: {quantization.bnb_4bit_quant_type}")
        if tool == "axolotl" and not quantization.bnb_4bit_use_double_quant:
            found.append("quantization.bnb_4bit_use_double_quant: false")
    if recipe.init_adapter and tool in ("trl", "messages"):
        found.append(f"init_adapter: {recipe.init_adapter.path}")
    if recipe.init_adapter and recipe.init_adapter.revision:
        found.append(f"init_adapter.revision: {recipe.init_adapter.revision}")
    if recipe.seeds:
        found.append(f"seeds: {', '.join(map(str, recipe.seeds))} (one run has the seed {recipe.seed})")
    source = backbone.source
    if isinstance(source, BuiltSource):
        found.append("backbone: the folder of a built backbone; name it in place of its repository id")
    elif source.gguf_file:
        found.append(f"backbone: the weights of {source.gguf_file}; the original's are loaded in their place")
    elif not isinstance(source, HubSource):
        found.append("backbone: the folder of its recipe; name it in place of its repository id")
    return found


def _by_steps(trainer: TrainerRecipe, *, has_validation: bool) -> Settings:
    """What is done every so many steps, in the keys that all tools take from `TrainingArguments`."""
    settings: Settings = {"eval_strategy": "steps" if has_validation else "no"}
    if has_validation and trainer.eval_steps:
        settings["eval_steps"] = trainer.eval_steps
    settings["save_strategy"] = "steps" if trainer.save_steps else "no"
    if trainer.save_steps:
        settings["save_steps"] = trainer.save_steps
    return settings


def _trl(recipe: AdapterRecipe, backbone: BackboneRecipe) -> Settings:
    """For `trl sft --config trl-sft.yaml`: keys of its ScriptArguments, SFTConfig and ModelConfig."""
    trainer = recipe.trainer.model_dump(mode="json", exclude_none=True, exclude={"threads", "precision"})
    if recipe.trainer.precision != "auto":
        trainer["bf16"] = recipe.trainer.precision == "bf16"
    quantization = recipe.quantization
    return {
        "model_name_or_path": backbone.source.repo_id,
        **_revision(backbone, "model_revision"),
        "dataset_name": ROWS,
        "dataset_test_split": "validation",
        "output_dir": "out",
        "use_peft": True,
        **_lora(recipe),
        "load_in_4bit": bool(quantization and quantization.load_in_4bit),
        "load_in_8bit": bool(quantization and quantization.load_in_8bit),
        **({"bnb_4bit_quant_type": quantization.bnb_4bit_quant_type} if quantization else {}),
        **({"use_bnb_nested_quant": quantization.bnb_4bit_use_double_quant} if quantization else {}),
        **trainer,
        "report_to": ",".join(recipe.trainer.report_to) or "none",
        "seed": recipe.seed,
    }


def _axolotl(recipe: AdapterRecipe, backbone: BackboneRecipe, *, has_validation: bool) -> Settings:
    """For `axolotl train axolotl.yaml`.

    Source: axolotl's documentation, template-free prompts (`type: input_output`) and configuration reference.
    """
    trainer = recipe.trainer
    rows = {"ds_type": "json", "type": "input_output"}
    held_out = [{"path": f"{ROWS}/validation.jsonl", "split": "train", **rows}]
    floor = trainer.lr_scheduler_kwargs.get("min_lr_rate")
    if "min_lr" in trainer.lr_scheduler_kwargs:
        floor = trainer.lr_scheduler_kwargs["min_lr"] / trainer.learning_rate
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
        **_lora(recipe),
        **({"lora_model_dir": recipe.init_adapter.path} if recipe.init_adapter else {}),
        "sample_packing": False,
        **_renamed(trainer, _AXOLOTL),
        "lr_scheduler": "cosine" if is_cosine else trainer.lr_scheduler_type,
        **({"cosine_min_lr_ratio": floor} if floor is not None else {}),
        **_warmup(trainer),
        **{f"use_{name}": True for name in trainer.report_to if name != "trackio"},
        "bf16": "auto",
        "seed": recipe.seed,
        "output_dir": "out",
    }


def _llama_factory(recipe: AdapterRecipe, backbone: BackboneRecipe, *, has_validation: bool) -> Settings:
    """For `llamafactory-cli train llama-factory.yaml`; the template adds nothing to prompt and response.

    Source: LLaMA-Factory's data/README.md, its template `empty` and its arguments.
    """
    trainer, quantization = recipe.trainer, recipe.quantization
    bits: Settings = {}
    if quantization:
        bits = {"quantization_bit": 4 if quantization.load_in_4bit else 8}
        if quantization.load_in_4bit:
            bits["quantization_type"] = quantization.bnb_4bit_quant_type
            bits["double_quantization"] = quantization.bnb_4bit_use_double_quant
    return {
        "model_name_or_path": backbone.source.repo_id,
        **_revision(backbone, "model_revision"),
        **({"adapter_name_or_path": recipe.init_adapter.path} if recipe.init_adapter else {}),
        "stage": "sft",
        "do_train": True,
        "finetuning_type": "lora",
        "lora_rank": recipe.lora.r,
        "lora_alpha": recipe.lora.lora_alpha,
        "lora_dropout": recipe.lora.lora_dropout,
        "lora_target": ",".join(recipe.lora.target_modules),
        **bits,
        "dataset_dir": ".",
        "dataset": "dialoguellm_train",
        **({"eval_dataset": "dialoguellm_validation"} if has_validation else {}),
        "template": "empty",
        "train_on_prompt": not trainer.completion_only_loss,
        "disable_gradient_checkpointing": not trainer.activation_checkpointing,
        **_renamed(trainer, _LLAMA_FACTORY),
        **_warmup(trainer),
        "report_to": list(trainer.report_to) or "none",
        "bf16": True,
        "seed": recipe.seed,
        "output_dir": "out",
    }


def _lora(recipe: AdapterRecipe) -> Settings:
    return {
        "lora_r": recipe.lora.r,
        "lora_alpha": recipe.lora.lora_alpha,
        "lora_dropout": recipe.lora.lora_dropout,
        "lora_target_modules": list(recipe.lora.target_modules),
    }


def _renamed(trainer: TrainerRecipe, keys: Mapping[str, str]) -> Settings:
    """The trainer's settings under a tool's names; -1 steps and empty settings say nothing."""
    values = {key: getattr(trainer, name) for name, key in keys.items()}
    return {key: value for key, value in values.items() if value not in (-1, None, {})}


def _warmup(trainer: TrainerRecipe) -> Settings:
    """A share of all steps has a key of its own in tools that stand on transformers 4."""
    if 0 < trainer.warmup_steps < 1:
        return {"warmup_ratio": trainer.warmup_steps}
    return {"warmup_steps": round(trainer.warmup_steps)}


def _revision(backbone: BackboneRecipe, key: str) -> Settings:
    source = backbone.source
    return {key: source.revision} if isinstance(source, HubSource) and source.revision else {}


if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

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
    found = configuration(tool, recipe.recipe, backbone.recipe, has_validation="validation" in splits)
    notes = [CPU_NOTE[tool], *(f"Left out, because there is no key for it: {one}" for one in found.left_out)]
    for name, text in _settings(tool, found.settings, notes).items():
        write_text(folder / name, text)
    files = [file for split in splits for file in record_files(dataset, recipe.recipe.data.config, split)]
    figures = ExportFigures(
        tool=tool,
        dataset_content_sha256=built.content_sha256,
        prompt_sha256=prompt.sha256,
        records=counts,
        left_out=found.left_out,
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


def _settings(tool: Tool, settings: Mapping[str, object], notes: Sequence[str]) -> dict[str, str]:
    """The text of each file of a configuration, by its name."""
    names = {"axolotl": "axolotl.yaml", "llama-factory": "llama-factory.yaml"}
    text = yaml.safe_dump(dict(settings), sort_keys=False, allow_unicode=True)
    files = {names.get(tool, "trl-sft.yaml"): "".join(f"# {note}\n" for note in notes) + text}
    if tool == "llama-factory":
        columns = {"prompt": "prompt", "response": "response"}
        entries = {
            f"dialoguellm_{split}": {"file_name": f"{ROWS}/{split}.jsonl", "columns": columns}
            for split in ("train", "validation")
            if split == "train" or "eval_dataset" in settings
        }
        files["dataset_info.json"] = json.dumps(entries, indent=2) + "\n"
    return files
