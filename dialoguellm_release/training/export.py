"""An adapter recipe for other trainers: the same rows as each takes them, and a configuration.

Paths in a configuration are relative to it; what of the recipe a tool has no key for is named.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import yaml

from dialoguellm_release.encoding import EncodedPrompt, Encoder
from dialoguellm_release.errors import DataError, Problem
from dialoguellm_release.folders import Output, read_manifest, sha256_of, write_text
from dialoguellm_release.prompts import load_prompt
from dialoguellm_release.recipes.load import Loaded
from dialoguellm_release.records import record_files
from dialoguellm_release.schemas.dataset_manifest import DatasetManifest
from dialoguellm_release.schemas.labels import Label, Split
from dialoguellm_release.schemas.manifests import ExportFigures
from dialoguellm_release.schemas.recipes.adapter import AdapterRecipe, TrainerRecipe
from dialoguellm_release.schemas.recipes.backbone import BackboneRecipe, BuiltSource, HubSource
from dialoguellm_release.training.check import too_long
from dialoguellm_release.training.data import encode_or_show_survival, records_of, splits_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Settings = dict[str, object]
Row = dict[str, Any]
Tool = Literal["trl", "messages", "axolotl", "llama-factory"]
TOOLS: tuple[Tool, ...] = get_args(Tool)

ROWS = "rows"
"""The folder of the rows, beside the configuration; each tool is started in the folder of both."""

PACKAGES = ("transformers", "tokenizers")
"""Whose versions shape an export."""

FILES: dict[Tool, str] = {
    "trl": "trl-sft.yaml",
    "messages": "trl-sft.yaml",
    "axolotl": "axolotl.yaml",
    "llama-factory": "llama-factory.yaml",
}
CPU_NOTE: dict[Tool, str] = {
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
    **dict(zip(_SAME, _SAME, strict=True)),
}
_LLAMA_FACTORY = {
    "max_length": "cutoff_len",
    **{
        name: name
        for name in (
            *("lr_scheduler_kwargs", "lr_scheduler_type", "num_train_epochs", "optim"),
            *("per_device_train_batch_size", *_SAME),
        )
    },
}
_KNOWN: dict[Tool, set[str]] = {
    "trl": set(TrainerRecipe.model_fields) - {"threads"},
    "messages": set(TrainerRecipe.model_fields) - {"threads"},
    "axolotl": {*_AXOLOTL, "lr_scheduler_type", "lr_scheduler_kwargs", "precision", "report_to"},
    "llama-factory": {*_LLAMA_FACTORY, "activation_checkpointing", "precision", "report_to"},
}
"""The recipe's keys that each tool's configuration states, besides those below."""

_WRITTEN_BY_STEPS = frozenset({"completion_only_loss", "eval_steps", "save_steps", "warmup_steps"})


def export_training(
    recipe: Loaded[AdapterRecipe],
    backbone: Loaded[BackboneRecipe],
    tokenizer: PreTrainedTokenizerBase,
    dataset: Path,
    tool: Tool,
    folder: Path,
) -> Output:
    """Writes the rows of an adapter recipe for another trainer, shortened as by our own trainer."""
    prompt = load_prompt(recipe.recipe.prompt)
    built = read_manifest(dataset, DatasetManifest)
    encoder = Encoder(prompt, tokenizer, recipe.recipe.trainer.max_length, built.figures.class_labels)
    splits = splits_of(recipe.recipe)
    row_of = _row_maker(tool, encoder, tokenizer)
    (folder / ROWS).mkdir()
    counts: dict[Split, int] = {}
    longest = 0
    for split in splits:
        read = partial(records_of, dataset, built, recipe.recipe, prompt, split)
        rows = []
        for one in encode_or_show_survival(encoder, read):
            rows.append(row_of(one))
            longest = max(longest, len(one.ids) + len(encoder.completion_ids(one.record.output)))
        counts[split] = len(rows)
        lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        write_text(folder / ROWS / f"{split}.jsonl", "".join(lines))
    if problem := too_long(backbone, longest):
        raise DataError(problem)
    found = configuration(tool, recipe.recipe, backbone.recipe, has_validation="validation" in splits)
    notes = [CPU_NOTE[tool], *(f"Left out, because there is no key for it: {one}" for one in found.left_out)]
    settings = yaml.safe_dump(found.settings, sort_keys=False, allow_unicode=True)
    write_text(folder / FILES[tool], "".join(f"# {note}\n" for note in notes) + settings)
    if tool == "llama-factory":
        columns = {"prompt": "prompt", "response": "response"}
        files = {
            f"dialoguellm_{split}": {"file_name": f"{ROWS}/{split}.jsonl", "columns": columns}
            for split in splits
        }
        write_text(folder / "dataset_info.json", json.dumps(files, indent=2) + "\n")
    read_files = [
        file for split in splits for file in record_files(dataset, recipe.recipe.data.config, split)
    ]
    figures = ExportFigures(
        tool=tool,
        dataset_content_sha256=built.content_sha256,
        prompt_sha256=prompt.sha256,
        records=counts,
        left_out=found.left_out,
    )
    content = sha256_of(folder / ROWS / "train.jsonl")
    return Output(content, {"figures": figures}, tuple(read_files))


def _row_maker(
    tool: Tool, encoder: Encoder, tokenizer: PreTrainedTokenizerBase
) -> Callable[[EncodedPrompt], Row]:
    segments = Segments(encoder, tokenizer)

    def row(one: EncodedPrompt) -> Row:
        label = one.record.output
        match tool:
            case "trl":
                return {"prompt": _same(one, tokenizer), "completion": f" {label}"}
            case "messages":  # for chat models, whose own template is put around the prompt
                asked = {"role": "user", "content": _same(one, tokenizer)}
                return {"prompt": [asked], "completion": [{"role": "assistant", "content": label}]}
            case "axolotl":
                texts = {False: segments.prompt(one), True: segments.answer(label)}
                return {"segments": [{"label": learnt, "text": text} for learnt, text in texts.items()]}
            case "llama-factory":
                return {"prompt": segments.prompt(one), "response": segments.answer(label)}

    return row


def _same(one: EncodedPrompt, tokenizer: PreTrainedTokenizerBase) -> str:
    """The text of a prompt, where the tool's tokens of it are ours: it may spell no special token."""
    ids = tokenizer(one.text, verbose=False).input_ids
    if ids != one.ids:
        raise _other_tokens(one.record.id, one.ids, ids)
    return one.text


