"""The steps from clips to video descriptions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dialoguellm_release.recipes.catalogue import load_recipe
from dialoguellm_release.schemas.recipes.video import Prices, VideoRecipe
from dialoguellm_release.step import BUILD

if TYPE_CHECKING:
    from dialoguellm_release.schemas.video import VideoStatus
    from dialoguellm_release.video.run import Survey


def survey_clips(
    recipe: str,
    videos: Path,
    dataset: Path = BUILD / "dataset",
    out: Path = BUILD / "video",
    *,
    shard: str = "1/1",
    overrides: Sequence[str] = (),
) -> Survey:
    """Which records of a dataset have a clip, which clips give frames, and what describing them would cost.

    Args:
        recipe: Name of a bundled video recipe, or a path.
        videos: Folder with one sub-folder of videos a corpus.
        out: A video folder; what is answered there is not asked again.
        shard: Which part of the clips, as `i/n`.

    Raises:
        DataError: There is no dataset, or no folder with the videos of a corpus.
        MissingExtraError: The extra `video` is not installed.
    """
    from dialoguellm_release.video import run

    loaded = load_recipe(recipe, "video", VideoRecipe, overrides)
    return run.survey_clips(loaded, dataset, videos, out, run.read_shard(shard))


def describe_clips(
    recipe: str,
    videos: Path,
    dataset: Path = BUILD / "dataset",
    out: Path = BUILD / "video",
    *,
    shard: str = "1/1",
    limit: int | None = None,
    max_cost_usd: float | None = None,
    retry_failed: bool = False,
    overrides: Sequence[str] = (),
) -> str | None:
    """Describes the clips of a dataset's records; what was answered is kept at once and never asked again.

    Returns:
        Why it ended before every clip was asked about; None where all were.

    Args:
        recipe: Name of a bundled video recipe, or a path.
        videos: Folder with one sub-folder of videos a corpus.
        out: The video folder; each part of the clips has a ledger of its own in it.
        shard: Which part of the clips, as `i/n`.
        limit: Questions of this run; None for no limit.
        max_cost_usd: What the ledger may come to; None for no limit.
        retry_failed: Ask again where an answer could not be used.

    Raises:
        DataError: The dataset, the videos or the ledger cannot be used, or the server answers no question.
        MissingExtraError: The extra `video` is not installed.
    """
    from dialoguellm_release.video import run

    loaded = load_recipe(recipe, "video", VideoRecipe, overrides)
    job = run.Job(
        loaded, dataset, videos, out, run.read_shard(shard), limit, max_cost_usd, retry_failed=retry_failed
    )
    return run.describe_clips(job)


def video_status(folder: Path = BUILD / "video") -> VideoStatus:
    """What the ledgers of a video folder hold together.

    Raises:
        DataError: There is no ledger, or one cannot be used.
    """
    from dialoguellm_release.video.status import read_ledgers, summary

    return summary(read_ledgers(folder))


def video_failures(folder: Path = BUILD / "video") -> dict[str, str]:
    """The records that failed or were refused, by id, each with the reason.

    Raises:
        DataError: There is no ledger, or one cannot be used.
    """
    from dialoguellm_release.video.status import failures, read_ledgers

    return failures(read_ledgers(folder))


def video_prices(recipe: str, overrides: Sequence[str] = ()) -> Prices | None:
    """The prices of a video recipe; None where it has none."""
    return load_recipe(recipe, "video", VideoRecipe, overrides).recipe.prices
