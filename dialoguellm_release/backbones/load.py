"""A backbone and its tokenizer, from the Hub, its cache or a folder: the one place that loads weights."""

from __future__ import annotations

import importlib.util
from collections.abc import Collection, Mapping
from contextlib import nullcontext, redirect_stderr
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from dialoguellm_release.backbones.weights import Base, base_of
from dialoguellm_release.errors import DataError, MissingExtraError, Problem, needing
from dialoguellm_release.progress import silence_transformers
from dialoguellm_release.schemas.recipes.adapter import QuantizationRecipe
from dialoguellm_release.schemas.recipes.backbone import BackboneRecipe, BuiltSource, FolderSource, HubSource

if TYPE_CHECKING:
    import torch
    from torch import Tensor
    from transformers import PreTrainedModel, PreTrainedTokenizerBase, PreTrainedTokenizerFast

MAX_NAMED = 5
_FILES = {
    "the model": "config.json and weights in safetensors",
    "the tokenizer": "tokenizer.json and tokenizer_config.json",
}
_FIX = "check repo_id, revision or path in the backbone recipe"


def load_backbone(
    recipe: BackboneRecipe,
    folder: Path | None,
    quantization: QuantizationRecipe | None = None,
    precision: Literal["auto", "float32", "bf16"] = "auto",
    device: str | None = None,
) -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    """The model and the tokenizer, on a GPU where there is one and no other device is named.

    The precision `auto` is bf16 where a GPU has it, else float32. Only one that was built has a folder.
    """
    with needing("train"):
        import torch

    tokenizer = load_tokenizer(recipe, folder)
    base, location = _base_and_location(recipe, folder)
    target = _device(device)
    on_gpu = target.type == "cuda"
    is_bf16 = precision == "bf16" or (precision == "auto" and on_gpu and torch.cuda.is_bf16_supported())
    dtype = torch.bfloat16 if is_bf16 else torch.float32
    if base.gguf_file:
        stated = getattr(torch, str(base.dequantized_to))
        options = {"gguf_file": base.gguf_file, "revision": base.revision, "dtype": stated}
        model = _without_gguf(load_model(location, fix=_fix(recipe), **options)).to(dtype=dtype)
    else:
        options = {"revision": base.revision, "dtype": dtype, **_quantized(quantization)}
        model = load_model(location, fix=_fix(recipe), **options)
    _check_vocabulary(model, tokenizer, base, location)
    # A quantised model is put on its device while it is loaded.
    return model.to(target) if quantization is None else model, tokenizer


def _device(name: str | None) -> torch.device:
    """The device of a name, once a tensor could be put there."""
    import torch

    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.zeros(1, device=name).device
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        what, got = "cannot be used as a device", str(error).partition("\n")[0]
        expected = "cpu, cuda, cuda:1 or mps, where this machine has it"
        raise DataError(Problem(name, what, expected, got, code="backbones.device")) from error


def load_model(location: str | Path, *, fix: str = _FIX, **options: Any) -> PreTrainedModel:
    """A causal language model whose weights are all those of the checkpoint, and all of the checkpoint's.

    Why: `from_pretrained` fills weights that a checkpoint lacks with random numbers and leaves out those it
    does not know, with a warning at most. Tied weights and buffers that are never saved count as present.
    """
    with needing("train"):
        import torch
        from transformers import AutoModelForCausalLM

    silence_transformers()
    at = location_at(str(location), options.get("revision"))
    try:
        # transformers shows a progress bar for GGUF whatever its settings.
        with redirect_stderr(StringIO()) if "gguf_file" in options else nullcontext():
            model, info = AutoModelForCausalLM.from_pretrained(
                location,
                trust_remote_code=False,
                use_safetensors=True,
                ignore_mismatched_sizes=True,  # they are refused below, by name
                output_loading_info=True,
                **options,
            )
    except (torch.OutOfMemoryError, MemoryError) as error:
        what = f"does not fit into memory: {error}"
        fix = "use a smaller backbone or more memory, or set quantization in the adapter recipe"
        raise DataError(Problem(at, what, fix=fix, code="backbones.out_of_memory")) from error
    # A foreign checkpoint makes transformers raise nearly anything.
    except Exception as error:
        raise DataError(_not_loaded(str(location), options.get("revision"), error, fix)) from error
    mismatched = [
        f"{name} {tuple(got)}, not {tuple(wanted)}" for name, got, wanted in info["mismatched_keys"]
    ]
    found = {
        "missing from the checkpoint": info["missing_keys"],
        "in the checkpoint only": info["unexpected_keys"],
        "of another shape": mismatched,
        "not readable": info["error_msgs"],
    }
    got = "; ".join(f"{len(names):,} {what}: {first_names(names)}" for what, names in found.items() if names)
    if got:
        what = f"the weights are not those of a {type(model).__name__}"
        expected = "each weight of the model in the checkpoint, and no other"
        fix = f"use a complete checkpoint of this architecture; {fix}"
        raise DataError(Problem(at, what, expected, got, fix, code="backbones.weights_do_not_fit"))
    check_finite(dict(model.named_parameters()), at, f"use an undamaged checkpoint; {fix}")
    if "gguf_file" not in options and getattr(model.config, "quantization_config", None) is None:
        _check_not_integer(location, options.get("revision"), at)
    return model


