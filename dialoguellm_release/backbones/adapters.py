"""An adapter put onto its backbone, from safetensors alone and only where every weight fits."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, fields, replace
from functools import cache
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dialoguellm_release.backbones.load import check_finite, first_names, location_at, refused_by_hub
from dialoguellm_release.errors import DataError, Problem, needing
from dialoguellm_release.folders import combined_sha256, sha256_of
from dialoguellm_release.schemas.manifests import AdapterManifest, MergedManifest

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"

_NOT_OF_THE_FUNCTION = frozenset(
    {
        *(
            "auto_mapping",
            "base_model_name_or_path",
            "inference_mode",
            "lora_dropout",
            "peft_version",
            "revision",
        ),
        *("ephemeral_gpu_offload", "runtime_config", "tokenizer_name_or_path"),
    }
)
"""Fields that change no answer, or that are compared with the backbone instead."""

_HARMLESS = {"init_lora_weights": (True, False, "gaussian"), "task_type": ("CAUSAL_LM",)}
"""Values beside the default that change no answer of a trained adapter."""


def find_adapter(reference: str | PathLike[str]) -> Path:
    """The folder of an adapter: a path, or the downloaded copy of `owner/name` or `owner/name@revision`."""
    repo_id, _, revision = str(reference).partition("@")
    if Path(reference).is_dir() or not re.fullmatch(r"[\w.-]+/[\w.-]+", repo_id):
        return Path(reference)
    fix = "name the folder of an adapter, or a repository on the Hub"
    try:
        return downloaded(repo_id, revision or None, fix, files=None)
    except DataError as error:
        (problem,) = error.problems
        raise DataError(replace(problem, what=f"no such folder, and {problem.what}")) from error


def downloaded(
    repo_id: str, revision: str | None, fix: str, files: Sequence[str] | None = (CONFIG, WEIGHTS)
) -> Path:
    """The local copy of an adapter's repository on the Hub; a pickle in place of safetensors stays there."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        return Path(snapshot_download(repo_id, revision=revision, allow_patterns=[*files] if files else None))
    except (OSError, HfHubHTTPError, HFValidationError) as error:
        where, what = location_at(repo_id, revision), f"cannot be downloaded from the Hub: {error}"
        problem = Problem(where, what, fix=fix, code="adapters.not_available")
        raise DataError(refused_by_hub(repo_id, revision, error) or problem) from error


_DECIDING = frozenset(
    {CONFIG, WEIGHTS, "golden_prompt.json", "prompt.json", "tokenizer.json", "tokenizer_config.json"}
)
_ALWAYS_WRITTEN = ("bias", "inference_mode", "lora_alpha", "lora_dropout", "peft_type", "r")


def load_adapter(
    model: PreTrainedModel, folder: Path, location: str | None = None, *, is_trainable: bool = False
) -> PeftModel:
    """The model with the adapter of a folder.

    Why: without safetensors PEFT reads a pickle, which can run anything; and it keeps the untrained weights
    of every layer that the file has no weights for. An error calls the folder by `location`, or its path.
    """
    with needing("train"):
        from peft import PeftModel, get_peft_model_state_dict

    where = location or str(folder)
    config = read_config(folder, where)
    if unknown := sorted(set(config) - set(_defaults())):
        raise DataError(_unknown_fields(where, unknown))
    stored = _stored_names(folder, where)
    try:
        with warnings.catch_warnings():
            # PEFT uses a name that transformers has deprecated, and warns of what is checked below.
            warnings.simplefilter("ignore", FutureWarning)
            warnings.simplefilter("ignore", UserWarning)
            loaded = PeftModel.from_pretrained(model, folder, is_trainable=is_trainable)
    except Exception as error:  # a foreign adapter makes PEFT raise nearly anything
        what = f"{CONFIG} and {WEIGHTS} cannot be loaded as an adapter"
        got = f"{type(error).__name__}: {' '.join(str(error).split())}"
        fix = "use the adapter with the base that it was trained on"
        raise DataError(Problem(where, what, got=got, fix=fix, code="adapters.not_loadable")) from error
    wanted = set(get_peft_model_state_dict(loaded, save_embedding_layers=False))
    if wanted != stored:
        raise DataError(_weights_do_not_fit(where, wanted, stored))
    weights = get_peft_model_state_dict(loaded, save_embedding_layers=False)
    check_finite(weights, f"{where}: {WEIGHTS}", "download or train the adapter again")
    return loaded


def load_answering(model: PreTrainedModel, folder: Path, location: str | None = None) -> PreTrainedModel:
    """The model with the adapter of a folder, to be asked: errors as in `load_adapter`.

    In single precision the adapter is merged, which changes probabilities by about 1e-6 and saves a tenth to
    a fifth of the time. In half precision merging would round every weight, and in integers even more.
    """
    import torch

    loaded = load_adapter(model, folder, location).eval()
    config = loaded.active_peft_config
    is_exact = model.dtype in (torch.float32, torch.float64)
    is_plain = getattr(model.config, "quantization_config", None) is None
    if not is_exact or not is_plain or getattr(config, "alora_invocation_tokens", None):
        answering: PreTrainedModel = loaded
        return answering
    answering = loaded.merge_and_unload()
    return answering.eval()


def read_config(folder: Path, where: str) -> dict[str, Any]:
    """The settings of an adapter as the file has them."""
    check_adapter_files(folder, where)
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise DataError(_not_a_config(where, str(error))) from error
    if not isinstance(config, dict) or config.get("peft_type") != "LORA":
        raise DataError(_not_a_config(where, json.dumps(config)[:200]))
    return config


