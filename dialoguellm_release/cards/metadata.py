"""The metadata of a card: configs written from the data files, each key checked by what the Hub documents."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from copy import deepcopy
from functools import lru_cache
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError

from dialoguellm_release.errors import Problem, RecipeError
from dialoguellm_release.layout import (
    DEFAULT_CONFIG,
    SFT_CONFIG,
    STANDOFF_CONFIG,
    config_files,
    config_names,
    data_file,
    standoff_file,
)
from dialoguellm_release.recipes.yaml_reader import Document, parse_yaml
from dialoguellm_release.schemas.labels import SPLITS, CorpusName, Split

FENCE = "---\n"
"""The line before and after the metadata of a card."""


def read_front_matter(text: str, card: str) -> tuple[Document | None, Sequence[Problem]]:
    """The metadata of a card, None where it cannot be read, and what is wrong with it as YAML."""
    head, fence, _ = text.removeprefix(FENCE).partition(f"\n{FENCE}")
    if not text.startswith(FENCE) or not fence:
        fix = "save it as UTF-8 without a byte-order mark" if text.startswith("\ufeff") else None
        expected = "YAML between two lines of ---"
        return None, [Problem(f"{card}:1", "has no metadata", expected, fix=fix, code="card.no_metadata")]
    try:
        document, problems = _parsed(head, card)
    except RecipeError as error:
        return None, error.problems
    if not isinstance(document.data, dict):
        what, got = "its metadata is not a mapping", repr(document.data)
        return None, [Problem(f"{card}:1", what, got=got, code="card.metadata_not_a_mapping")]
    return Document(deepcopy(document.data), document.positions), problems


@lru_cache(maxsize=64)
def _parsed(head: str, card: str) -> tuple[Document, list[Problem]]:
    """A card is read again for each question that a release asks it; its text is parsed once."""
    return parse_yaml(head, card, first_line=2, alias="allow")


_OUR_KEYS = """
    annotations_creators app_file base_model base_model_relation configs dataset_info datasets description
    language language_creators language_details library_name license license_link license_name metrics
    model-index models multilinguality pipeline_tag pretty_name python_version sdk sdk_version
    size_categories source_datasets tags task_categories task_ids title
"""
OUR_KEYS = frozenset(_OUR_KEYS.split())
"""The keys that cards of this package may have; publishing changes and removes them."""

_OTHER_KEYS = """
    annotations app_port base_path co2_eq_emissions colorFrom colorTo custom_headers emoji
    extra_gated_button_content extra_gated_description extra_gated_fields extra_gated_heading
    extra_gated_prompt fullWidth inference license_details mask_token new_version
    paperswithcode_id pinned short_description suggested_hardware
    suggested_storage thumbnail train-eval-index version viewer widget
"""
_KNOWN_KEYS = sorted(OUR_KEYS | set(_OTHER_KEYS.split()))

_LICENSES = """
    afl-3.0 agpl-3.0 apache-2.0 apple-amlr apple-ascl artistic-2.0 bigcode-openrail-m
    bigscience-bloom-rail-1.0 bigscience-openrail-m bsd bsd-2-clause bsd-3-clause bsd-3-clause-clear bsl-1.0
    c-uda cc cc-by-2.0 cc-by-2.5 cc-by-3.0 cc-by-4.0 cc-by-nc-2.0 cc-by-nc-3.0 cc-by-nc-4.0 cc-by-nc-nd-3.0
    cc-by-nc-nd-4.0 cc-by-nc-sa-2.0 cc-by-nc-sa-3.0 cc-by-nc-sa-4.0 cc-by-nd-4.0 cc-by-sa-3.0 cc-by-sa-4.0
    cc0-1.0 cdla-permissive-1.0 cdla-permissive-2.0 cdla-sharing-1.0 creativeml-openrail-m
    deepfloyd-if-license ecl-2.0 epl-1.0 epl-2.0 etalab-2.0 eupl-1.1 eupl-1.2
    fair-noncommercial-research-license gemma gfdl gpl gpl-2.0 gpl-3.0 h-research
    intel-research isc lgpl lgpl-2.1 lgpl-3.0 lgpl-lr llama2 llama3
    llama3.1 llama3.2 llama3.3 llama4 lppl-1.3c mit mpl-2.0 ms-pl ncsa odbl odc-by ofl-1.1 openrail
    openrail++ osl-3.0 other pddl postgresql unknown unlicense wtfpl zlib
