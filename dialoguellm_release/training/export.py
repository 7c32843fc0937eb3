"""The same training text for other trainers: rows as each takes them, and a configuration to start from."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

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
from dialoguellm_release.schemas.recipes.backbone import BackboneRecipe
from dialoguellm_release.training.check import encode_or_show_survival
from dialoguellm_release.training.data import records_of
from dialoguellm_release.training.tools import CPU_NOTE, ROWS, Tool, configuration

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
