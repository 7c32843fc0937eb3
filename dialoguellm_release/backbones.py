"""The backbone: a language model and its tokenizer, from the Hub or built from a seed without a download."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dialoguellm_release.errors import DataError, MissingExtraError, Problem
from dialoguellm_release.folders import (
    MANIFEST,
    combined_sha256,
    package_versions,
    read_manifest,
    sha256_of_text,
    staged,
    stamps,
    write_manifest,
)
from dialoguellm_release.progress import silence_transformers
from dialoguellm_release.recipes.load import Loaded
from dialoguellm_release.resources import resource_folder
from dialoguellm_release.schemas.labels import LABELS
from dialoguellm_release.schemas.manifest import BackboneManifest
from dialoguellm_release.schemas.recipes.adapter import QuantizationRecipe
from dialoguellm_release.schemas.recipes.backbone import BackboneRecipe, BuiltSource, HubSource

if TYPE_CHECKING:
    import torch
    from tokenizers import Tokenizer
    from transformers import (
        LlamaForCausalLM,
        PreTrainedModel,
        PreTrainedTokenizerBase,
        PreTrainedTokenizerFast,
    )

BOS, EOS, PAD = "<s>", "</s>", "<pad>"
LABEL_WEIGHT = 100_000
"""How often a label stands in the tokenizer's training text: often enough that each becomes one token."""


@dataclass(frozen=True)
class Base:
    """Which weights an adapter belongs to.

    Attributes:
        revision: Commit of a model on the Hub, where the recipe pins one.
        content_sha256: Hash of a backbone of our own making; None for one from the Hub.
    """

    repo_id: str
    revision: str | None
    content_sha256: str | None


def base_of(recipe: BackboneRecipe, folder: Path | None) -> Base:
    """The identity of a backbone, without loading it.

    Raises:
        DataError: It has to be built first, or the folder holds another one.
    """
    match recipe.source:
        case HubSource(repo_id=repo_id, revision=revision):
            return Base(repo_id, revision, None)
        case BuiltSource(repo_id=repo_id) as source:
            return Base(repo_id, None, _built_manifest(source, folder).content_sha256)


def build_backbone(recipe: Loaded[BackboneRecipe], out: Path) -> BackboneManifest:
    """Builds a LLaMA of random weights and its tokenizer, and writes both with a manifest.

    The same recipe gives the same bytes in every process.

    Raises:
        DataError: The recipe names a model on the Hub: there is nothing to build.
        MissingExtraError: torch or transformers is not installed.
    """
    source = recipe.recipe.source
    if isinstance(source, HubSource):
        raise DataError(
            Problem(recipe.name, f"is the model {source.repo_id} on the Hub", fix="nothing: it is not built")
        )
    with staged(out, "backbone") as folder:
        tokenizer = _tokenizer(source)
        model = _model(source, len(tokenizer))
        tokenizer.save_pretrained(folder)
        model.save_pretrained(folder)
        manifest = BackboneManifest(
            created_by=package_versions("torch", "transformers", "tokenizers"),
            recipe=recipe.stamp,
            inputs=(),
            outputs=stamps(folder),
            content_sha256=combined_sha256(
                [
                    ("weights", weights_sha256(model.state_dict())),
                    ("tokenizer", sha256_of_text(tokenizer.backend_tokenizer.to_str())),
                ]
            ),
            parameters=model.num_parameters(),
        )
        write_manifest(folder, manifest)
    return manifest


def load_backbone(
    recipe: BackboneRecipe, folder: Path | None, quantization: QuantizationRecipe | None = None
) -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    """The model, in the precision that the hardware favours, and the tokenizer.

    Args:
        folder: Where a backbone of our own making was built; not used for one from the Hub.
        quantization: None keeps the weights in that precision.

    Raises:
        DataError: It is not built, cannot be had from the Hub, or its tokenizer has no end-of-sequence token.
        MissingExtraError: torch, transformers or, for quantisation, bitsandbytes is not installed.
    """
    try:
        import torch
        from transformers import AutoModelForCausalLM
    except ModuleNotFoundError as error:
        raise MissingExtraError("train", str(error.name)) from error

    tokenizer = load_tokenizer(recipe, folder)
    base, place = _base_and_place(recipe, folder)
    on_gpu = torch.cuda.is_available()
    try:
        model = AutoModelForCausalLM.from_pretrained(
            place,
            revision=base.revision,
            trust_remote_code=False,
            use_safetensors=True,
            dtype=torch.bfloat16 if on_gpu and torch.cuda.is_bf16_supported() else torch.float32,
            **_quantized(quantization),
        )
    except OSError as error:
        raise DataError(_not_to_be_had(base, place, error)) from error
    # A quantised model is put on its device while it is loaded.
    return model.to("cuda") if on_gpu and quantization is None else model, tokenizer


def load_tokenizer(recipe: BackboneRecipe, folder: Path | None) -> PreTrainedTokenizerFast:
    """The tokenizer alone, from where `load_backbone` takes it, with the same errors.

    Why: what can be wrong with the records shows before gigabytes of weights are fetched.
    """
    base, place = _base_and_place(recipe, folder)
    try:
        from transformers import AutoTokenizer
    except ModuleNotFoundError as error:
        raise MissingExtraError("train", str(error.name)) from error

    silence_transformers()
    try:
        tokenizer = AutoTokenizer.from_pretrained(place, revision=base.revision, trust_remote_code=False)
    except OSError as error:
        raise DataError(_not_to_be_had(base, place, error)) from error
    _check_end_of_sequence(tokenizer, place)
    return tokenizer


