"""Which weights a backbone is, told without loading it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dialoguellm_release.errors import DataError, Problem
from dialoguellm_release.folders import MANIFEST, read_manifest
from dialoguellm_release.schemas.manifests import BackboneManifest
from dialoguellm_release.schemas.recipes.backbone import BackboneRecipe, BuiltSource, HubSource

if TYPE_CHECKING:
    import torch


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

    def __str__(self) -> str:
        return self.content_sha256 or f"{self.repo_id}@{self.revision}"


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


def weights_sha256(tensors: dict[str, torch.Tensor]) -> str:
    """One hash over named tensors: their type, shape and bytes, whatever file holds them."""
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
