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
from typing import Any, Literal

from dialoguellm_release.cards.check import check_our_card, repository_card_problems
from dialoguellm_release.errors import DataError, Problem
from dialoguellm_release.folders import file_problems, in_threads, read_calibration
from dialoguellm_release.hub.apps import APP_ADAPTERS, app_problems
from dialoguellm_release.hub.contents import PREDICTIONS, SCORES, PlannedFile, Source, Sources
from dialoguellm_release.hub.secrets import secret_problems
from dialoguellm_release.layout import data_file
from dialoguellm_release.schemas.dataset_manifest import DatasetManifest
from dialoguellm_release.schemas.labels import CorpusName
from dialoguellm_release.schemas.manifests import AdapterManifest, BackboneManifest, Manifest
from dialoguellm_release.schemas.release import RepositoryName

Outcome = Literal["pass", "fail", "not checked"]


@dataclass(frozen=True)
class Check:
    """One check."""

    name: str
    outcome: Outcome
    note: str = ""
    problems: tuple[Problem, ...] = ()


def check_of(name: str, problems: Iterable[Problem], note: str = "") -> Check:
    """A check that passes where there is no problem."""
    found = tuple(problems)
    return Check(name, "fail" if found else "pass", note, found)


def not_checked(name: str, why: str) -> Check:
    """A check that could not be made."""
    return Check(name, "not checked", why)


def problems_of(checks: Sequence[Check]) -> list[Problem]:
    """Every problem, in the order of the checks."""
    return [problem for check in checks for problem in check.problems]


def counted(count: int, thing: str) -> str:
    """A number of things in words.

    >>> counted(1, "file"), counted(2_000, "file")
    ('1 file', '2,000 files')
    """
    return f"{count:,} {thing}" + ("" if count == 1 else "s")


WEIGHTS = "adapter_model.safetensors"
AGAIN = "train the adapter again"
_BITS = {
    "F16": ("<u2", 0x7C00, 0x7FFF),
    "BF16": ("<u2", 0x7F80, 0x7FFF),
    "F32": ("<u4", 0x7F80_0000, 0x7FFF_FFFF),
}
"""Of each type: an integer of its size, the bits that NaN and infinity have set, all but the sign."""


def weight_problems(path: Path, rank: int | None = None) -> Iterator[Problem]:
    """Where a safetensors file is missing, damaged, empty, all zeros, has NaN or matrices of another rank."""
    if not path.is_file():
        yield Problem(str(path), "not found", fix=AGAIN, code="checks.no_weights")
        return

    from safetensors import SafetensorError, deserialize

    where = str(path)
    try:
        tensors: dict[str, Any] = dict(deserialize(path.read_bytes()))  # type: ignore[no-untyped-call]
    except (SafetensorError, OSError) as error:
        what = "is damaged or not a safetensors file"
        yield Problem(where, what, got=str(error), fix=AGAIN, code="checks.damaged_weights")
        return
    if unknown := sorted({tensor["dtype"] for tensor in tensors.values()} - set(_BITS)):
        what, got = "holds numbers of a type that an adapter does not have", ", ".join(unknown)
        yield Problem(where, what, got=got, code="checks.unknown_number_type")
        return
    shapes = {name: tensor["shape"] for name, tensor in tensors.items()}
    zero = {
        name: not _has_bits(one, _BITS[one["dtype"]][2]) for name, one in tensors.items() if "lora_B" in name
    }
    if not any(all(shape) for shape in shapes.values()):
        yield Problem(where, "holds no weights: the adapter is empty", fix=AGAIN, code="checks.empty_weights")
        return
    strange = [name for name, one in tensors.items() if _has_bits(one, _BITS[one["dtype"]][1], all_of=True)]
    if strange:
        got = ", ".join(strange)
        yield Problem(where, "holds NaN or infinity", got=got, fix=AGAIN, code="checks.nan_in_weights")
    if not zero:
        got, code = ", ".join(tensors), "checks.no_lora"
        yield Problem(where, "holds no lora_B: it is not a LoRA adapter", got=got, fix=AGAIN, code=code)
    elif all(zero.values()):
        # LoRA begins with B at zero, so what never learned has a B of zeros.
        what, got = "every lora_B is zero: the adapter changes nothing", f"{len(zero)} matrices of zeros"
        yield Problem(where, what, got=got, fix=AGAIN, code="checks.zero_weights")
    ranks = {shape[0] for name, shape in shapes.items() if "lora_A" in name and shape}
    ranks |= {shape[1] for name, shape in shapes.items() if "lora_B" in name and len(shape) > 1}
    if rank is not None and ranks - {rank}:
        what, got = "has matrices of another rank than its configuration", ", ".join(map(str, sorted(ranks)))
        yield Problem(where, what, str(rank), got, AGAIN, code="checks.other_rank")


