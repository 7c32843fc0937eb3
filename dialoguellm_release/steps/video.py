"""The steps from clips to video descriptions: look at the clips of a dataset, have them described, count."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Sequence
from contextlib import aclosing, closing, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from dialoguellm_release.corpora.registry import corpus_entry
from dialoguellm_release.errors import DataError, Problem, problems_of
from dialoguellm_release.folders import package_versions, read_manifest
from dialoguellm_release.progress import progress
from dialoguellm_release.recipes.catalogue import load_recipe
from dialoguellm_release.records import read_records
from dialoguellm_release.schemas.corpus import CorpusEntry
from dialoguellm_release.schemas.dataset_manifest import DatasetManifest
from dialoguellm_release.schemas.labels import SPLITS
from dialoguellm_release.schemas.video import Prices, ServedDescriber, VideoRecipe, VideoStatus
from dialoguellm_release.serve.asking import Asking, Budget, Question
from dialoguellm_release.serve.client import OpenAIClient
from dialoguellm_release.serve.store import FORGET_FAILED
from dialoguellm_release.step import BUILD, StrPath
from dialoguellm_release.video import ledger, questions
from dialoguellm_release.video.clips import FoundClips, find_clips, read_shard
from dialoguellm_release.video.frames import Extracted, extract_all

SHAPED_BY = ("av", "pillow", "openai")


@dataclass(frozen=True)
class Limits:
    """When a run of `describe_clips` stops.

    Attributes:
        questions: Of this run; None for no limit.
        cost_usd: What all answers so far may have cost; None for no limit.
    """

    questions: int | None = None
    cost_usd: float | None = None


@dataclass(frozen=True)
class Survey:
    """What the clips of a dataset give.

    Attributes:
        faults: Ids of records whose clip gives no frames, with the name of the fault and what was found.
        questions: How many questions would be asked; equal ones count once.
        skipped: Records whose clip has pictures that could not be decoded, with the number of those.
        cost_usd: What the questions are expected to cost; None without prices.
    """

    found: FoundClips
    faults: dict[str, str]
    answered: int
    questions: int
    skipped: dict[str, int]
    cost_usd: float | None


def survey_clips(
    recipe: StrPath,
    videos: StrPath,
    dataset: StrPath = BUILD / "dataset",
    out: StrPath = BUILD / "video",
    *,
    shard: str = "1/1",
    overrides: Sequence[str] = (),
) -> Survey:
    """Finds the clips of a dataset's records, tries their frames, and estimates the cost of describing them.

    Args:
        recipe: Name of a bundled video recipe, or a path.
        videos: Folder with one sub-folder of videos a corpus.
        dataset: Folder that `build_dataset` made.
        out: A video folder; what is answered there is not asked again.
        shard: Which part of the clips, as `i/n`.
        overrides: Settings `key.key=value` of the recipe.

    Returns:
        The records with and without a clip, the clips without frames, and the cost.

    Raises:
        DataError: There is no dataset, or no folder with the videos of a corpus.
        MissingExtraError: The extra `video` is not installed.

    Example:
        >>> survey_clips("gpt-4.1-mini", "videos")  # doctest: +SKIP
    """
    asked = load_recipe(os.fspath(recipe), "video", VideoRecipe, overrides).recipe
    found = read_shard(shard).of(_clips(asked, Path(dataset), Path(videos)))
    done, answered = ledger.answered_elsewhere(Path(out), None)
    waiting = [clip for clip in found.clips if clip.record_id not in done]
    asking = questions.asking_sha256(asked)
    faults: dict[str, str] = {}
    shown: dict[str, int] = {}
    skipped: dict[str, int] = {}
    with progress("check clips", len(waiting)) as advance:
        for one in extract_all(waiting, asked.frames, {}):
            if one.fault is not None:
                faults[one.clip.record_id] = str(one.fault)
            elif (key := questions.question_key(asking, one.frames)) not in answered:
                shown[key] = len(one.frames)
            if one.skipped:
                skipped[one.clip.record_id] = one.skipped
            advance(1)
    usd = (questions.estimate_usd(asked, frames) or 0.0 for frames in shown.values())
    return Survey(
        found=found,
        faults=faults,
        answered=len(found.clips) - len(waiting),
        questions=len(shown),
        skipped=skipped,
        cost_usd=sum(usd) if asked.prices else None,
    )


def describe_clips(
    recipe: StrPath,
    videos: StrPath,
    dataset: StrPath = BUILD / "dataset",
    out: StrPath = BUILD / "video",
    *,
    shard: str = "1/1",
    limits: Limits | None = None,
    retry_failed: bool = False,
    overrides: Sequence[str] = (),
) -> str | None:
    """Describes the clips of a dataset's records; each answer is kept at once and not asked for again.

    Args:
        recipe: Name of a bundled video recipe, or a path.
        videos: Folder with one sub-folder of videos a corpus.
        dataset: Folder that `build_dataset` made.
        out: The video folder; each part of the clips has a file of its own in it.
        shard: Which part of the clips, as `i/n`.
        limits: When to stop; None for no limit.
        retry_failed: Ask again where an answer could not be used.
        overrides: Settings `key.key=value` of the recipe.

    Returns:
        Why it ended before every clip was asked about; None where all were.

    Raises:
        DataError: The dataset, the videos or the answers cannot be used, or the server answers no question.
        MissingExtraError: The extra `video` is not installed.

    Example:
        >>> describe_clips("gpt-4.1-mini", "videos", limits=Limits(cost_usd=5.0))  # doctest: +SKIP
    """
    loaded = load_recipe(os.fspath(recipe), "video", VideoRecipe, overrides)
    asked, describer = loaded.recipe, loaded.recipe.describer
    part, folder, until = read_shard(shard), Path(out), limits or Limits()
    served = questions.served_model(describer) if isinstance(describer, ServedDescriber) else None
    client = OpenAIClient(served) if served else None
    setup = ledger.Setup(
        recipe=loaded.name,
        recipe_sha256=loaded.sha256,
        asking=questions.asking_sha256(asked),
        model=questions.model_of(asked),
        prompt=asked.prompt.name,
        prompt_sha256=questions.prompt_sha256(asked.prompt),
        estimate_usd=questions.estimate_usd(asked),
        created_by=package_versions(*SHAPED_BY),
    )
    found = part.of(_clips(asked, Path(dataset), Path(videos)))
    with ledger.reading(folder, part.ledger) as others:
        for path, db in others:
            ledger.refuse_other(path, ledger.read_setup(db), setup)
    done, answered = ledger.answered_elsewhere(folder, part.ledger)
    with ledger.writing(folder / part.ledger, setup) as own:
        own.plan(found)
        if retry_failed:
            own.store.commit([FORGET_FAILED])
        clips = own.waiting([clip for clip in found.clips if clip.record_id not in done])
        with (
            progress("describe", len(clips)) as advance,
            closing(extract_all(clips, asked.frames, own.clip_hashes())) as extracted,
        ):
            asking = Asking(
                own.store,
                client.server if client else questions.SYNTHETIC,
                client.send if client else questions.answer_synthetic,
                questions.read_answer,
                cost_usd=partial(questions.cost_usd, asked),
                budget=Budget(until.questions, until.cost_usd, setup.estimate_usd, *own.store.money()),
                advance=advance,
                known=answered | own.store.keys(),
            )

            async def run() -> None:
                async with aclosing(client) if client else nullcontext():
                    await asking.over(_question(one, asked, setup.asking) for one in extracted)

            asyncio.run(run())
    return asking.stopped


def video_status(folder: StrPath = BUILD / "video") -> VideoStatus:
    """Counts what a video folder holds.

    Args:
        folder: Folder that `describe_clips` made.

    Returns:
        The described, refused, failed and open records, the tokens and the cost.

    Raises:
        DataError: There is no such folder, or it cannot be used.

    Example:
        >>> video_status("build/video").records.described  # doctest: +SKIP
        13708
    """
    return ledger.summary(ledger.read_ledgers(Path(folder)))


def video_failures(folder: StrPath = BUILD / "video") -> dict[str, str]:
    """The records that failed or were refused, by id, each with the reason."""
    return ledger.failures(ledger.read_ledgers(Path(folder)))


def video_prices(recipe: str, overrides: Sequence[str] = ()) -> Prices | None:
    """The prices of a video recipe; None where it has none."""
    return load_recipe(recipe, "video", VideoRecipe, overrides).recipe.prices


def _question(extracted: Extracted, recipe: VideoRecipe, asking: str) -> Question:
    key, changes = ledger.noted(extracted, asking)
    body = partial(questions.request_body, recipe.describer, recipe.prompt, extracted.frames)
    return Question(key, body, changes)


def _clips(recipe: VideoRecipe, dataset: Path, videos: Path) -> FoundClips:
    """The clips of the records that a dataset has of the recipe's corpora."""
    manifest = read_manifest(dataset, DatasetManifest)
    there = [
        (name, split)
        for name in recipe.corpora
        if name in manifest.figures.corpora
        for split in dict.fromkeys([*SPLITS, *manifest.figures.corpora[name].splits])
        if any(file.path.startswith(f"data/{name}/{split}-") for file in manifest.outputs)
    ]
    if not there:
        wanted, got = ", ".join(recipe.corpora), ", ".join(manifest.figures.corpora)
        what = "has no corpus that the video recipe describes"
        raise DataError(Problem(str(dataset), what, wanted, got, code="video.no_corpus"))
    entries = {name: _entry_of(name, manifest, dataset) for name, _ in there}
    records = (record for name, split in there for record in read_records(dataset, name, split))
    return find_clips(records, videos, recipe.wrong_clips, entries)


def _entry_of(corpus: str, manifest: DatasetManifest, dataset: Path) -> CorpusEntry:
    """The corpus file with which a dataset was built; the bundled one where its recipe names no other."""
    stated: Any = manifest.recipe.resolved.get("corpora")
    entry = (stated.get(corpus) or {}).get("entry") if isinstance(stated, dict) else None
    if entry is None:
        return corpus_entry(corpus)
    try:
        return CorpusEntry.model_validate_json(json.dumps(entry))
    except ValidationError as error:
        what = f"the corpus file of {corpus} in its recipe is not valid"
        raise DataError(problems_of(error, str(dataset), what, code="video.bad_corpus")) from error
