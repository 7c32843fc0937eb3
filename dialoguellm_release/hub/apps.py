"""An app of `spaces/` as a repository: the adapters that it offers, its metadata and its requirements."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import PurePosixPath

from packaging.requirements import InvalidRequirement, Requirement
from pydantic import ValidationError

from dialoguellm_release.cards.card import front_matter, split_card
from dialoguellm_release.errors import Problem, PublishError, problems_of
from dialoguellm_release.hub.contents import Commits, RepoPlan, Sources, parse_release_file
from dialoguellm_release.layout import CARD
from dialoguellm_release.schemas.release import (
    RELEASE_FILE,
    AppAdapter,
    AppAdapters,
    RepositoryName,
    repository_of,
)

APP_ADAPTERS = "adapters.json"
"""The file of an app that names the adapters which it offers."""

REQUIREMENTS = "requirements.txt"

_PINNED = re.compile(r"\d+(\.\d+)+")
_CODE_AND_WORDS = frozenset({"", ".css", ".json", ".md", ".py", ".txt"})
"""What the files of an app may end with: records of a corpus come in files of other kinds."""


def offering(plan: RepoPlan, depends_on: tuple[RepositoryName, ...], sources: Sources) -> RepoPlan:
    """The plan of an app with the adapters that it depends on, each at its commit of this release."""
    adapters = [name for name in depends_on if name in sources.adapters]
    _check_bases(adapters, sources)
    bases = [sources.adapters[name].manifest.figures.base for name in adapters]
    metadata, body = split_card(plan.texts({})[CARD])
    metadata["models"] = list(dict.fromkeys([*adapters, *bases]))
    if datasets := [repo_id for kind, repo_id in map(repository_of, depends_on) if kind == "dataset"]:
        metadata["datasets"] = datasets

    def texts(commits: Commits) -> Mapping[str, str]:
        offered = tuple(
            AppAdapter(adapter=name, revision=commits[name], corpus=corpus)
            for name in adapters
            for corpus in sources.adapters[name].manifest.figures.choices or (None,)
        )
        listed = AppAdapters(adapters=offered).model_dump_json(indent=2, exclude_none=True)
        return {CARD: f"{front_matter(metadata)}{body}", APP_ADAPTERS: f"{listed}\n"}

    return replace(plan, texts=texts)


def _check_bases(adapters: Sequence[RepositoryName], sources: Sources) -> None:
    """Refuses adapters of weights that are on no Hub, with a PublishError."""
    problems = []
    for name in adapters:
        figures = sources.adapters[name].manifest.figures
        if figures.base_is_folder or figures.base_gguf_file is not None:
            what = f"cannot be offered by an app: it was trained on weights of a folder, {figures.base}"
            fix = "train it on a backbone of the Hub, or leave it out of depends_on of the app"
            problems.append(Problem(name, what, fix=fix, code="apps.base_not_on_the_hub"))
    if problems:
        raise PublishError(problems)


def app_problems(files: Collection[str], read: Callable[[str], str]) -> Iterator[Problem]:
    """What is wrong with an app as a repository."""
    for path in files:
        if PurePosixPath(path).suffix not in _CODE_AND_WORDS:
            what, expected = "is neither code nor text of an app", ", ".join(sorted(_CODE_AND_WORDS - {""}))
            yield Problem(path, what, expected, code="apps.data_file")
    metadata, _ = split_card(read(CARD))
    for key in ("title", "emoji", "license", "models"):
        if not metadata.get(key):
            yield Problem(f"{CARD}: {key}", "is missing, and the Hub shows it", code="apps.no_metadata")
    if metadata.get("sdk") != "gradio" or not _PINNED.fullmatch(str(metadata.get("sdk_version"))):
        what, got = "does not pin Gradio", f"{metadata.get('sdk')} {metadata.get('sdk_version')}"
        yield Problem(f"{CARD}: sdk_version", what, "sdk: gradio and a version", got, code="apps.sdk")
    if (main := str(metadata.get("app_file"))) not in files:
        yield Problem(f"{CARD}: app_file", "is not a file of the app", got=main, code="apps.no_app_file")
    yield from _requirement_problems(read(REQUIREMENTS) if REQUIREMENTS in files else "")
    yield from _adapter_problems(read(APP_ADAPTERS), read(RELEASE_FILE))


def _requirement_problems(text: str) -> Iterator[Problem]:
    """Requirements that another day would resolve to another version."""
    lines = [line for line in (one.partition("#")[0].strip() for one in text.splitlines()) if line]
    if not lines:
        yield Problem(REQUIREMENTS, "names nothing to install", code="apps.no_requirements")
    for line in lines:
        try:
            pins = list(Requirement(line).specifier)
        except InvalidRequirement:
            pins = []
        if [pin.operator for pin in pins] != ["=="] or "*" in pins[0].version:
            what = "is not pinned to one version"
            yield Problem(REQUIREMENTS, what, "name==1.2.3", line, code="apps.not_pinned")


def _adapter_problems(adapters: str, release: str) -> Iterator[Problem]:
    """Adapters that the app offers, but that are not those of its release."""
    try:
        offered = AppAdapters.model_validate_json(adapters).adapters
    except ValidationError as error:
        yield from problems_of(error, APP_ADAPTERS, "does not list adapters", code="apps.bad_adapters")
        return
    linked = {link.repository: link.commit for link in parse_release_file(release, RELEASE_FILE).depends_on}
    for one in offered:
        if one.adapter not in linked or one.revision != linked[one.adapter] or one.backbone is not None:
            what = "offers an adapter that is not of its release"
            expected = ", ".join(f"{name} at {commit}" for name, commit in linked.items())
            got = f"{one.adapter} at {one.revision}"
            yield Problem(APP_ADAPTERS, what, expected, got, code="apps.other_adapter")
