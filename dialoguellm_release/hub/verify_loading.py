"""Whether a published repository loads with the library that its users have."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dialoguellm_release.backbones.adapters import load_adapter
from dialoguellm_release.cards.check import CARD
from dialoguellm_release.cards.merge import split_card
from dialoguellm_release.errors import DataError, MissingExtraError, Problem
from dialoguellm_release.hub.copies import Copy
from dialoguellm_release.hub.verdicts import Verdict, not_checked, verdict_on
from dialoguellm_release.progress import silence_transformers
from dialoguellm_release.schemas.dataset_manifest import DatasetManifest
from dialoguellm_release.schemas.labels import LABELS
from dialoguellm_release.schemas.manifests import AdapterManifest

NAME = "loading"


def loading_verdict(copy: Copy, scratch: Path) -> Verdict:
    """Whether `load_dataset` reads every config, or `PeftModel` the adapter on its base.

    Args:
        scratch: For the cache of `datasets`.
    """
    if copy.dataset:
        return _dataset_verdict(copy, copy.dataset, scratch)
    if copy.adapter:
        return _adapter_verdict(copy, copy.adapter)
    if copy.backbone:
        return _backbone_verdict(copy)
    return not_checked(NAME, "a metric is run by `evaluate`, which would run its code")


def base_folder(copy: Copy, adapter: AdapterManifest) -> Path | str | None:
    """Where the base of an adapter is: in its release, or in the local cache of the Hub; None for neither."""
    for one in copy.linked:
        if one.backbone and one.backbone.content_sha256 == adapter.figures.base_content_sha256:
            return one.folder
    if adapter.figures.base_content_sha256 is not None:
        return None
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(
        adapter.figures.base, "config.json", revision=adapter.figures.base_revision
    )
    return adapter.figures.base if isinstance(found, str) else None


def why_no_base(adapter: AdapterManifest) -> str:
    """What to do where `base_folder` gives none."""
    figures = adapter.figures
    if figures.base_content_sha256 is not None:
        return f"the backbone {figures.base} is not at hand: a folder stands alone"
    at = f" --revision {figures.base_revision}" if figures.base_revision else ""
    return f"the base is not in the local cache; get it with: hf download {figures.base}{at}"


def _dataset_verdict(copy: Copy, dataset: DatasetManifest, scratch: Path) -> Verdict:
    from datasets import disable_progress_bars, load_dataset
    from datasets.exceptions import DatasetsError

    disable_progress_bars()
    metadata, _ = split_card((copy.folder / CARD).read_text(encoding="utf-8"))
    listed = metadata.get("configs")
    names = [config["config_name"] for config in listed] if isinstance(listed, list) else []
    problems: list[Problem] = []
    for name in names:
        try:
            loaded = load_dataset(str(copy.folder), name, cache_dir=str(scratch))
        except (DatasetsError, ValueError, OSError, RuntimeError) as error:
            problems.append(Problem(f"{CARD}: config {name}", f"load_dataset fails: {error}"))
            continue
        problems += _split_problems(name, loaded, dataset)
    if not names:
        problems.append(Problem(CARD, "lists no configs, so load_dataset cannot tell records from prompts"))
    return verdict_on(NAME, problems, f"load_dataset, configs {', '.join(names)}")


def _split_problems(name: str, loaded: Any, dataset: DatasetManifest) -> Iterator[Problem]:
    """Where the default config has other counts than the manifest, or labels of other names."""
    if name != "default":
        return
    records = (dataset.published or dataset.figures).records
    expected = {split: count for split, count in records.items() if count}
    got = {split: rows.num_rows for split, rows in loaded.items()}
    if got != expected:
        yield Problem(
            f"{CARD}: config {name}", "gives other counts than the manifest", str(expected), str(got)
        )
    for split, rows in loaded.items():
        names = getattr(rows.features.get("label"), "names", None)
        if names != list(LABELS):
            what = f"its label has other names, split {split}"
            yield Problem(f"{CARD}: config {name}", what, ", ".join(LABELS), str(names))


def _adapter_verdict(copy: Copy, adapter: AdapterManifest) -> Verdict:
    try:
        from transformers import AutoModelForCausalLM, AutoTokenizer
    except ModuleNotFoundError as error:
        return not_checked(NAME, f"the extra train is not installed (no {error.name})")
    place = base_folder(copy, adapter)
    if place is None:
        return not_checked(NAME, why_no_base(adapter))
    silence_transformers()
    revision = adapter.figures.base_revision if place == adapter.figures.base else None
    try:
        base = AutoModelForCausalLM.from_pretrained(
            place, revision=revision, trust_remote_code=False, use_safetensors=True
        )
        model = load_adapter(base, copy.folder)
        AutoTokenizer.from_pretrained(copy.folder, trust_remote_code=False)
    except MissingExtraError:
        return not_checked(NAME, "the extra train is not installed (no peft)")
    except DataError as error:
        return verdict_on(NAME, error.problems)
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        return verdict_on(NAME, [Problem(str(copy.folder), f"transformers cannot read it: {error}")])
    count = sum(parameter.numel() for name, parameter in model.named_parameters() if "lora_" in name)
    expected = adapter.figures.trainable_parameters
    problems = []
    if count != expected:
        what = "has another number of LoRA parameters than the manifest says"
        problems.append(Problem(str(copy.folder), what, f"{expected:,}", f"{count:,}"))
    return verdict_on(NAME, problems, f"PeftModel on {adapter.figures.base}")


def _backbone_verdict(copy: Copy) -> Verdict:
    try:
        from transformers import AutoModelForCausalLM, AutoTokenizer
    except ModuleNotFoundError as error:
        return not_checked(NAME, f"the extra train is not installed (no {error.name})")
    silence_transformers()
    try:
        AutoModelForCausalLM.from_pretrained(copy.folder, trust_remote_code=False, use_safetensors=True)
        AutoTokenizer.from_pretrained(copy.folder, trust_remote_code=False)
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        return verdict_on(NAME, [Problem(str(copy.folder), f"transformers cannot read it: {error}")])
    return verdict_on(NAME, [], "AutoModelForCausalLM")
