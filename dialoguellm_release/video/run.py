"""A run of `video describe`: the records of a dataset, their clips, a ledger, and who is asked."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from dialoguellm_release.errors import DataError, Problem
from dialoguellm_release.folders import package_versions, read_manifest
from dialoguellm_release.progress import progress
from dialoguellm_release.recipes.load import Loaded
from dialoguellm_release.records import read_records
from dialoguellm_release.schemas.dataset_manifest import DatasetManifest
from dialoguellm_release.schemas.labels import SPLITS
from dialoguellm_release.schemas.recipes.video import ServedDescriber, VideoRecipe
from dialoguellm_release.schemas.record import Record
from dialoguellm_release.video import entries
from dialoguellm_release.video.batch import Batching, BatchLimits
from dialoguellm_release.video.clips import Clip, FoundClips, find_clips
from dialoguellm_release.video.costs import Budget, estimate_usd
from dialoguellm_release.video.describe import Describing, Run
from dialoguellm_release.video.describers import describer_of
from dialoguellm_release.video.extraction import Extracted, extract_all
from dialoguellm_release.video.ledger import SUFFIX, Ledger, Setup, read_setup, reading, refuse_other, writing
from dialoguellm_release.video.questions import asking_sha256, model_of, prompt_sha256, question_key
from dialoguellm_release.video.status import answered_elsewhere

SHAPED_BY = ("av", "pillow", "openai")
KEPT = "what was answered is in the ledger"


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

    Raises:
        DataError: It has another form, or i is not between 1 and n.
    """
    match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text, re.ASCII)
    shard = Shard(int(match[1]), int(match[2])) if match else None
    if shard is None or not 1 <= shard.number <= shard.count:
        raise DataError(
            Problem("--shard", "not a part of a whole", expected="i/n, as in 1/8 to 8/8", got=text)
        )
    return shard


@dataclass(frozen=True)
class Survey:
    """What the clips of a dataset give, without a request and without a ledger.

    Attributes:
        faults: Ids of records whose clip gives no frames, with the name of the fault and what was found.
        answered: Records that have an answer already.
        questions: How many questions would be asked; equal ones count once.
        cost_usd: What they are expected to cost; None without prices.
        batch_cost_usd: The same by the Batch API.
    """

    found: FoundClips
    faults: dict[str, str]
    answered: int
    questions: int
    cost_usd: float | None
    batch_cost_usd: float | None


def survey_clips(loaded: Loaded[VideoRecipe], dataset: Path, videos: Path, out: Path, shard: Shard) -> Survey:
    """What a run would find and ask; nothing is written and nobody is asked.

    Args:
        out: A video folder whose answers are not asked for again; it need not be there.

    Raises:
        DataError: There is no dataset, or no folder with the videos of a corpus.
    """
    recipe = loaded.recipe
    found = shard.of(find_clips(_records(recipe, dataset), videos, recipe.wrong_clips))
    done, answered = answered_elsewhere(out, None)
    waiting = [clip for clip in found.clips if clip.record_id not in done]
    asking = asking_sha256(recipe)
    faults: dict[str, str] = {}
    shown: dict[str, int] = {}
    with progress("looking at clips", len(waiting)) as advance:
        for one in extract_all(waiting, recipe.frames, {}):
            if one.fault is not None:
                faults[one.clip.record_id] = str(one.fault)
            elif (key := question_key(asking, one.frames)) not in answered:
                shown[key] = len(one.frames)
            advance(1)
    return Survey(
        found=found,
        faults=faults,
        answered=len(found.clips) - len(waiting),
        questions=len(shown),
        cost_usd=_sum_usd(recipe, shown, batch=False),
        batch_cost_usd=_sum_usd(recipe, shown, batch=True),
    )


def _sum_usd(recipe: VideoRecipe, shown: Mapping[str, int], *, batch: bool) -> float | None:
    costs = [estimate_usd(recipe, frames, batch=batch) for frames in shown.values()]
    return None if recipe.prices is None else sum(cost or 0.0 for cost in costs)


@dataclass(frozen=True)
class Job:
    """What a run is to do.

    Attributes:
        out: The video folder.
        limit: Questions of this run; None for no limit.
        max_cost_usd: What the ledger may come to; None for no limit.
        retry_failed: Ask again where an answer could not be used.
    """

    loaded: Loaded[VideoRecipe]
    dataset: Path
    videos: Path
    out: Path
    shard: Shard
    limit: int | None
    max_cost_usd: float | None
    retry_failed: bool


