"""What must hold of the folders of a release before any of it is published."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from dialoguellm_release.errors import Problem
from dialoguellm_release.folders import file_problems
from dialoguellm_release.hub.sources import Source, Sources
from dialoguellm_release.hub.verdicts import Verdict, counted, verdict_on
from dialoguellm_release.hub.weights import AGAIN, WEIGHTS, weight_problems
from dialoguellm_release.schemas.dataset_manifest import DatasetManifest
from dialoguellm_release.schemas.manifests import AdapterManifest, BackboneManifest, Manifest, ScoreManifest

CONFIG = "adapter_config.json"
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


def source_verdicts(sources: Sources) -> list[Verdict]:
    """The verdicts on the folders that a release names: hashes, adapters, and where each comes from."""
    scores = [score for scores in sources.scores.values() for score in scores]
    groups = (sources.dataset.values(), sources.backbones.values(), sources.adapters.values(), scores)
    folders: list[Source[Manifest]] = [source for group in groups for source in group]
    dataset = next((source.manifest for source in sources.dataset.values()), None)
    backbones = {repo_id: source.manifest for repo_id, source in sources.backbones.items()}
    hashes = [problem for one in folders for problem in file_problems(one.folder, one.manifest)]
    verdicts = [verdict_on("hashes", hashes, counted(len(folders), "folder"))]
    if sources.adapters:
        adapters = list(sources.adapters.values())
        weights = [problem for one in adapters for problem in adapter_problems(one.folder, one.manifest)]
        labels = [problem for one in adapters for problem in label_problems(one.folder, one.manifest)]
        origins = [
            problem
            for one in adapters
            for problem in origin_problems(one.folder, one.manifest, dataset, backbones)
        ]
        note = counted(len(adapters), "adapter")
        verdicts += [
            verdict_on("weights", weights, note),
            verdict_on("label survival", labels, note),
            verdict_on("origin", origins, note),
            verdict_on("scores", _all_score_problems(sources), counted(len(scores), "score folder")),
        ]
    return verdicts


def adapter_problems(folder: Path, adapter: AdapterManifest) -> Iterator[Problem]:
    """Where the weights of an adapter are none, or are not those of its configuration and base."""
    try:
        config = json.loads((folder / CONFIG).read_bytes())
        named, rank = config["base_model_name_or_path"], config.get("r")
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        named, rank = None, None
        what = "names no base_model_name_or_path"
        yield Problem(str(folder / CONFIG), what, expected=adapter.figures.base)
    yield from weight_problems(folder / WEIGHTS, rank)
    if named is not None and named != adapter.figures.base:
        what = "names another base than the manifest"
        yield Problem(str(folder / CONFIG), what, expected=adapter.figures.base, got=str(named))


def label_problems(folder: Path, adapter: AdapterManifest) -> Iterator[Problem]:
    """Where the figures of a training run tell that no label was left to learn from."""
    figures = adapter.figures
    for name, count in (("records", figures.records), ("steps", figures.steps)):
        if count == 0:
            yield Problem(str(folder), f"was trained on no {name}", fix=AGAIN)
    for name, loss in (("first", figures.first_loss), ("last", figures.last_loss)):
        if not math.isfinite(loss) or loss <= 0:
            what = f"its {name} loss is {loss}: the labels were cut off, or the training failed"
            yield Problem(str(folder), what, expected="a loss above 0", fix=AGAIN)


def origin_problems(
    folder: Path,
    adapter: AdapterManifest,
    dataset: DatasetManifest | None,
    backbones: Mapping[str, BackboneManifest],
) -> Iterator[Problem]:
    """Where an adapter does not belong to the dataset and the backbones of the release.

    Args:
        dataset: None where the release has none.
        backbones: The release's own, by repository id.
    """
    figures = adapter.figures
    if dataset and figures.dataset_content_sha256 != dataset.content_sha256:
        yield Problem(
            str(folder),
            "was trained on another dataset than the one of this release",
            expected=f"content {dataset.content_sha256}",
            got=f"content {figures.dataset_content_sha256}",
            fix="train it again on this dataset",
        )
    if dataset and figures.prompt_sha256 != dataset.figures.prompt_sha256:
        yield Problem(
            str(folder),
            "was trained with another prompt than the one of this release's dataset",
            expected=f"{dataset.figures.prompt}, sha256 {dataset.figures.prompt_sha256}",
            got=figures.prompt_sha256,
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
    if backbone is None and figures.base_content_sha256 is not None:
        what = "its base is a backbone of our own making that this release does not have"
        yield Problem(str(folder), what, got=figures.base, fix="name it under backbones, and in depends_on")
    if backbone and figures.base_content_sha256 != backbone.content_sha256:
        yield Problem(
            str(folder),
            "was trained on other weights than those of the backbone of this release",
            expected=f"content {backbone.content_sha256}",
            got=f"content {figures.base_content_sha256}",
            fix="train it again on this backbone",
        )


def _all_score_problems(sources: Sources) -> Iterator[Problem]:
    for repo_id, adapter in sources.adapters.items():
        if not sources.scores[repo_id]:
            what = "the adapter was never scored, so its card could say nothing of what it does"
            fix = "dlm-release score run, then name the folder under scores in the release recipe"
            yield Problem(str(adapter.folder), what, fix=fix)
        for score in sources.scores[repo_id]:
            yield from score_problems(score.folder, score.manifest, adapter.manifest)


def score_problems(folder: Path, score: ScoreManifest, adapter: AdapterManifest) -> Iterator[Problem]:
    """Where a score folder is not of this adapter, its dataset, its prompt and its base."""
    protocol, system, figures = score.figures.protocol, score.figures.system, adapter.figures
    compared = (
        ("adapter", system.adapter_content_sha256, adapter.content_sha256),
        ("dataset", protocol.dataset_content_sha256, figures.dataset_content_sha256),
        ("prompt", protocol.prompt_sha256, figures.prompt_sha256),
        ("base", system.base, figures.base),
        ("base's content", system.base_content_sha256, figures.base_content_sha256),
        ("base's revision", system.base_revision, figures.base_revision),
    )
    for name, got, expected in compared:
        if got != expected:
            what = f"was scored with something else: the {name} is not the one of the adapter"
            yield Problem(str(folder), what, str(expected), str(got), "score the adapter again")