def _other_tokens(where: str, expected: Sequence[int], got: Sequence[int]) -> DataError:
    what = "this tool would train on other tokens than our trainer"
    fix = "leave out a text that spells a special token, or export for another tool"
    code = "training.other_tokens"
    return DataError(Problem(where, what, str(list(expected)), str(list(got)), fix, code=code))


class Segments:
    """Prompt and answer for trainers that tokenise both alone and add no special token.

    Why: a tokenizer with a prefix space puts one before each text, so the answer must then be written without
    its own; and the special tokens around the whole have to be in the text.
    """

    def __init__(self, encoder: Encoder, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        self._answers: dict[Label, str] = {}
        self._encoder = encoder

    def prompt(self, one: EncodedPrompt) -> str:
        """The text whose tokens, without special ones, are those of the prompt."""
        return self._fitting(one.record.id, one.ids, one.text, (self._tokenizer.bos_token or "") + one.text)

    def answer(self, label: Label) -> str:
        """The text whose tokens, without special ones, are those of the completion."""
        if label not in self._answers:
            end = self._tokenizer.eos_token
            wanted = self._encoder.completion_ids(label)
            self._answers[label] = self._fitting(label, wanted, f" {label}{end}", f"{label}{end}")
        return self._answers[label]

    def _fitting(self, where: str, wanted: list[int], *texts: str) -> str:
        for text in texts:
            ids: list[int] = self._tokenizer(text, add_special_tokens=False, verbose=False).input_ids
            if ids == wanted:
                return text
        raise _other_tokens(where, wanted, ids)


@dataclass(frozen=True)
class Configuration:
    """The settings of a tool."""

    settings: Settings
    # Settings of the recipe that the tool has no key for, and that are not its default.
    left_out: tuple[str, ...]


def configuration(
    tool: Tool, recipe: AdapterRecipe, backbone: BackboneRecipe, *, has_validation: bool
) -> Configuration:
    """An adapter recipe in the keys of a tool."""
    make = {"axolotl": _axolotl, "llama-factory": _llama_factory}.get(tool, _trl)
    # What is done every so many steps has the keys of `TrainingArguments` in all tools.
    settings = make(recipe, backbone, has_validation) | {
        "eval_strategy": "steps" if has_validation else "no",
        **({"eval_steps": recipe.trainer.eval_steps} if has_validation and recipe.trainer.eval_steps else {}),
        "save_strategy": "steps" if recipe.trainer.save_steps else "no",
        **({"save_steps": recipe.trainer.save_steps} if recipe.trainer.save_steps else {}),
    }
    return Configuration(settings, tuple(_left_out(tool, recipe, backbone)))


def _left_out(tool: Tool, recipe: AdapterRecipe, backbone: BackboneRecipe) -> Iterator[str]:
    for name, field in TrainerRecipe.model_fields.items():
        value = getattr(recipe.trainer, name)
        if name not in _KNOWN[tool] | _WRITTEN_BY_STEPS and value != field.default:
            yield f"trainer.{name}: {value}"
    is_axolotl = tool == "axolotl"
    if is_axolotl and "trackio" in recipe.trainer.report_to:
        yield "trainer.report_to: trackio"
    if tool == "llama-factory" and recipe.trainer.precision == "float32":
        yield "trainer.precision: float32 (with bf16: false it still computes in half precision on a GPU)"
    if recipe.packing == "shared_prefix":
        yield "packing: shared_prefix (records are padded: slower, the same loss)"
    quantization = recipe.quantization
    if quantization and quantization.load_in_4bit:
        if quantization.bnb_4bit_compute_dtype != "bfloat16":
            yield f"quantization.bnb_4bit_compute_dtype: {quantization.bnb_4bit_compute_dtype}"
        if is_axolotl and quantization.bnb_4bit_quant_type != "nf4":
            yield f"quantization.bnb_4bit_quant_type: {quantization.bnb_4bit_quant_type}"
        if is_axolotl and not quantization.bnb_4bit_use_double_quant:
            yield "quantization.bnb_4bit_use_double_quant: false"
    if recipe.init_adapter and tool in ("trl", "messages"):
        yield f"init_adapter: {recipe.init_adapter.path}"
    if recipe.init_adapter and recipe.init_adapter.revision:
        yield f"init_adapter.revision: {recipe.init_adapter.revision}"
    if recipe.seeds:
        yield f"seeds: {', '.join(map(str, recipe.seeds))} (one run has the seed {recipe.seed})"
    source = backbone.source
    if isinstance(source, BuiltSource):
        yield "backbone: the folder of a built backbone; name it in place of its repository id"
    elif source.gguf_file:
        yield f"backbone: the weights of {source.gguf_file}; the original's are loaded in their place"
    elif not isinstance(source, HubSource):
        yield "backbone: the folder of its recipe; name it in place of its repository id"


def _trl(recipe: AdapterRecipe, backbone: BackboneRecipe, _has_validation: bool) -> Settings:
    """For `trl sft --config trl-sft.yaml`: keys of its ScriptArguments, SFTConfig and ModelConfig."""
    trainer = recipe.trainer.model_dump(mode="json", exclude_none=True, exclude={"threads", "precision"})
    if recipe.trainer.precision != "auto":
        trainer["bf16"] = recipe.trainer.precision == "bf16"
    quantization = recipe.quantization
    return {
        "model_name_or_path": backbone.source.repo_id,
        **_revision(backbone),
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


def _axolotl(recipe: AdapterRecipe, backbone: BackboneRecipe, has_validation: bool) -> Settings:
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
        **_revision(backbone),
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
        "bf16": {"bf16": True, "float32": False}.get(trainer.precision, "auto"),
        "seed": recipe.seed,
        "output_dir": "out",
    }


def _llama_factory(recipe: AdapterRecipe, backbone: BackboneRecipe, has_validation: bool) -> Settings:
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
        **_revision(backbone),
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
        "bf16": trainer.precision != "float32",
        "seed": recipe.seed,
        "output_dir": "out",
    }


def _lora(recipe: AdapterRecipe) -> Settings:
    settings = recipe.lora.model_dump(mode="json")
    return {f"lora_{name.removeprefix('lora_')}": value for name, value in settings.items()}


def _renamed(trainer: TrainerRecipe, keys: Mapping[str, str]) -> Settings:
    """The trainer's settings under a tool's names; -1 steps and empty settings say nothing."""
    values = {key: getattr(trainer, name) for name, key in keys.items()}
    return {key: value for key, value in values.items() if value not in (-1, None, {})}


def _warmup(trainer: TrainerRecipe) -> Settings:
    """A share of all steps has a key of its own in tools that stand on transformers 4."""
    steps = trainer.warmup_steps
    return {"warmup_ratio": steps} if 0 < steps < 1 else {"warmup_steps": round(steps)}


def _revision(backbone: BackboneRecipe) -> Settings:
    revision = getattr(backbone.source, "revision", None)
    return {"model_revision": revision} if revision else {}
