"""A LLaMA of random weights and its tokenizer, built from a seed without a download."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dialoguellm_release.backbones.identity import weights_sha256
from dialoguellm_release.errors import DataError, MissingExtraError, Problem
from dialoguellm_release.folders import combined_sha256, sha256_of_text, write_text
from dialoguellm_release.progress import silence_transformers
from dialoguellm_release.recipes.load import Loaded
from dialoguellm_release.resources import record, resource_folder
from dialoguellm_release.schemas.labels import LABELS
from dialoguellm_release.schemas.recipes.backbone import BackboneRecipe, BuiltSource

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import LlamaForCausalLM, PreTrainedModel, PreTrainedTokenizerFast

BOS, EOS, PAD = "<s>", "</s>", "<pad>"
LABEL_WEIGHT = 100_000
"""How often a label stands in the tokenizer's training text: often enough that each becomes one token."""


@dataclass(frozen=True)
class BuiltBackbone:
    """What a backbone is: the hash of its weights and tokenizer, and its size."""

    content_sha256: str
    parameters: int


def build_backbone(recipe: Loaded[BackboneRecipe], folder: Path) -> BuiltBackbone:
    """Builds a LLaMA of random weights and its tokenizer, and writes both into an empty folder.

    The same recipe gives the same bytes in every process.

    Raises:
        DataError: The recipe names a model on the Hub: there is nothing to build.
        MissingExtraError: torch or transformers is not installed.
    """
    source = recipe.recipe.source
    if not isinstance(source, BuiltSource):
        raise DataError(
            Problem(
                recipe.name,
                f"is the model {source.repo_id}, which is not built",
                fix="name the recipe where a backbone is asked for: it is loaded",
                code="backbones.not_built",
            )
        )
    tokenizer = _tokenizer(source)
    return save_backbone(_model(source, len(tokenizer)), tokenizer, folder)


def save_backbone(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, folder: Path) -> BuiltBackbone:
    """Writes a model and its tokenizer into a folder."""
    tokenizer.save_pretrained(folder)
    model.save_pretrained(folder)
    write_for_earlier_versions(folder)
    parts = [
        ("weights", weights_sha256(model.state_dict())),
        ("tokenizer", sha256_of_text(tokenizer.backend_tokenizer.to_str())),
    ]
    return BuiltBackbone(combined_sha256(parts), model.num_parameters())


def write_for_earlier_versions(folder: Path) -> None:
    """Adds to the files of a model or tokenizer what transformers 4 reads, beside what version 5 reads.

    Why: version 4 knows neither the tokenizer class `TokenizersBackend`, so it cannot load the tokenizer, nor
    `rope_parameters`, so it computes other logits without a word. Settings of this machine are left out.
    """
    path = folder / "tokenizer_config.json"
    if path.is_file():
        settings = json.loads(path.read_text(encoding="utf-8"))
        if settings.get("tokenizer_class") == "TokenizersBackend":
            settings["tokenizer_class"] = "PreTrainedTokenizerFast"
        for name in ("is_local", "local_files_only"):
            settings.pop(name, None)
        write_text(path, json.dumps(settings, indent=2, ensure_ascii=False, sort_keys=True) + "\n")
    path = folder / "config.json"
    if path.is_file():
        config = json.loads(path.read_text(encoding="utf-8"))
        rope = config.get("rope_parameters")
        if isinstance(rope, dict) and "rope_theta" in rope:
            config.setdefault("rope_theta", rope["rope_theta"])
            if rope.get("rope_type", "default") != "default":
                config.setdefault("rope_scaling", {key: rope[key] for key in rope if key != "rope_theta"})
        write_text(path, json.dumps(config, indent=2, ensure_ascii=False, sort_keys=True) + "\n")


def _tokenizer(source: BuiltSource) -> PreTrainedTokenizerFast:
    try:
        from transformers import PreTrainedTokenizerFast
    except ModuleNotFoundError as error:
        raise MissingExtraError("train", str(error.name)) from error

    silence_transformers()
    return PreTrainedTokenizerFast(
        tokenizer_object=_byte_level_bpe(source.vocab_size),
        bos_token=BOS,
        eos_token=EOS,
        pad_token=PAD,
        model_max_length=source.max_position_embeddings,
        clean_up_tokenization_spaces=False,
    )


def _byte_level_bpe(vocab_size: int) -> Tokenizer:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[BOS, EOS, PAD],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_training_text(), trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A",
        pair=f"{BOS} $A {BOS} $B",
        special_tokens=[(BOS, tokenizer.token_to_id(BOS))],
    )
    return tokenizer


def _training_text() -> Iterator[str]:
    """Each label very often, and each word of words.txt more often the earlier it comes."""
    for label in LABELS:
        yield f" {label}" * LABEL_WEIGHT
    words = record(resource_folder("recipes") / "backbones" / "words.txt").read_text(encoding="utf-8").split()
    for rank, word in enumerate(words):
        weight = len(words) - rank
        yield f" {word}" * weight
        yield f"{word}\n" * (weight // 4)
        yield f" {word.capitalize()}" * (weight // 4)


def _model(source: BuiltSource, vocab_size: int) -> LlamaForCausalLM:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=vocab_size,
        hidden_size=source.hidden_size,
        intermediate_size=source.intermediate_size,
        num_hidden_layers=source.num_hidden_layers,
        num_attention_heads=source.num_attention_heads,
        initializer_range=source.initializer_range,
        max_position_embeddings=source.max_position_embeddings,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=2,
        dtype="float32",
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(source.seed)
        return LlamaForCausalLM(config)