def check_finite(weights: Mapping[str, Tensor], at: str, fix: str) -> None:
    """Checks that weights are numbers: a model with NaN or infinity in one gives no usable answer."""
    import torch

    wrong = [
        name
        for name, weight in weights.items()
        if weight.is_floating_point() and not bool(torch.isfinite(weight).all())
    ]
    if wrong:
        what, expected = "has weights that are not finite", "no NaN and no infinity"
        got = f"{len(wrong):,} of {len(weights):,}: {first_names(wrong)}"
        raise DataError(Problem(at, what, expected, got, fix, code="backbones.not_finite"))


def _check_not_integer(location: str | Path, revision: str | None, at: str) -> None:
    """Checks that a checkpoint that says nothing of quantisation has no integers, which would be cast."""
    from safetensors import safe_open
    from transformers.utils import cached_file

    config = cached_file(str(location), "config.json", revision=revision, local_files_only=True)
    kinds: dict[str, str] = {}
    for path in sorted(Path(str(config)).parent.glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            kinds |= {name: file.get_slice(name).get_dtype() for name in file.keys()}  # noqa: SIM118
    wrong = {name: kind for name, kind in kinds.items() if kind.startswith(("I", "U", "BOOL"))}
    if wrong:
        what = "has weights that are integers, but config.json states no quantization_config"
        expected = "weights in floating point"
        got = f"{len(wrong):,} in {', '.join(sorted(set(wrong.values())))}: {first_names(wrong)}"
        fix = "use the unquantised model, or a checkpoint whose config.json is complete"
        raise DataError(Problem(at, what, expected, got, fix, code="backbones.integer_weights"))


def load_tokenizer(recipe: BackboneRecipe, folder: Path | None) -> PreTrainedTokenizerFast:
    """The tokenizer alone, from where `load_backbone` takes it, with the same errors.

    Why: what is wrong with the records is found before gigabytes of weights are fetched.
    """
    base, location = _base_and_location(recipe, folder)
    found = _tokenizer(location, base.gguf_file, revision=base.revision, fix=_fix(recipe))
    _check_end_of_sequence(found, location)
    return found


def local_tokenizer(
    recipe: BackboneRecipe, folder: Path | None, tokenizer: Path | None = None
) -> PreTrainedTokenizerFast | None:
    """The tokenizer of a backbone where it is on this machine; nothing is downloaded, no weights are read.

    Without a folder that holds it, the one where the backbone may be built or the cache of the Hub has it.
    """
    source = recipe.source
    gguf_file = revision = None
    if tokenizer is not None:
        location = str(tokenizer)
    elif isinstance(source, BuiltSource):
        location = str(folder)
    else:
        location = source.path if isinstance(source, FolderSource) else source.repo_id
        gguf_file, revision = source.gguf_file, getattr(source, "revision", None)
    try:
        fix = "name a folder with tokenizer.json and tokenizer_config.json"
        found = _tokenizer(location, gguf_file, revision=revision, fix=fix, local_files_only=True)
    except DataError:
        if tokenizer is None:
            return None
        raise
    _check_end_of_sequence(found, location)
    return found


def location_at(repo_id: str, revision: str | None) -> str:
    """A repository or folder, with its revision where there is one, as an error names it."""
    return f"{repo_id} at {revision}" if revision else repo_id


def refused_by_hub(repo_id: str, revision: str | None, error: BaseException | None) -> Problem | None:
    """Why the Hub did not give a model, and what to do; None where it was something else."""
    from huggingface_hub.errors import GatedRepoError, LocalEntryNotFoundError, RepositoryNotFoundError

    at = location_at(repo_id, revision)
    match error:
        case GatedRepoError():
            what = "the Hub gives this model only to those who accepted its terms"
            fix = f"accept its terms at https://huggingface.co/{repo_id}, then: hf auth login"
            return Problem(at, what, fix=fix, code="backbones.gated")
        case RepositoryNotFoundError():
            what = "the Hub has no such model, or does not show it to you"
            fix = "check the recipe; if the model is private: hf auth login"
            return Problem(at, what, fix=fix, code="backbones.no_repository")
        case LocalEntryNotFoundError():
            what = "neither in the local cache nor reachable on the Hub"
            fix = "go online (and unset HF_HUB_OFFLINE), or put the model into the cache with: hf download"
            return Problem(at, what, fix=fix, code="backbones.unreachable")
    return None


def _tokenizer(
    location: str, gguf_file: str | None, *, revision: str | None, fix: str, local_files_only: bool = False
) -> PreTrainedTokenizerFast:
    with needing("train"):
        from transformers import AutoTokenizer

    silence_transformers()
    options: dict[str, Any] = {"revision": revision, "local_files_only": local_files_only}
    if gguf_file and not (Path(location) / "tokenizer.json").is_file():
        options["gguf_file"] = gguf_file
    try:
        return AutoTokenizer.from_pretrained(location, trust_remote_code=False, **options)
    except Exception as error:  # as in load_model
        raise DataError(_not_loaded(location, revision, error, fix, "the tokenizer")) from error


def _check_end_of_sequence(tokenizer: PreTrainedTokenizerBase, location: str) -> None:
    if tokenizer.eos_token_id is None:
        what = "tokenizer_config.json names no end-of-sequence token, so a model could not learn to stop"
        fix = "choose another backbone"
        raise DataError(Problem(location, what, fix=fix, code="backbones.no_end_of_sequence"))


def _check_vocabulary(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, base: Base, at: str
) -> None:
    rows = model.get_input_embeddings().weight.shape[0]
    # transformers adds an <|endoftext|> to what it reads from GGUF, which no text becomes.
    special = {number for number, token in tokenizer.added_tokens_decoder.items() if token.special}
    added = special if base.gguf_file else set()
    largest = max(set(tokenizer.get_vocab().values()) - added)
    if largest >= rows:
        what, expected = "the tokenizer has tokens that the model has no embedding for", f"ids below {rows:,}"
        got, fix = f"ids up to {largest:,}", "use model and tokenizer of the same repository and revision"
        raise DataError(Problem(at, what, expected, got, fix, code="backbones.vocabulary_too_large"))


def _without_gguf(model: PreTrainedModel) -> PreTrainedModel:
    """The dequantised weights as an ordinary model: one read from GGUF can be neither saved nor tuned."""
    import torch

    config = type(model.config).from_dict(
        {name: value for name, value in model.config.to_dict().items() if name != "quantization_config"}
    )
    with torch.random.fork_rng(devices=[]):
        plain = type(model)(config).to(dtype=model.dtype)
    plain.load_state_dict(model.state_dict())
    return plain.eval()


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


def _base_and_location(recipe: BackboneRecipe, folder: Path | None) -> tuple[Base, str]:
    """A backbone, and the folder or repository that it is loaded from."""
    base = base_of(recipe, folder)
    match recipe.source:
        case HubSource():
            return base, base.repo_id
        case FolderSource(path=path):
            return base, path
        case BuiltSource():
            return base, str(folder)


def _fix(recipe: BackboneRecipe) -> str:
    return "delete the folder and build it again" if isinstance(recipe.source, BuiltSource) else _FIX


def _not_loaded(
    location: str, revision: str | None, error: Exception, fix: str, part: str = "the model"
) -> Problem:
    refused = refused_by_hub(location, revision, error) or refused_by_hub(location, revision, error.__cause__)
    if refused:
        return refused
    from transformers import __version__

    said = " ".join(str(error).split()) or "no reason given"
    if isinstance(error, ImportError):
        fix = "install the library that it names, or name the unquantised model in the backbone recipe"
    where, what = location_at(location, revision), f"{part} cannot be loaded"
    expected = f"{_FILES[part]} of a causal language model that transformers {__version__} reads"
    got = f"{type(error).__name__}: {said}"
    return Problem(where, what, expected, got, fix, code="backbones.not_loadable")


def first_names(names: Collection[str]) -> str:
    """Some names, by the alphabet, and whether there are more."""
    more = ", ..." if len(names) > MAX_NAMED else ""
    return ", ".join(sorted(names)[:MAX_NAMED]) + more