def config_problems(config: Mapping[str, Any], lora: Mapping[str, Any], where: str) -> Iterator[Problem]:
    """Where the settings of an adapter are not those of a LoRA recipe.

    Why: what the recipe does not state must have PEFT's default, else the adapter would compute something
    else than the recipe says (`use_rslora`, `modules_to_save`, a field of a later PEFT).
    """
    defaults = _defaults()
    unknown = sorted(set(config) - set(defaults))
    if unknown:
        yield _unknown_fields(where, unknown)
    wanted = {**defaults, **lora}
    for name in sorted(set(wanted) - _NOT_OF_THE_FUNCTION):
        expected, got = _plain(wanted[name]), _plain(config.get(name, defaults[name]))
        if got == expected or got in _HARMLESS.get(name, ()):
            continue
        if name in lora:
            what = f"differs from {where}"
            yield Problem(f"lora.{name}", what, str(got), str(expected), code="adapters.other_settings")
        else:
            what = f"{name} changes what the adapter computes, and no recipe can state it"
            yield Problem(where, what, str(expected), str(got), code="adapters.other_function")


def other_function(config: Mapping[str, Any], lora: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that change what an adapter computes beyond its recipe; empty for one of this package."""
    defaults = _defaults()
    return {
        name: _plain(value)
        for name, value in sorted(config.items())
        if name not in _NOT_OF_THE_FUNCTION
        and name not in lora
        and _plain(value) != _plain(defaults.get(name))
        and _plain(value) not in _HARMLESS.get(name, ())
    }


def without_defaults(config: Mapping[str, Any]) -> dict[str, Any]:
    """Settings without those that are PEFT's default, so that an earlier PEFT knows all that is left."""
    defaults = _defaults()
    return {
        name: value
        for name, value in config.items()
        if name in _ALWAYS_WRITTEN
        or (name != "peft_version" and (name not in defaults or _plain(value) != _plain(defaults[name])))
    }


def check_adapter_files(folder: Path, where: str) -> None:
    """Checks that a folder has the files of an adapter."""
    problems = [
        Problem(where, f"no {name} here", fix="name the folder of an adapter", code="adapters.no_file")
        for name in (CONFIG, WEIGHTS)
        if not (folder / name).is_file()
    ]
    if problems:
        raise DataError(problems)


def check_unchanged(folder: Path, adapter: AdapterManifest | MergedManifest) -> None:
    """Checks that the files that decide an adapter's answers are those of its manifest.

    Of a merged model, all but its weights, whose hash would take as long as loading them.

    Why: a score or a merged model of other files would be recorded as one of this adapter.
    """
    stated = {file.path: file.sha256 for file in adapter.outputs if file.path in _DECIDING}
    what, fix = (
        "is not the file that the manifest of the adapter states",
        "restore it, or train the adapter again",
    )
    problems = [
        Problem(str(folder / name), what, fix=fix, code="adapters.changed_file")
        for name, digest in stated.items()
        if not (folder / name).is_file() or sha256_of(folder / name) != digest
    ]
    if problems:
        raise DataError(problems)


def adapter_files_sha256(folder: Path) -> str:
    """A hash over settings and weights of an adapter, whoever made it."""
    return combined_sha256((name, sha256_of(folder / name)) for name in (CONFIG, WEIGHTS))


@cache
def _defaults() -> dict[str, Any]:
    """Each field of PEFT's LoraConfig with its default."""
    from peft import LoraConfig

    found = {}
    for field in fields(LoraConfig):
        made = field.default_factory() if field.default_factory is not MISSING else field.default
        found[field.name] = None if made is MISSING else made
    return {**found, "peft_type": "LORA"}


def _plain(value: Any) -> Any:
    """A value so that equal settings are equal: no order of names, no difference of empty and None."""
    if isinstance(value, (list, tuple, set)):
        value = sorted(value, key=str)
    if value is None or value in ([], {}):
        return None
    return value


def _stored_names(folder: Path, where: str) -> set[str]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(folder / WEIGHTS, framework="pt") as weights:
            return set(weights.keys())
    except (SafetensorError, OSError) as error:
        what, fix = "cannot be loaded as an adapter", "download or train the adapter again"
        got = f"{WEIGHTS}: {error}"
        raise DataError(Problem(where, what, got=got, fix=fix, code="adapters.not_loadable")) from error


def _weights_do_not_fit(where: str, wanted: set[str], stored: set[str]) -> Problem:
    missing, unknown = wanted - stored, stored - wanted
    parts = [f"{len(missing):,} missing: {first_names(missing)}"] if missing else []
    parts += [f"{len(unknown):,} unknown: {first_names(unknown)}"] if unknown else []
    what, expected = f"{WEIGHTS} does not fit the model and {CONFIG}", f"{len(wanted):,} weights"
    got = f"{len(stored):,} weights; {'; '.join(parts)}"
    fix = "use the adapter with the base that it was trained on, saved by PEFT's save_pretrained"
    return Problem(where, what, expected, got, fix, code="adapters.weights_do_not_fit")


def _unknown_fields(where: str, unknown: list[str]) -> Problem:
    from peft import __version__

    what, expected = (
        f"{CONFIG} has fields that PEFT {__version__} does not know",
        "the fields of peft.LoraConfig",
    )
    fix = "update peft, or save the adapter with this version"
    return Problem(where, what, expected, ", ".join(unknown), fix, code="adapters.unknown_fields")


def _not_a_config(where: str, got: str) -> Problem:
    what = f"{CONFIG} is not that of a LoRA adapter"
    return Problem(where, what, "a JSON object with peft_type LORA", got, code="adapters.no_config")
