"""The files of an adapter folder: what PEFT reads, the tokenizer, and the prompt for any reader."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dialoguellm_release.backbones.adapters import other_function
from dialoguellm_release.backbones.identity import Base, weights_sha256
from dialoguellm_release.encoding import Encoder, golden_record
from dialoguellm_release.folders import canonical_json, combined_sha256, sha256_of_text, write_text
from dialoguellm_release.prompts import Prompt, chat_template, prompt_as_json, standalone_template
from dialoguellm_release.schemas.labels import Label
from dialoguellm_release.schemas.manifests import TRAINING_LOG
from dialoguellm_release.schemas.recipes.adapter import LoraRecipe
from dialoguellm_release.schemas.record import Record
from dialoguellm_release.training.sft import Tuned
from dialoguellm_release.training.watch import LogEntry
from dialoguellm_release.training.writing import writing_weights

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedTokenizerBase


def write_adapter(
    folder: Path,
    tuned: Tuned,
    tokenizer: PreTrainedTokenizerBase,
    encoder: Encoder,
    prompt: Prompt,
    base: Base,
    example: tuple[Record, Sequence[Label]],
) -> None:
    """Writes everything but card and manifest.

    Args:
        folder: Of the adapter.
        tuned: The trained model and its log.
        tokenizer: Of the backbone.
        encoder: Made the ids of the training.
        prompt: Of the training.
        base: The backbone.
        example: A record as the model saw it, and the labels of its instruction, for the golden prompt.

    Raises:
        DataError: The weights cannot be written.
    """
    with writing_weights(folder):
        save_adapter(tuned.model, base, folder)
    _save_tokenizer(tokenizer, folder)
    write_text(folder / "prompt.json", prompt_as_json(prompt))
    write_text(folder / "prompt_template.jinja", standalone_template(prompt))
    write_text(folder / "golden_prompt.json", _golden_prompt(encoder, prompt, *example))
    write_text(folder / TRAINING_LOG, "".join(_lines(tuned.log)))


def save_adapter(model: PeftModel, base: Base, folder: Path) -> None:
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
    """Saves the tokenizer without how this machine came by it, with the chat template of our prompt.

    Why: a template of the base, which some ship untrained, would put text around the prompt that the adapter
    has never seen.
    """
    template = tokenizer.chat_template
    tokenizer.chat_template = chat_template(begins_with_bos=_begins_with_bos(tokenizer))
    tokenizer.save_pretrained(folder)
    tokenizer.chat_template = template
    path = folder / "tokenizer_config.json"
    settings = json.loads(path.read_text(encoding="utf-8"))
    for name in ("is_local", "local_files_only"):
        settings.pop(name, None)
    write_text(path, json.dumps(settings, indent=2, ensure_ascii=False, sort_keys=True) + "\n")


def _begins_with_bos(tokenizer: PreTrainedTokenizerBase) -> bool:
    ids = tokenizer("a").input_ids
    return tokenizer.bos_token_id is not None and ids[0] == tokenizer.bos_token_id


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


def _lines(log: Iterable[LogEntry]) -> Iterator[str]:
    for entry in log:
        yield json.dumps(entry, sort_keys=True) + "\n"