def _base_and_place(recipe: BackboneRecipe, folder: Path | None) -> tuple[Base, str]:
    """A backbone, and the folder or repository that it is loaded from."""
    base = base_of(recipe, folder)
    return base, base.repo_id if base.content_sha256 is None else str(folder)


def tokenizer_at_hand(
    recipe: BackboneRecipe, folder: Path | None, tokenizer: Path | None = None
) -> PreTrainedTokenizerFast | None:
    """The tokenizer of a backbone where it lies on this machine; nothing is downloaded, no weights are read.

    Args:
        folder: Where a backbone of our own making may have been built.
        tokenizer: A folder that holds it; None looks into `folder` or the cache of the Hub.

    Raises:
        DataError: `tokenizer` is named, and holds none.
        MissingExtraError: transformers is not installed.
    """
    try:
        from transformers import AutoTokenizer
    except ModuleNotFoundError as error:
        raise MissingExtraError("train", str(error.name)) from error

    silence_transformers()
    source = recipe.source
    place = str(tokenizer or (source.repo_id if isinstance(source, HubSource) else folder))
    revision = source.revision if isinstance(source, HubSource) and tokenizer is None else None
    try:
        found = AutoTokenizer.from_pretrained(
            place, revision=revision, trust_remote_code=False, local_files_only=True
        )
    except (OSError, ValueError) as error:
        if tokenizer is None:
            return None
        fix = "name a folder with tokenizer.json and tokenizer_config.json"
        raise DataError(Problem(place, f"no tokenizer can be loaded from here: {error}", fix=fix)) from error
    _check_end_of_sequence(found, place)
    return found


def _check_end_of_sequence(tokenizer: PreTrainedTokenizerBase, place: str) -> None:
    if tokenizer.eos_token_id is None:
        raise DataError(
            Problem(
                place,
                "the tokenizer has no end-of-sequence token, so a model could not learn to stop",
                fix="choose another backbone",
            )
        )


def _quantized(quantization: QuantizationRecipe | None) -> dict[str, object]:
    if quantization is None:
        return {}
    import torch
    from transformers import BitsAndBytesConfig

    if importlib.util.find_spec("bitsandbytes") is None:
        raise MissingExtraError("quantize", "bitsandbytes")
    settings = quantization.model_dump()
    compute_dtype = getattr(torch, settings.pop("bnb_4bit_compute_dtype"))
    config = BitsAndBytesConfig(**settings, bnb_4bit_compute_dtype=compute_dtype)
    return {"quantization_config": config, "device_map": {"": torch.cuda.current_device()}}


def weights_sha256(tensors: dict[str, torch.Tensor]) -> str:
    """One hash over named tensors: their type, shape and bytes, whatever file holds them."""
    import hashlib

    import torch

    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _built_manifest(source: BuiltSource, folder: Path | None) -> BackboneManifest:
    if folder is None or not (folder / MANIFEST).is_file():
        raise DataError(
            Problem(
                str(folder or source.repo_id),
                "no backbone is built here" if folder else "is built, not downloaded, but no folder is named",
                fix="build it first: dlm-release adapter train does so where it is missing",
            )
        )
    manifest = read_manifest(folder, BackboneManifest)
    built = manifest.recipe.resolved["source"]
    if built != source.model_dump(mode="json"):
        raise DataError(
            Problem(
                str(folder),
                "holds a backbone of another recipe",
                expected=str(source.model_dump(mode="json")),
                got=str(built),
                fix="build it again, or name another folder",
            )
        )
    return manifest


def _not_to_be_had(base: Base, place: str, error: OSError) -> Problem:
    if base.content_sha256 is not None:
        return Problem(place, f"cannot be loaded: {error}", fix="delete the folder and build it again")
    at = place_at(place, base.revision)
    fix = "check repo_id and revision in the backbone recipe"
    return refused_by_hub(place, base.revision, error.__cause__) or Problem(
        at, f"cannot be loaded: {error}", fix=fix
    )


def place_at(repo_id: str, revision: str | None) -> str:
    """A repository on the Hub, with its revision where there is one, as an error names it."""
    return f"{repo_id} at {revision}" if revision else repo_id


def refused_by_hub(repo_id: str, revision: str | None, error: BaseException | None) -> Problem | None:
    """Why the Hub did not give a model, and what to do; None where it was something else."""
    from huggingface_hub.errors import GatedRepoError, LocalEntryNotFoundError, RepositoryNotFoundError

    at = place_at(repo_id, revision)
    match error:
        case GatedRepoError():
            fix = f"accept its terms at https://huggingface.co/{repo_id}, then: hf auth login"
            return Problem(at, "the Hub gives this model only to those who accepted its terms", fix=fix)
        case RepositoryNotFoundError():
            fix = "check the recipe; if the model is private: hf auth login"
            return Problem(at, "the Hub has no such model, or does not show it to you", fix=fix)
        case LocalEntryNotFoundError():
            fix = "go online (and unset HF_HUB_OFFLINE), or put the model into the cache with: hf download"
            return Problem(at, "neither in the local cache nor within reach on the Hub", fix=fix)
    return None


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
    """Each label very often, and each word of words.txt the more often the earlier it stands there."""
    for label in LABELS:
        yield f" {label}" * LABEL_WEIGHT
    words = (resource_folder("recipes") / "backbones" / "words.txt").read_text(encoding="utf-8").split()
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
