"""Why records are not those of the build, as far as files, versions and stand-off rows tell."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from dialoguellm_release.corpora.registry import corpus_entry
from dialoguellm_release.dataset.published import PACKAGE, PublishedCopy
from dialoguellm_release.errors import Problem
from dialoguellm_release.schemas.dataset_manifest import CorpusFigures, DatasetManifest
from dialoguellm_release.schemas.labels import CorpusName, Split
from dialoguellm_release.schemas.manifests import FileStamp


def cause(copy: PublishedCopy, name: CorpusName, files: Iterable[FileStamp], sources: Path) -> Problem:
    """Why a copy does not give the records of the build, as far as its files tell.

    Why: the same files can give other records only by another version of this package, or where the
    published rows are no longer those of the build.

    Args:
        files: The files that were read.
    """
    built_from = {file.path: file for file in copy.manifest.figures.corpora[name].files}
    read, where = {file.path: file for file in files}, str(sources / name)
    if built_from == read and copy.other_version is None:
        return Problem(where, "these are the files of the build: the published copy was changed after it")
    if built_from == read:
        what = "these are the files of the build, but another version of this package read them"
        return Problem(where, what, f"{PACKAGE} {copy.other_version}", fix=copy.version_fix)
    others = sorted(path for path in {*built_from, *read} if built_from.get(path) != read.get(path))
    return Problem(
        where,
        "not the files of the build",
        expected="; ".join(_named(built_from[path]) for path in others if path in built_from) or None,
        got="; ".join(_named(read[path]) for path in others if path in read) or None,
        fix=how_to_get(name, sources),
    )


def content_problems(copy: PublishedCopy, made: DatasetManifest, sources: Path) -> Iterator[Problem]:
    """The splits whose content is not that of the build, with what can be said of the reason.

    Why: a record's `leaks` tells of other corpora, so that one that differs changes others. Those are named
    whose files are not the build's, and of them those that no stand-off rows speak for.
    """
    built, now = copy.manifest.figures.corpora, made.figures.corpora
    changed = [
        (name, split)
        for name, figures in built.items()
        for split, digest in figures.content_sha256.items()
        if now[name].content_sha256.get(split) != digest
    ]
    other_files = [(name, split) for name, split in changed if now[name].files != built[name].files]
    without_rows = [(name, split) for name, split in other_files if copy.held[name] == "nothing"]
    for name, split in without_rows or other_files or changed:
        reason = cause(copy, name, now[name].files, sources)
        yield Problem(
            f"{name}/{split}",
            f"its records are not those of the build: {_detail(copy, name, split) or reason.what}",
            expected=_content(built[name], split),
            got=_content(now[name], split),
            fix=copy.version_fix or reason.fix,
        )


def how_to_get(name: CorpusName, sources: Path) -> str:
    """How a corpus is had: the command that fetches it, or whom to ask for what."""
    request = corpus_entry(name).request
    if request is None:
        return f"dlm-release corpora fetch {name} --to {sources}"
    return (
        f"whom to ask: {request.whom}\n  what to ask for: {request.what}\n  where to put it: {sources / name}"
    )


def _named(file: FileStamp) -> str:
    return f"{file.path} of {file.bytes} bytes, sha256 {file.sha256}"


def _detail(copy: PublishedCopy, name: CorpusName, split: Split) -> str | None:
    """Which records can be meant where every window agrees: those that have none."""
    if copy.held[name] != "standoff":
        return None
    ids = [row.id for row in copy.rows(name) if row.split == split and row.window_hmac is None]
    return f"one that is alone in its dialogue, and so has no hash: of {', '.join(ids)}" if ids else None


def _content(figures: CorpusFigures, split: Split) -> str:
    if split not in figures.splits:
        return "nothing"
    sizes = figures.splits[split]
    return (
        f"{sizes.dialogues} dialogues, {sizes.utterances} utterances, content {figures.content_sha256[split]}"
    )