"""

HUB_LICENSES = frozenset(_LICENSES.split())
"""The ids that the Hub documents for the key `license` of a card."""

_TASKS = """
    any-to-any audio-classification audio-text-to-text audio-to-audio automatic-speech-recognition
    depth-estimation document-question-answering feature-extraction fill-mask graph-ml image-classification
    image-feature-extraction image-segmentation image-text-to-text image-to-3d image-to-image image-to-text
    image-to-video keypoint-detection mask-generation multiple-choice object-detection other
    question-answering reinforcement-learning robotics sentence-similarity summarization
    table-question-answering table-to-text tabular-classification tabular-regression tabular-to-text
    text-classification text-generation text-ranking text-retrieval text-to-3d text-to-audio text-to-image
    text-to-speech text-to-video text2text-generation time-series-forecasting token-classification translation
    unconditional-image-generation video-classification video-text-to-text visual-document-retrieval
    visual-question-answering voice-activity-detection zero-shot-classification
    zero-shot-image-classification zero-shot-object-detection
"""
TASKS = frozenset(_TASKS.split())
"""The Hub's tasks, for `pipeline_tag` and `task_categories`."""

_LICENSE_FILES = ("LICENSE", "LICENSE.md")
_LIBRARIES = frozenset({"adapter-transformers", "datasets", "evaluate", "peft", "transformers", "trl"})
HUB_ID = r"^[\w.-]+/[\w.-]+$"
_ANY_HUB_ID = r"^([\w.-]+/)?[\w.-]+$"
_LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8})*|code|multilingual")
_SIZES = (
    r"^(n<1K|1K<n<10K|10K<n<100K|100K<n<1M|1M<n<10M|10M<n<100M|100M<n<1B|1B<n<10B|10B<n<100B|100B<n<1T|n>1T)$"
)
_CREATORS = Literal[
    "found", "crowdsourced", "expert-generated", "machine-generated", "no-annotation", "other"
]
_Ids = Annotated[str, Field(pattern=HUB_ID)] | list[Annotated[str, Field(pattern=HUB_ID)]]
_AnyIds = Annotated[str, Field(pattern=_ANY_HUB_ID)] | list[Annotated[str, Field(pattern=_ANY_HUB_ID)]]
"""Including old ids without an owner, as `gpt2`."""


class OpenModel(BaseModel):
    """What others write: keys that are not known are theirs."""

    model_config = ConfigDict(extra="ignore", strict=True, populate_by_name=True)


class _Task(OpenModel):
    type: str


class _Dataset(_Task):
    name: str


class _Metric(_Task):
    value: float | int | str | dict[str, object]


class _Result(OpenModel):
    task: _Task
    dataset: _Dataset
    metrics: Annotated[list[_Metric], Field(min_length=1)]


class _Model(OpenModel):
    name: str
    results: list[_Result]


class _OurModel(_Model):
    results: Annotated[list[_Result], Field(min_length=1)]


class _Feature(OpenModel):
    name: str


class _Split(OpenModel):
    name: str
    num_examples: Annotated[int, Field(ge=0)]


class _DatasetInfo(OpenModel):
    config_name: str | None = None
    features: list[_Feature] = []
    splits: list[_Split] = []
    download_size: Annotated[int, Field(ge=0)] | None = None


class _Metadata(OpenModel):
    """The keys whose values the Hub or a library reads, where the card has them."""

    language: str | list[str] = []
    tags: list[str] = []
    pretty_name: Annotated[str, Field(min_length=1)] | None = None
    library_name: str | None = None
    pipeline_tag: str | None = None
    task_categories: list[str] = []
    size_categories: list[Annotated[str, Field(pattern=_SIZES)]] = []
    annotations_creators: list[_CREATORS] = []
    language_creators: list[_CREATORS] = []
    multilinguality: list[Literal["monolingual", "multilingual", "translation", "other"]] = []
    base_model: _AnyIds = []
    base_model_relation: Literal["adapter", "finetune", "merge", "quantized"] | None = None
    datasets: _AnyIds = []
    metrics: list[str] = []
    dataset_info: _DatasetInfo | list[_DatasetInfo] = []
    model_index: Sequence[_Model] = Field(default=[], alias="model-index")
    sdk: Literal["gradio", "streamlit", "docker", "static"] | None = None


class _OurMetadata(_Metadata):
    base_model: _Ids = []
    datasets: _Ids = []
    model_index: Sequence[_OurModel] = Field(default=[], alias="model-index")


def metadata_problems(front: Document, files: Collection[str]) -> Iterator[Problem]:
    """What the Hub would refuse in the metadata of a card or not understand.

    An unknown key is a key of the author's, unless it looks like a misspelt one.
    """
    yield from _problems(front, files, _Metadata)


