"""Checks before a release: its folders, the weights of its adapters, and the files that it would publish."""

from __future__ import annotations

import json
import math
import re
import zipfile
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from dialoguellm_release.cards.check import check_our_card, repository_card_problems
from dialoguellm_release.errors import Problem
from dialoguellm_release.folders import file_problems
from dialoguellm_release.hub.contents import PREDICTIONS, SCORES, PlannedFile
from dialoguellm_release.hub.secrets import secret_problems
from dialoguellm_release.hub.sources import Source, Sources
from dialoguellm_release.layout import data_file
from dialoguellm_release.schemas.dataset_manifest import DatasetManifest
from dialoguellm_release.schemas.labels import CorpusName
from dialoguellm_release.schemas.manifests import AdapterManifest, BackboneManifest, Manifest, ScoreManifest
from dialoguellm_release.schemas.release import RepositoryName

Outcome = Literal["pass", "fail", "not checked"]


@dataclass(frozen=True)
class Verdict:
    """One check.

    Attributes:
        name: What was checked, in one or two words.
        note: What was looked at, or why it was not.
        problems: What is wrong; empty unless it failed.
    """

    name: str
    outcome: Outcome
    note: str = ""
    problems: tuple[Problem, ...] = ()


def verdict_on(name: str, problems: Iterable[Problem], note: str = "") -> Verdict:
    """A verdict that passes where there is no problem."""
    found = tuple(problems)
    return Verdict(name, "fail" if found else "pass", note, found)


def not_checked(name: str, why: str) -> Verdict:
    """A verdict on what could not be looked at."""
    return Verdict(name, "not checked", why)


def problems_of(verdicts: Sequence[Verdict]) -> list[Problem]:
    """Everything that is wrong, in the order of the checks."""
    return [problem for verdict in verdicts for problem in verdict.problems]


def counted(count: int, thing: str) -> str:
    """A number of things in words.

    >>> counted(1, "file"), counted(2_000, "file")
    ('1 file', '2,000 files')
    """
    return f"{count:,} {thing}" + ("" if count == 1 else "s")


if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

WEIGHTS = "adapter_model.safetensors"
AGAIN = "train the adapter again"
_BITS = {
    "F16": ("<u2", 0x7C00, 0x7FFF),
    "BF16": ("<u2", 0x7F80, 0x7FFF),
    "F32": ("<u4", 0x7F80_0000, 0x7FFF_FFFF),
}
"""Of each type of number: how its bits are read, those all set in NaN and infinity, all but the sign."""


@dataclass(frozen=True)
class _Tensor:
    name: str
    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


def weight_problems(path: Path, rank: int | None = None) -> Iterator[Problem]:
    """Where a safetensors file is missing, cut short, empty, all zeros, or holds what is no number.

    Args:
        rank: The `r` of LoRA that the matrices must have; None leaves that out.
    """
    try:
        tensors, begin = _header(path)
    except OSError as error:
        yield Problem(str(path), f"cannot be read: {error.strerror}", fix=AGAIN)
        return
    except (ValueError, OverflowError, MemoryError, KeyError, TypeError, AttributeError):
        yield Problem(str(path), "is not a safetensors file", fix=AGAIN)
        return
    if not any(tensor.end for tensor in tensors):
        yield Problem(str(path), "holds no weights: the adapter is empty", fix=AGAIN)
    elif begin + max(tensor.end for tensor in tensors) != path.stat().st_size:
        yield Problem(str(path), "is cut short", fix=AGAIN)
    else:
        yield from _number_problems(path, tensors, begin)
        yield from _rank_problems(path, tensors, rank)


def _header(path: Path) -> tuple[list[_Tensor], int]:
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header: dict[str, Any] = json.loads(file.read(length))
    tensors = [
        _Tensor(name, entry["dtype"], tuple(entry["shape"]), *entry["data_offsets"])
        for name, entry in header.items()
        if name != "__metadata__"
    ]
    return tensors, 8 + length


def _number_problems(path: Path, tensors: list[_Tensor], begin: int) -> Iterator[Problem]:
    """Where there is no number, or no change.

    Why `lora_B`: LoRA begins with it at zero, so what never learned has a B of zeros.
    """
    import numpy as np

    content = np.memmap(path, mode="r")
    unknown = sorted({tensor.dtype for tensor in tensors} - set(_BITS))
    if unknown:
        yield Problem(
            str(path), "holds numbers of a type that an adapter does not have", got=", ".join(unknown)
        )
        return
    strange = [
        tensor.name for tensor in tensors if _has_no_number(_bits(content, tensor, begin), tensor.dtype)
    ]
    if strange:
        yield Problem(str(path), "holds NaN or infinity", got=", ".join(strange), fix=AGAIN)
    outputs = [tensor for tensor in tensors if "lora_B" in tensor.name]
    if not outputs:
        got = ", ".join(tensor.name for tensor in tensors)
        yield Problem(str(path), "holds no lora_B: it is no LoRA adapter", got=got, fix=AGAIN)
    elif not any((_bits(content, tensor, begin) & _BITS[tensor.dtype][2]).any() for tensor in outputs):
        what = "every lora_B is zero: the adapter changes nothing"
        yield Problem(str(path), what, got=f"{len(outputs)} matrices of zeros", fix=AGAIN)


def _bits(content: NDArray[np.uint8], tensor: _Tensor, begin: int) -> NDArray[np.unsignedinteger[Any]]:
    bits: NDArray[np.unsignedinteger[Any]] = content[begin + tensor.begin : begin + tensor.end].view(
        _BITS[tensor.dtype][0]
    )
    return bits


def _has_no_number(bits: NDArray[np.unsignedinteger[Any]], dtype: str) -> bool:
    exponent = _BITS[dtype][1]
    return bool(((bits & exponent) == exponent).any())


def _rank_problems(path: Path, tensors: list[_Tensor], rank: int | None) -> Iterator[Problem]:
    if rank is None:
        return
    ranks = {tensor.shape[0] for tensor in tensors if "lora_A" in tensor.name and tensor.shape}
    ranks |= {tensor.shape[1] for tensor in tensors if "lora_B" in tensor.name and len(tensor.shape) > 1}
    if ranks - {rank}:
        got = ", ".join(map(str, sorted(ranks)))
        yield Problem(str(path), "has matrices of another rank than its configuration", str(rank), got, AGAIN)


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
    if backbone is None and figures.base_content_sha256 is not None and not figures.base_is_folder:
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


LARGEST_FILE = 50_000_000_000
"""Bytes; the Hub takes no larger one (its documentation, Repository limitations and recommendations)."""

MOST_FILES_A_FOLDER = 10_000
"""Likewise."""

_PICKLES = frozenset({".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib"})
_PICKLE_STARTS = tuple(bytes([0x80, protocol]) for protocol in range(2, 6))
_ZIP_START = b"PK\x03\x04"


def repository_verdicts(name: RepositoryName, files: Mapping[str, PlannedFile]) -> list[Verdict]:
    """The verdicts on a repository as it would be published.

    Args:
        files: What it would hold.
    """
    note = f"{name}, {counted(len(files), 'file')}"
    found = {
        "card": list(repository_card_problems(files, lambda path: _text_of(files[path]), check_our_card)),
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


def _placed(problem: Problem, repository: str) -> Problem:
    return replace(problem, where=f"{repository}: {problem.where}")
