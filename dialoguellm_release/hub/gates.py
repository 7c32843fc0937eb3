"""What must hold of the folders of a release, and of its repositories, before any of it is published."""

from __future__ import annotations

import json
import math
import re
import zipfile
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path

from dialoguellm_release.cards.check import CARD, check_card
from dialoguellm_release.cards.data_files import data_file
from dialoguellm_release.cards.metadata import eval_result_problems
from dialoguellm_release.cards.scores import scored
from dialoguellm_release.errors import Problem
from dialoguellm_release.folders import file_problems
from dialoguellm_release.hub.contents import PREDICTIONS, SCORES
from dialoguellm_release.hub.planned import PlannedFile
from dialoguellm_release.hub.secrets import secret_problems
from dialoguellm_release.hub.sources import Source, Sources
from dialoguellm_release.hub.verdicts import Verdict, verdict_on
from dialoguellm_release.hub.weights import AGAIN, WEIGHTS, weight_problems
from dialoguellm_release.schemas.labels import CorpusName
from dialoguellm_release.schemas.manifest import (
    AdapterManifest,
    BackboneManifest,
    DatasetManifest,
    Manifest,
    ScoreManifest,
)
from dialoguellm_release.schemas.release import RepositoryName

CONFIG = "adapter_config.json"
LARGEST_FILE = 50_000_000_000
"""Bytes; the Hub takes no larger one (its documentation, Repository limitations and recommendations)."""

MOST_FILES_A_FOLDER = 10_000
"""Likewise."""

_PICKLES = frozenset({".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib"})
_PICKLE_STARTS = tuple(bytes([0x80, protocol]) for protocol in range(2, 6))
_ZIP_START = b"PK\x03\x04"
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


def source_verdicts(sources: Sources) -> list[Verdict]:
    """The verdicts on the folders that a release names: hashes, adapters, and where each comes from."""
    scores = [score for scores in sources.scores.values() for score in scores]
    groups = (sources.dataset.values(), sources.backbones.values(), sources.adapters.values(), scores)
    folders: list[Source[Manifest]] = [source for group in groups for source in group]
    dataset = next((source.manifest for source in sources.dataset.values()), None)
    backbones = {repo_id: source.manifest for repo_id, source in sources.backbones.items()}
    hashes = [problem for one in folders for problem in file_problems(one.folder, one.manifest)]
    verdicts = [verdict_on("hashes", hashes, _counted(len(folders), "folder"))]
    if sources.adapters:
        adapters = list(sources.adapters.values())
        weights = [problem for one in adapters for problem in adapter_problems(one.folder, one.manifest)]
        labels = [problem for one in adapters for problem in label_problems(one.folder, one.manifest)]
        origins = [
            problem
            for one in adapters
            for problem in origin_problems(one.folder, one.manifest, dataset, backbones)
        ]
        note = _counted(len(adapters), "adapter")
        verdicts += [
            verdict_on("weights", weights, note),
            verdict_on("label survival", labels, note),
            verdict_on("origin", origins, note),
            verdict_on("scores", _all_score_problems(sources), _counted(len(scores), "score folder")),
        ]
    return verdicts


def repository_verdicts(name: RepositoryName, files: Mapping[str, PlannedFile]) -> list[Verdict]:
    """The verdicts on a repository as it would be published.

    Args:
        files: What it would hold.
    """
    note = f"{name}, {_counted(len(files), 'file')}"
    found = {
        "card": list(card_problems(files)),
        "secrets": [problem for path, one in files.items() for problem in secret_problems(path, one.content)],
        "pickles": [problem for path, one in files.items() for problem in pickle_problems(path, one.content)],
        "sizes": list(size_problems(files)),
    }
    return [
        verdict_on(gate, [_placed(problem, name) for problem in problems], note)
        for gate, problems in found.items()
    ]


def leaving_problems(
    name: RepositoryName,
    files: Iterable[str],
    left_out: Collection[CorpusName],
    scores: Mapping[str, CorpusName],
) -> Iterator[Problem]:
    """Files of corpora that may not leave: a second look, whatever made the plan.

    Args:
        left_out: The corpora that the published dataset lacks.
        scores: The corpus of each score folder.
    """
    for path in files:
        held = data_file(path)
        folder, _, file = path.removeprefix(f"{SCORES}/").partition("/")
        corpus = held.corpus if held else scores.get(folder) if file == PREDICTIONS else None
        if corpus in left_out:
            yield Problem(f"{name}: {path}", f"holds records of {corpus}, whose text may not be passed on")


def card_problems(files: Mapping[str, PlannedFile]) -> Iterator[Problem]:
    """What is wrong with the card of a repository, and with the scores that it states beside it."""
    if CARD not in files:
        yield Problem(CARD, "is missing: a repository without a card cannot be understood")
        return
    yield from check_card(_text_of(files[CARD]), list(files))
    for path, file in files.items():
        if path.startswith(".eval_results/"):
            yield from eval_result_problems(path, _text_of(file))


def _text_of(file: PlannedFile) -> str:
    content = file.content if isinstance(file.content, bytes) else file.content.read_bytes()
    return content.decode()


def pickle_problems(path: str, content: Path | bytes) -> Iterator[Problem]:
    """Whether a file could run code when it is read, by its name or by how it begins."""
    is_pickle = Path(path).suffix.lower() in _PICKLES
    if isinstance(content, Path) and not is_pickle:
        with content.open("rb") as file:
            start = file.read(4)
        is_pickle = start.startswith(_PICKLE_STARTS) or (start == _ZIP_START and _holds_pickle(content))
    elif isinstance(content, bytes):
        is_pickle = is_pickle or content.startswith(_PICKLE_STARTS)
    if is_pickle:
        what = "may be a pickle, which can run code when it is read"
        yield Problem(path, what, fix="use safetensors")


def _holds_pickle(path: Path) -> bool:
    """Whether a zip is one that torch saved."""
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith(".pkl") for name in archive.namelist())
    except zipfile.BadZipFile:
        return False


def size_problems(files: Mapping[str, PlannedFile]) -> Iterator[Problem]:
    """What the Hub would not take for its size or number."""
    for path, file in files.items():
        if file.size > LARGEST_FILE:
            yield Problem(
                path, "is too large for the Hub", f"at most {LARGEST_FILE:,} bytes", f"{file.size:,}"
            )
    for folder, count in Counter(path.rpartition("/")[0] for path in files).items():
        if count > MOST_FILES_A_FOLDER:
            what = "holds too many files for the Hub"
            yield Problem(folder or ".", what, f"at most {MOST_FILES_A_FOLDER:,}", f"{count:,}")


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
    run, figures = scored(score), adapter.figures
    compared = (
        ("adapter", run.adapter_content_sha256, adapter.content_sha256),
        ("dataset", run.dataset_content_sha256, figures.dataset_content_sha256),
        ("prompt", run.prompt_sha256, figures.prompt_sha256),
        ("base", run.base, figures.base),
        ("base's content", run.base_content_sha256, figures.base_content_sha256),
        ("base's revision", run.base_revision, figures.base_revision),
    )
    for name, got, expected in compared:
        if got != expected:
            what = f"was scored with something else: the {name} is not the one of the adapter"
            yield Problem(str(folder), what, str(expected), str(got), "score the adapter again")


def _placed(problem: Problem, repository: str) -> Problem:
    where = f"{repository}: {problem.where}"
    return Problem(where, problem.what, problem.expected, problem.got, problem.fix)


def _counted(count: int, thing: str) -> str:
    return f"{count:,} {thing}" + ("" if count == 1 else "s")