def our_metadata_problems(front: Document, files: Collection[str]) -> Iterator[Problem]:
    """As `metadata_problems`, and what the cards of this package promise: a licence, ids with an owner."""
    yield from _problems(front, files, _OurMetadata)
    if front.data.get("license") is None and "sdk" not in front.data:
        yield Problem(front.where("license"), "states no license", code="card.no_license")
    link = str(front.data.get("license_link") or "")
    if link and "://" not in link and link not in _LICENSE_FILES:
        what, expected = "license_link is not a form that the Hub documents", "LICENSE, LICENSE.md or a URL"
        yield Problem(front.where("license_link"), what, expected, link, code="card.license_link_form")
    library = front.data.get("library_name")
    if isinstance(library, str) and library not in _LIBRARIES:
        where, known = front.where("library_name"), ", ".join(sorted(_LIBRARIES))
        what = "library_name is not a library that this package writes"
        yield Problem(where, what, known, library, code="card.library")


def _problems(front: Document, files: Collection[str], model: type[_Metadata]) -> Iterator[Problem]:
    for key in front.data:
        meant = [] if key in _KNOWN_KEYS else difflib.get_close_matches(key, _KNOWN_KEYS, n=1, cutoff=0.75)
        if meant:
            what, fix = f"{key}: not a key of the Hub", f"did you mean {meant[0]}?"
            yield Problem(front.where(key), what, fix=fix, code="card.unknown_key")
    yield from _license_problems(front, files)
    try:
        read = model.model_validate(front.data)
    except ValidationError as error:
        yield from validation_problems(error, front, code="card.metadata")
        return
    for language in [read.language] if isinstance(read.language, str) else read.language:
        if not _LANGUAGE.fullmatch(language):
            where, what = front.where("language"), "language is not an ISO 639 code"
            yield Problem(where, what, expected="en", got=language, code="card.language")
    for key, tasks in (("task_categories", read.task_categories), ("pipeline_tag", [read.pipeline_tag])):
        for task in tasks:
            if task is not None and task not in TASKS:
                yield Problem(front.where(key), f"{key}: not a task of the Hub", got=task, code="card.task")
    if read.base_model_relation and not read.base_model:
        where = front.where("base_model_relation")
        yield Problem(where, "base_model_relation without base_model", code="card.no_base_model")
    if read.library_name == "peft" and not read.base_model:
        where = front.where("library_name")
        yield Problem(where, "an adapter must name its base_model", code="card.no_base_model")


def validation_problems(
    error: ValidationError, document: Document, *, code: str, below: tuple[str | int, ...] = ()
) -> Iterator[Problem]:
    """One problem at its line for each value that pydantic refused."""
    for details in error.errors(include_url=False):
        path = (*below, *details["loc"])
        what = f"{'.'.join(map(str, path)) or 'the file'}: {details['msg']}"
        yield Problem(document.where(*path), what, got=repr(details["input"]), code=code)


def _license_problems(front: Document, files: Collection[str]) -> Iterator[Problem]:
    stated, where = front.data.get("license"), front.where("license")
    for license_id in stated if isinstance(stated, list) else [] if stated is None else [stated]:
        if str(license_id) not in HUB_LICENSES:
            what, fix = "license is not an id of the Hub", "use other, with license_name"
            yield Problem(where, what, got=str(license_id), fix=fix, code="card.license_id")
        if license_id == "other" and not front.data.get("license_name"):
            what = "license is other, but license_name is missing"
            yield Problem(where, what, code="card.license_name")
    link = str(front.data.get("license_link") or "")
    if link and "://" not in link and link not in files:
        what = "license_link names a file that does not exist"
        yield Problem(front.where("license_link"), what, got=link, code="card.license_link")


def corpora_in(paths: Iterable[str], corpora: Iterable[CorpusName]) -> tuple[CorpusName, ...]:
    """Those of the corpora that have records among the files."""
    found = {file.corpus for file in map(data_file, paths) if file and file.holds == "records"}
    return tuple(corpus for corpus in corpora if corpus in found)


