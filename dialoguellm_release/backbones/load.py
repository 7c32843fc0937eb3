"""A backbone and its tokenizer, loaded from the Hub's cache, the Hub, or a folder of our own making."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

from dialoguellm_release.backbones.identity import Base, base_of
from dialoguellm_release.backbones.refusals import place_at, refused_by_hub
from dialoguellm_release.errors import DataError, MissingExtraError, Problem
from dialoguellm_release.progress import silence_transformers
from dialoguellm_release.schemas.recipes.adapter import QuantizationRecipe
from dialoguellm_release.schemas.recipes.backbone import BackboneRecipe, HubSource

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase, PreTrainedTokenizerFast


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


def _base_and_place(recipe: BackboneRecipe, folder: Path | None) -> tuple[Base, str]:
    """A backbone, and the folder or repository that it is loaded from."""
    base = base_of(recipe, folder)
    return base, base.repo_id if base.content_sha256 is None else str(folder)


def _not_to_be_had(base: Base, place: str, error: OSError) -> Problem:
    if base.content_sha256 is not None:
        return Problem(place, f"cannot be loaded: {error}", fix="delete the folder and build it again")
    at = place_at(place, base.revision)
    fix = "check repo_id and revision in the backbone recipe"
    return refused_by_hub(place, base.revision, error.__cause__) or Problem(
        at, f"cannot be loaded: {error}", fix=fix
    )
