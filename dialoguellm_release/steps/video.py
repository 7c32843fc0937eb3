"""The steps from clips to video descriptions."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dialoguellm_release.recipes.catalogue import load_recipe
from dialoguellm_release.schemas.video import Prices, VideoRecipe
from dialoguellm_release.step import BUILD, StrPath

if TYPE_CHECKING:
    from dialoguellm_release.schemas.video import VideoStatus
    from dialoguellm_release.video.run import Survey as Survey


@dataclass(frozen=True)
class Limits:
    """When a run of `describe_clips` stops.

    Attributes:
        questions: Of this run; None for no limit.
        cost_usd: What all answers so far may have cost; None for no limit.
    """

    questions: int | None = None
    cost_usd: float | None = None


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
    from dialoguellm_release.video import run

    loaded = load_recipe(os.fspath(recipe), "video", VideoRecipe, overrides)
    return run.survey_clips(loaded, Path(dataset), Path(videos), Path(out), run.read_shard(shard))


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
    from dialoguellm_release.video import run

    loaded = load_recipe(os.fspath(recipe), "video", VideoRecipe, overrides)
    until = limits or Limits()
    return run.describe_clips(
        loaded,
        Path(dataset),
        Path(videos),
        Path(out),
        run.read_shard(shard),
        until.questions,
        until.cost_usd,
        retry_failed=retry_failed,
    )


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
    from dialoguellm_release.video.ledger import read_ledgers, summary

    return summary(read_ledgers(Path(folder)))


def video_failures(folder: StrPath = BUILD / "video") -> dict[str, str]:
    """The records that failed or were refused, by id, each with the reason."""
    from dialoguellm_release.video.ledger import failures, read_ledgers

    return failures(read_ledgers(Path(folder)))


def video_prices(recipe: str, overrides: Sequence[str] = ()) -> Prices | None:
    """The prices of a video recipe; None where it has none."""
    return load_recipe(recipe, "video", VideoRecipe, overrides).recipe.prices