def configs(
    paths: Sequence[str], corpora: Sequence[CorpusName], content: str, prompt_sha256: str, build: str
) -> list[dict[str, object]]:
    """The `configs:` of a card: `default` (all corpora), `clean`, one a corpus, `sft`, `standoff`.

    One that has no files is left out. The columns are not repeated on the card (`dataset_info`): each Parquet
    file has them, class names included, in its schema, where `datasets` reads them.

    Why: `datasets` caches a local folder by its name and these entries, not by its files; with the hashes
    in the description it notices that the content is another: `content` is that of the records, `build` that
    of the whole build, which shapes the rows of `standoff`.
    """
    found: list[dict[str, object]] = []
    for name in (*config_names(corpora), STANDOFF_CONFIG):
        data_files = [
            {"split": split, "path": globs}
            for split in SPLITS
            if (globs := list(dict.fromkeys(_globs(paths, name, split, corpora))))
        ]
        if data_files:
            entry: dict[str, object] = {"config_name": name}
            if name == DEFAULT_CONFIG:
                entry["default"] = True
            prompt = f" prompt {prompt_sha256}" if name == SFT_CONFIG else ""
            entry["description"] = f"content {build if name == STANDOFF_CONFIG else content}{prompt}"
            found.append({**entry, "data_files": data_files})
    return found


def _globs(paths: Iterable[str], config: str, split: Split, corpora: Sequence[CorpusName]) -> Iterator[str]:
    if config == STANDOFF_CONFIG:
        return (file.glob for file in map(standoff_file, paths) if file and file.split == split)
    return (file.glob for file in map(data_file, config_files(paths, config, split, corpora)) if file)


_SPLIT = r"^\w+(\.\w+)*$"


class _DataFiles(BaseModel):
    model_config = ConfigDict(extra="forbid")

    split: Annotated[str, Field(pattern=_SPLIT)]
    path: str | Annotated[list[str], Field(min_length=1)]

    @property
    def globs(self) -> list[str]:
        return [self.path] if isinstance(self.path, str) else self.path


def _in_full(stated: object) -> object:
    """The short forms of `data_files`, which name no split, as the long one."""
    entries = [stated] if isinstance(stated, str) else stated
    if not isinstance(entries, list):
        return stated
    return [{"split": "train", "path": one} if isinstance(one, str) else one for one in entries]


class _Config(BaseModel):
    config_name: str
    default: bool = False
    data_files: Annotated[list[_DataFiles], BeforeValidator(_in_full), Field(min_length=1)] | None = None
    data_dir: str | None = None


_CONFIGS = TypeAdapter(list[_Config])


def config_problems(front: Document, files: Sequence[str]) -> Iterator[Problem]:
    """What `datasets` would refuse or not find, and data files that no config reads."""
    try:
        configs = _CONFIGS.validate_python(front.data.get("configs") or [])
    except ValidationError as error:
        yield from validation_problems(error, front, code="card.config", below=("configs",))
        return
    where = front.where("configs")
    for name, count in Counter(config.config_name for config in configs).items():
        if count > 1:
            yield Problem(where, f"config {name} is listed {count} times", code="card.config_repeated")
    defaults = {one.config_name for one in configs if one.default or one.config_name == "default"}
    if len(defaults) > 1:
        got = ", ".join(sorted(defaults))
        yield Problem(where, "several configs are the default", got=got, code="card.config_default")
    matched = set[str]()
    for index, config in enumerate(configs):
        for entry in config.data_files or []:
            for glob in entry.globs:
                found = _matching(glob, config.data_dir, files)
                matched |= set(found)
                if not found and "://" not in glob:
                    what = f"config {config.config_name}, split {entry.split}: no file matches"
                    place = front.where("configs", index, "data_files")
                    yield Problem(place, what, got=glob, code="card.no_file_matches")
    if configs:
        for path in sorted({path for path in files if data_file(path) or standoff_file(path)} - matched):
            yield Problem(where, f"no config reads {path}", code="card.file_not_read")


def our_config_problems(front: Document, files: Sequence[str]) -> Iterator[Problem]:
    """As `config_problems`, and configs that do not list their files as those of this package do."""
    yield from config_problems(front, files)
    configs = front.data.get("configs")
    for index, config in enumerate(configs if isinstance(configs, list) else []):
        if isinstance(config, dict) and config.get("data_files") is None:
            where, what = front.where("configs", index), f"configs.{index}.data_files: missing"
            yield Problem(where, what, code="card.config_without_files")


def _matching(glob: str, folder: str | None, files: Sequence[str]) -> list[str]:
    """The files that a pattern matches by the rules of `fsspec`, which `datasets` uses."""
    from fsspec.utils import glob_translate

    whole = f"{folder.strip('/')}/{glob}" if folder else glob
    pattern = re.compile(glob_translate(whole.removeprefix("./")))
    return [path for path in files if pattern.match(path)]