def _has_bits(tensor: dict[str, Any], mask: int, *, all_of: bool = False) -> bool:
    """Whether a number of a tensor has any (or all) bits of a mask set; numpy has no bfloat16 of its own."""
    import numpy as np

    bits = np.frombuffer(tensor["data"], dtype=_BITS[tensor["dtype"]][0]) & mask
    return bool((bits == mask).any() if all_of else bits.any())


CONFIG = "adapter_config.json"
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


def source_checks(sources: Sources) -> list[Check]:
    """The checks of the folders that a release is made from."""
    adapters = [(one.folder, one.manifest) for one in sources.adapters.values()]
    runs = [run for held in sources.scores.values() for run in held]
    datasets = [sources.dataset] if sources.dataset else []
    folders: list[Source[Manifest]] = [
        *datasets,
        *sources.backbones.values(),
        *sources.adapters.values(),
        *runs,
    ]
    hashes = [problem for one in folders for problem in file_problems(one.folder, one.manifest)]
    checks = [check_of("hashes", hashes, counted(len(folders), "folder"))]
    if adapters:
        dataset = sources.dataset.manifest if sources.dataset else None
        backbones = {repo_id: one.manifest for repo_id, one in sources.backbones.items()}
        origins = [found for one in adapters for found in origin_problems(*one, dataset, backbones)]
        note = counted(len(adapters), "adapter")
        checks += [
            check_of("weights", [found for one in adapters for found in adapter_problems(*one)], note),
            check_of("label survival", [found for one in adapters for found in label_problems(*one)], note),
            check_of("origin", origins, note),
            check_of("scores", _score_problems(sources), counted(len(runs), "score folder")),
        ]
    return checks


def adapter_problems(folder: Path, adapter: AdapterManifest) -> Iterator[Problem]:
    """Where an adapter has no usable weights, or its configuration or calibration is not its own."""
    try:
        read_calibration(folder, adapter)
    except DataError as error:
        yield from error.problems
    try:
        config = json.loads((folder / CONFIG).read_bytes())
        named, rank = config["base_model_name_or_path"], config.get("r")
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        named, rank = None, None
        what = "names no base_model_name_or_path"
        yield Problem(str(folder / CONFIG), what, adapter.figures.base, code="checks.no_base")
    yield from weight_problems(folder / WEIGHTS, rank)
    if named is not None and named != adapter.figures.base:
        what = "names another base than the manifest"
        yield Problem(str(folder / CONFIG), what, adapter.figures.base, str(named), code="checks.other_base")


def label_problems(folder: Path, adapter: AdapterManifest) -> Iterator[Problem]:
    """Where the figures of a training show that it had no labels to learn from."""
    figures = adapter.figures
    for name, count in (("records", figures.records), ("steps", figures.steps)):
        if count == 0:
            what = f"was trained on no {name}"
            yield Problem(str(folder), what, fix=AGAIN, code="checks.nothing_trained")
    for name, loss in (("first", figures.first_loss), ("last", figures.last_loss)):
        if not math.isfinite(loss) or loss <= 0:
            what = f"its {name} loss is {loss}: the labels were cut off, or the training failed"
            yield Problem(str(folder), what, expected="a loss above 0", fix=AGAIN, code="checks.bad_loss")


def origin_problems(
    folder: Path,
    adapter: AdapterManifest,
    dataset: DatasetManifest | None,
    backbones: Mapping[str, BackboneManifest],
) -> Iterator[Problem]:
    """Where an adapter does not belong to the dataset and the backbones (by repository id) of the release."""
    figures, where = adapter.figures, str(folder)
    if dataset and figures.dataset_content_sha256 != dataset.content_sha256:
        what = "was trained on another dataset than the one of this release"
        contents = f"content {dataset.content_sha256}", f"content {figures.dataset_content_sha256}"
        fix = "train it again on this dataset, with adapter train --again"
        yield Problem(where, what, *contents, fix, code="checks.other_dataset")
    if dataset and figures.prompt_sha256 != dataset.figures.prompt_sha256:
        what = "was trained with another prompt than the one of this release's dataset"
        expected = f"{dataset.figures.prompt}, sha256 {dataset.figures.prompt_sha256}"
        fix = "train it again on this dataset"
        yield Problem(where, what, expected, figures.prompt_sha256, fix, code="checks.other_prompt")
    if figures.base not in backbones and not _HUB_ID.fullmatch(figures.base):
        what = "its base is neither a backbone of this release nor the id of a model on the Hub"
        expected = " or ".join(sorted(backbones)) or "owner/name"
        yield Problem(where, what, expected, figures.base, code="checks.unknown_base")
    backbone = backbones.get(figures.base)
    if backbone is None and figures.base_content_sha256 is not None and not figures.base_is_folder:
        what, fix = "its base is a backbone that this release lacks", "add it to backbones and depends_on"
        yield Problem(where, what, got=figures.base, fix=fix, code="checks.base_not_in_release")
    if backbone and figures.base_content_sha256 != backbone.content_sha256:
        what = "was trained on other weights than those of the backbone of this release"
        contents = f"content {backbone.content_sha256}", f"content {figures.base_content_sha256}"
        yield Problem(where, what, *contents, "train it again on this backbone", code="checks.other_weights")


