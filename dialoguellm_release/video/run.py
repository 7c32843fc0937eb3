"""A run of `video describe` or `video check`: the records of a dataset, their clips, and a ledger."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from contextlib import aclosing, closing, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from dialoguellm_release.corpora.registry import corpus_entry
from dialoguellm_release.errors import DataError, Problem, problems_of
from dialoguellm_release.folders import package_versions, read_manifest
from dialoguellm_release.progress import progress
from dialoguellm_release.recipes.load import Loaded
from dialoguellm_release.records import read_records
from dialoguellm_release.schemas.corpus import CorpusEntry
from dialoguellm_release.schemas.dataset_manifest import DatasetManifest
from dialoguellm_release.schemas.labels import SPLITS
from dialoguellm_release.schemas.video import ServedDescriber, VideoRecipe
from dialoguellm_release.serve.asking import Asking, Budget, Question
from dialoguellm_release.serve.client import OpenAIClient
from dialoguellm_release.serve.store import FORGET_FAILED
from dialoguellm_release.video.clips import FoundClips, find_clips
from dialoguellm_release.video.frames import Extracted, extract_all
from dialoguellm_release.video.ledger import (
    SUFFIX,
    Setup,
    answered_elsewhere,
    noted,
    read_setup,
    reading,
    refuse_other,
    writing,
)
from dialoguellm_release.video.questions import (
    SYNTHETIC,
    answer_synthetic,
    asking_sha256,
    cost_usd,
    estimate_usd,
    model_of,
    prompt_sha256,
    question_key,
    read_answer,
    request_body,
    served_model,
)

SHAPED_BY = ("av", "pillow", "openai")


@dataclass(frozen=True)
class Shard:
    """One of `count` parts of the clips, by number from 1; records of one clip are in one part."""

    number: int = 1
    count: int = 1

    @property
    def ledger(self) -> str:
        """The name of the ledger of this part."""
        return f"ledger{f'-{self.number}-of-{self.count}' if self.count > 1 else ''}{SUFFIX}"

    def has(self, name: str) -> bool:
        """Whether a clip, or a record without one, is in this part."""
        digest = hashlib.sha256(name.encode()).digest()
        return int.from_bytes(digest[:8], "big") % self.count == self.number - 1

    def of(self, found: FoundClips) -> FoundClips:
        """What was found, of this part."""
        return replace(
            found,
            clips=tuple(clip for clip in found.clips if self.has(f"{clip.name} {clip.start_s} {clip.end_s}")),
            without_clip=tuple(filter(self.has, found.without_clip)),
            left_out={name: reason for name, reason in found.left_out.items() if self.has(name)},
            several={name: files for name, files in found.several.items() if self.has(name)},
        )


def read_shard(text: str) -> Shard:
    """A part from its form `i/n`.

    >>> read_shard("2/8")
    Shard(number=2, count=8)
    """
    match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text, re.ASCII)
    shard = Shard(int(match[1]), int(match[2])) if match else None
    if shard is None or not 1 <= shard.number <= shard.count:
        raise DataError(
            Problem("--shard", "not a part", expected="i/n, as in 1/8 to 8/8", got=text, code="video.shard")
        )
    return shard


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


def survey_clips(loaded: Loaded[VideoRecipe], dataset: Path, videos: Path, out: Path, shard: Shard) -> Survey:
    """What a run would find and ask; nothing is written or asked.

    Args:
        out: A video folder whose answers are not asked for again; it may not exist.
    """
    recipe = loaded.recipe
    found = shard.of(_clips(recipe, dataset, videos))
    done, answered = answered_elsewhere(out, None)
    waiting = [clip for clip in found.clips if clip.record_id not in done]
    asking = asking_sha256(recipe)
    faults: dict[str, str] = {}
    shown: dict[str, int] = {}
    skipped: dict[str, int] = {}
    with progress("check clips", len(waiting)) as advance:
        for one in extract_all(waiting, recipe.frames, {}):
            if one.fault is not None:
                faults[one.clip.record_id] = str(one.fault)
            elif (key := question_key(asking, one.frames)) not in answered:
                shown[key] = len(one.frames)
            if one.skipped:
                skipped[one.clip.record_id] = one.skipped
            advance(1)
    return Survey(
        found=found,
        faults=faults,
        answered=len(found.clips) - len(waiting),
        questions=len(shown),
        skipped=skipped,
        cost_usd=None
        if recipe.prices is None
        else sum(estimate_usd(recipe, n) or 0.0 for n in shown.values()),
    )


def describe_clips(
    loaded: Loaded[VideoRecipe],
    dataset: Path,
    videos: Path,
    out: Path,
    shard: Shard,
    limit: int | None,
    max_cost_usd: float | None,
    *,
    retry_failed: bool,
) -> str | None:
    """Asks about every clip without an answer; why it stopped before the end, None where it did not.

    Args:
        limit: How many questions this run asks; None for no limit.
        max_cost_usd: What the ledger may come to; None for no limit.
        retry_failed: Ask again where an answer could not be used.
    """
    recipe, describer = loaded.recipe, loaded.recipe.describer
    client = OpenAIClient(served_model(describer)) if isinstance(describer, ServedDescriber) else None
    setup = Setup(
        recipe=loaded.name,
        recipe_sha256=loaded.sha256,
        asking=asking_sha256(recipe),
        model=model_of(recipe),
        prompt=recipe.prompt.name,
        prompt_sha256=prompt_sha256(recipe.prompt),
        estimate_usd=estimate_usd(recipe),
        created_by=package_versions(*SHAPED_BY),
    )
    found = shard.of(_clips(recipe, dataset, videos))
    with reading(out, shard.ledger) as others:
        for path, db in others:
            refuse_other(path, read_setup(db), setup)
    done, answered = answered_elsewhere(out, shard.ledger)
    with writing(out / shard.ledger, setup) as ledger:
        ledger.plan(found)
        if retry_failed:
            ledger.store.commit([FORGET_FAILED])
        clips = ledger.waiting([clip for clip in found.clips if clip.record_id not in done])
        with (
            progress("describe", len(clips)) as advance,
            closing(extract_all(clips, recipe.frames, ledger.clip_hashes())) as extracted,
        ):
            asking = Asking(
                ledger.store,
                client.server if client else SYNTHETIC,
                client.send if client else answer_synthetic,
                read_answer,
                cost_usd=partial(cost_usd, recipe),
                budget=Budget(limit, max_cost_usd, estimate_usd(recipe), *ledger.store.money()),
                advance=advance,
                known=answered | ledger.store.keys(),
            )

            async def run() -> None:
                async with aclosing(client) if client else nullcontext():
                    await asking.over(_question(one, recipe, setup.asking) for one in extracted)

            asyncio.run(run())
    return asking.stopped


def _question(extracted: Extracted, recipe: VideoRecipe, asking: str) -> Question:
    key, changes = noted(extracted, asking)
    return Question(key, partial(request_body, recipe.describer, recipe.prompt, extracted.frames), changes)


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