def describe_clips(job: Job) -> Run:
    """Describes every clip that has no answer yet, by requests that are answered at once.

    Raises:
        DataError: The dataset, the videos or the ledger cannot be used, or the server answers no question.
    """
    recipe = job.loaded.recipe
    describer = describer_of(recipe)
    with _begun(job) as begun:
        ledger = begun.ledger
        budget = Budget(job.limit, job.max_cost_usd, estimate_usd(recipe), *ledger.money())
        clips = begun.waiting()
        answered = begun.answered | ledger.answered_questions() | ledger.open_questions()
        with progress("describing", len(clips)) as advance, closing(begun.extract(clips)) as extracted:
            describing = Describing(ledger, recipe, begun.asking, describer, budget, answered, advance)
            run = asyncio.run(describing.over(extracted))
    if run.problem is not None:
        raise DataError(run.problem, outcome=KEPT)
    return run


def describe_by_batch(job: Job, limits: BatchLimits, *, wait: bool) -> Run:
    """Describes every clip that has no answer yet, by the Batch API.

    Args:
        wait: Stay until every batch has ended; else collect what is ready and submit what is not asked yet.

    Raises:
        DataError: The dataset, the videos or the ledger cannot be used, or the server refuses.
    """
    recipe = job.loaded.recipe
    if not isinstance(recipe.describer, ServedDescriber):
        raise DataError(
            Problem("--batch", f"the recipe {job.loaded.name} asks no server", fix="leave it out")
        )
    with _begun(job) as begun:
        batching = Batching(
            ledger=begun.ledger,
            recipe=recipe,
            describer=recipe.describer,
            asking=begun.asking,
            folder=job.out / f".{Path(job.shard.ledger).stem}-batches",
            answered=begun.answered,
            limit=job.limit,
            max_cost_usd=job.max_cost_usd,
            limits=limits,
        )
        return batching.over(lambda: begun.extract(begun.waiting()), wait=wait)


@dataclass(frozen=True)
class _Begun:
    """A run whose ledger is open and knows every record.

    Attributes:
        elsewhere: Ids of records that another ledger of the folder has an answer to.
        answered: Keys of the questions that another ledger has an answer to.
    """

    ledger: Ledger
    recipe: VideoRecipe
    asking: str
    clips: tuple[Clip, ...]
    elsewhere: set[str]
    answered: set[str]

    def waiting(self) -> list[Clip]:
        return self.ledger.waiting([clip for clip in self.clips if clip.record_id not in self.elsewhere])

    def extract(self, clips: Sequence[Clip]) -> Generator[Extracted, None, None]:
        return extract_all(clips, self.recipe.frames, self.ledger.clip_hashes())


@contextmanager
def _begun(job: Job) -> Iterator[_Begun]:
    loaded, recipe, shard, out = job.loaded, job.loaded.recipe, job.shard, job.out
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
    found = shard.of(find_clips(_records(recipe, job.dataset), job.videos, recipe.wrong_clips))
    with reading(out, shard.ledger) as others:
        for path, db in others:
            refuse_other(path, read_setup(db), setup)
    elsewhere, answered = answered_elsewhere(out, shard.ledger)
    with writing(out / shard.ledger, setup) as ledger:
        ledger.plan(found)
        if job.retry_failed:
            ledger.commit([entries.forget_failures])
        yield _Begun(ledger, recipe, setup.asking, found.clips, elsewhere, answered)


def _records(recipe: VideoRecipe, dataset: Path) -> Iterator[Record]:
    """The records of the recipe's corpora that a dataset has."""
    manifest = read_manifest(dataset, DatasetManifest)
    there = [
        (name, split)
        for name in recipe.corpora
        for split in SPLITS
        if any(file.path.startswith(f"data/{name}/{split}-") for file in manifest.outputs)
    ]
    if not there:
        wanted, got = ", ".join(recipe.corpora), ", ".join(manifest.figures.corpora)
        raise DataError(Problem(str(dataset), "has no corpus that the video recipe describes", wanted, got))
    for name, split in there:
        yield from read_records(dataset, name, split)