def _score_problems(sources: Sources) -> Iterator[Problem]:
    """Adapters without scores, and scores of another adapter, dataset, prompt or base."""
    for repo_id, adapter in sources.adapters.items():
        if not sources.scores[repo_id]:
            what = "the adapter was never scored, so its card could not say what it does"
            fix = "dlm-release score run, then name the folder under scores in the release recipe"
            yield Problem(str(adapter.folder), what, fix=fix, code="checks.not_scored")
        figures = adapter.manifest.figures
        for score in sources.scores[repo_id]:
            protocol, system = score.manifest.figures.protocol, score.manifest.figures.system
            compared = (
                ("adapter", system.adapter_content_sha256, adapter.manifest.content_sha256),
                ("dataset", protocol.dataset_content_sha256, figures.dataset_content_sha256),
                ("prompt", protocol.prompt_sha256, figures.prompt_sha256),
                ("base", system.base, figures.base),
                ("base's content", system.base_content_sha256, figures.base_content_sha256),
                ("base's revision", system.base_revision, figures.base_revision),
            )
            for name, got, expected in compared:
                if got != expected:
                    what, fix = f"was scored with another {name}", "score the adapter again"
                    where, code = str(score.folder), "checks.score_of_another"
                    yield Problem(where, what, str(expected), str(got), fix, code=code)


LARGEST_FILE = 50_000_000_000
"""Bytes; a limit of the Hub (its documentation, Repository limitations and recommendations)."""

MOST_FILES_A_FOLDER = 10_000
"""From the same documentation."""

_PICKLES = frozenset({".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib"})
_PICKLE_STARTS = tuple(bytes([0x80, protocol]) for protocol in range(2, 6))
_ZIP_START = b"PK\x03\x04"


def repository_checks(name: RepositoryName, files: Mapping[str, PlannedFile]) -> list[Check]:
    """The checks of a repository as it would be published."""

    def secrets(path: str) -> list[Problem]:
        return list(secret_problems(path, files[path].content))

    note = f"{name}, {counted(len(files), 'file')}"
    found = {
        "card": list(repository_card_problems(files, lambda path: files[path].text(), check_our_card)),
        "secrets": [problem for problems in in_threads(secrets, files) for problem in problems],
        "pickles": [problem for path, one in files.items() for problem in pickle_problems(path, one.content)],
        "sizes": list(size_problems(files)),
    }
    if APP_ADAPTERS in files:
        found["app"] = list(app_problems(files, lambda path: files[path].text()))
    return [
        check_of(gate, [replace(one, where=f"{name}: {one.where}") for one in problems], note)
        for gate, problems in found.items()
    ]


def leaving_problems(
    name: RepositoryName,
    files: Iterable[str],
    left_out: Collection[CorpusName],
    scores: Mapping[str, CorpusName],
) -> Iterator[Problem]:
    """Files of corpora that are left out (`scores`: the corpus of each score folder)."""
    for path in files:
        held = data_file(path)
        folder, _, file = path.removeprefix(f"{SCORES}/").partition("/")
        corpus = held.corpus if held else scores.get(folder) if file == PREDICTIONS else None
        if corpus in left_out:
            what = f"holds records of {corpus}, whose text may not be redistributed"
            yield Problem(f"{name}: {path}", what, code="licenses.withheld_records")


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
        yield Problem(path, what, fix="use safetensors", code="checks.pickle")


def _holds_pickle(path: Path) -> bool:
    """Whether a zip is one that torch saved."""
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith(".pkl") for name in archive.namelist())
    except zipfile.BadZipFile:
        return False


def size_problems(files: Mapping[str, PlannedFile]) -> Iterator[Problem]:
    """Files that the Hub would refuse for their size or number."""
    for path, file in files.items():
        if file.size > LARGEST_FILE:
            what, expected = "is too large for the Hub", f"at most {LARGEST_FILE:,} bytes"
            yield Problem(path, what, expected, f"{file.size:,}", code="checks.file_too_large")
    for folder, count in Counter(path.rpartition("/")[0] for path in files).items():
        if count > MOST_FILES_A_FOLDER:
            what, expected = "holds too many files for the Hub", f"at most {MOST_FILES_A_FOLDER:,}"
            yield Problem(folder or ".", what, expected, f"{count:,}", code="checks.too_many_files")
