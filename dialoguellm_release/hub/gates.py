"""What must hold of the folders of a release before any of it is published."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from dialoguellm_release.errors import Problem
from dialoguellm_release.schemas.manifest import (
    AdapterManifest,
    BackboneManifest,
    DatasetManifest,
    Manifest,
    ScoreManifest,
)

WEIGHTS = "adapter_model.safetensors"
CONFIG = "adapter_config.json"
_PICKLES = frozenset({".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib"})
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


def pickle_problems(folder: Path, manifest: Manifest) -> Iterator[Problem]:
    """Files that could run code when they are read."""
    for file in manifest.outputs:
        if Path(file.path).suffix.lower() in _PICKLES:
            what = "may be a pickle, which can run code when it is read"
            yield Problem(str(folder / file.path), what, fix="use safetensors")


def adapter_problems(
    folder: Path,
    adapter: AdapterManifest,
    dataset: DatasetManifest | None,
    backbones: Mapping[str, BackboneManifest],
) -> Iterator[Problem]:
    """Where an adapter is empty, or does not belong to the dataset and the backbones of the release.

    Args:
        dataset: None where the release has none.
        backbones: The release's own, by repository id.
    """
    figures = adapter.figures
    yield from _weight_problems(folder / WEIGHTS)
    if dataset and figures.dataset_content_sha256 != dataset.content_sha256:
        yield Problem(
            str(folder),
            "was trained on another dataset than the one of this release",
            expected=f"content {dataset.content_sha256}",
            got=f"content {figures.dataset_content_sha256}",
            fix="train it again on this dataset",
        )
    if figures.base not in backbones and not _HUB_ID.fullmatch(figures.base):
        yield Problem(
            str(folder),
            "its base is neither a backbone of this release nor the id of a model on the Hub",
            expected=" or ".join(sorted(backbones)) or "owner/name",
            got=figures.base,
        )
    backbone = backbones.get(figures.base)
    if backbone and figures.base_content_sha256 != backbone.content_sha256:
        yield Problem(
            str(folder),
            "was trained on other weights than those of the backbone of this release",
            expected=f"content {backbone.content_sha256}",
            got=f"content {figures.base_content_sha256}",
            fix="train it again on this backbone",
        )
    yield from _config_problems(folder / CONFIG, figures.base)


def score_problems(folder: Path, score: ScoreManifest, adapter: AdapterManifest) -> Iterator[Problem]:
    """Where a score folder is not of this adapter, its dataset, its prompt and its base."""
    protocol, system = score.figures.protocol, score.figures.system
    compared = (
        ("adapter", system.adapter_content_sha256, adapter.content_sha256),
        ("dataset", protocol.dataset_content_sha256, adapter.figures.dataset_content_sha256),
        ("prompt", protocol.prompt_sha256, adapter.figures.prompt_sha256),
        ("base", system.base, adapter.figures.base),
        ("base's content", system.base_content_sha256, adapter.figures.base_content_sha256),
        ("base's revision", system.base_revision, adapter.figures.base_revision),
    )
    for name, got, expected in compared:
        if got != expected:
            what = f"was scored with something else: the {name} is not the one of the adapter"
            yield Problem(str(folder), what, str(expected), str(got), "score the adapter again")


def _weight_problems(path: Path) -> Iterator[Problem]:
    """Where a safetensors file is missing, cut short or without a single number."""
    try:
        with path.open("rb") as file:
            header_bytes = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(header_bytes))
    except OSError as error:
        yield Problem(str(path), f"cannot be read: {error.strerror}", fix="train the adapter again")
        return
    except (ValueError, OverflowError, MemoryError):
        yield Problem(str(path), "is not a safetensors file", fix="train the adapter again")
        return
    ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
    if not any(ends):
        yield Problem(str(path), "holds no weights: the adapter is empty", fix="train the adapter again")
    elif 8 + header_bytes + max(ends) != path.stat().st_size:
        yield Problem(str(path), "is cut short", fix="train the adapter again")


def _config_problems(path: Path, base: str) -> Iterator[Problem]:
    try:
        named = json.loads(path.read_bytes())["base_model_name_or_path"]
    except (OSError, ValueError, KeyError, TypeError):
        yield Problem(str(path), "names no base_model_name_or_path", expected=base)
        return
    if named != base:
        yield Problem(str(path), "names another base than the manifest", expected=base, got=str(named))
