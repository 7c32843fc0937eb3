"""The metadata of a card against what the Hub documents, without asking it.

Sources: `modelcard.md`, `datasetcard.md` and `docs/hub/spaces-config-reference.md` of huggingface/hub-docs,
and the tasks in `packages/tasks/src/pipelines.ts` of huggingface/huggingface.js.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterator, Sequence
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from dialoguellm_release.cards.front_matter import FrontMatter
from dialoguellm_release.cards.licenses import HUB_LICENSES
from dialoguellm_release.errors import Problem

OUR_KEYS = frozenset(
    {
        "annotations_creators",
        "app_file",
        "base_model",
        "base_model_relation",
        "configs",
        "dataset_info",
        "datasets",
        "description",
        "language",
        "language_creators",
        "library_name",
        "license",
        "license_link",
        "license_name",
        "metrics",
        "model-index",
        "multilinguality",
        "pipeline_tag",
        "pretty_name",
        "sdk",
        "size_categories",
        "source_datasets",
        "tags",
        "task_categories",
        "task_ids",
        "title",
    }
)
"""The keys that our cards may have; in a repository they are ours to change and to take away."""

_OTHER_KEYS = """
    annotations app_port base_path co2_eq_emissions colorFrom colorTo custom_headers emoji
    extra_gated_button_content extra_gated_description extra_gated_fields extra_gated_heading
    extra_gated_prompt fullWidth inference language_details license_details mask_token models new_version
    paperswithcode_id pinned python_version sdk_version short_description suggested_hardware
    suggested_storage thumbnail train-eval-index version viewer widget
"""
_KNOWN_KEYS = sorted(OUR_KEYS | set(_OTHER_KEYS.split()))

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
"""Those of old that have no owner, as `gpt2`, among them."""


class _Open(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True, populate_by_name=True)


class _Task(_Open):
    type: str


class _Dataset(_Open):
    type: str
    name: str


class _Metric(_Open):
    type: str
    value: float | int | str | dict[str, object]


class _Result(_Open):
    task: _Task
    dataset: _Dataset
    metrics: Annotated[list[_Metric], Field(min_length=1)]


class _Model(_Open):
    name: str
    results: list[_Result]


class _OurModel(_Model):
    results: Annotated[list[_Result], Field(min_length=1)]


class _Feature(_Open):
    name: str


class _Split(_Open):
    name: str
    num_examples: Annotated[int, Field(ge=0)]


class _DatasetInfo(_Open):
    config_name: str | None = None
    features: list[_Feature] = []
    splits: list[_Split] = []
    download_size: Annotated[int, Field(ge=0)] | None = None


class _Metadata(_Open):
    """The keys whose values the Hub or a library reads, as far as they stand there."""

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


def metadata_problems(front: FrontMatter, files: Collection[str], *, is_ours: bool) -> Iterator[Problem]:
    """What the Hub would refuse in a card's metadata or not understand.

    A key that nobody knows is somebody's own, unless it looks like a misspelt one.

    Args:
        files: What stands beside the card.
        is_ours: Whether it has to state a licence, and what our own cards state it by.
    """
    for key in front.data:
        meant = [] if key in _KNOWN_KEYS else difflib.get_close_matches(key, _KNOWN_KEYS, n=1, cutoff=0.75)
        if meant:
            yield Problem(front.where(key), f"{key}: is no key of the Hub", fix=f"did you mean {meant[0]}?")
    yield from _license_problems(front, files, is_ours)
    try:
        read = (_OurMetadata if is_ours else _Metadata).model_validate(dict(front.data))
    except ValidationError as error:
        for details in error.errors():
            place = details["loc"]
            what = f"{'.'.join(map(str, place))}: {details['msg']}"
            yield Problem(front.where(*place), what, got=repr(details["input"]))
        return
    for language in [read.language] if isinstance(read.language, str) else read.language:
        if not _LANGUAGE.fullmatch(language):
            where = front.where("language")
            yield Problem(where, "language is no code of ISO 639", expected="en", got=language)
    for key, tasks in (("task_categories", read.task_categories), ("pipeline_tag", [read.pipeline_tag])):
        for task in tasks:
            if task is not None and task not in TASKS:
                yield Problem(front.where(key), "is no task of the Hub", got=task)
    if is_ours and read.library_name is not None and read.library_name not in _LIBRARIES:
        where, known = front.where("library_name"), ", ".join(sorted(_LIBRARIES))
        yield Problem(where, "library_name is none of ours", known, read.library_name)
    if read.base_model_relation and not read.base_model:
        where = front.where("base_model_relation")
        yield Problem(where, "base_model_relation stands there without base_model")
    if read.library_name == "peft" and not read.base_model:
        yield Problem(front.where("library_name"), "an adapter names no base_model")


def _license_problems(front: FrontMatter, files: Collection[str], is_ours: bool) -> Iterator[Problem]:
    stated, where = front.data.get("license"), front.where("license")
    if stated is None:
        if is_ours and "sdk" not in front.data:
            yield Problem(where, "states no license")
        return
    for license_id in stated if isinstance(stated, list) else [stated]:
        if license_id not in HUB_LICENSES:
            yield Problem(
                where, "license is no id of the Hub", got=str(license_id), fix="other, and license_name"
            )
        if license_id == "other" and not front.data.get("license_name"):
            yield Problem(where, "license is other, and license_name does not say which")
    link = str(front.data.get("license_link") or "")
    if link and "://" not in link and link not in files:
        what = "license_link leads to a file that is not there"
        yield Problem(front.where("license_link"), what, got=link)
