"""`dlm-release video`: look at clips, have them described, and say how far that is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dialoguellm_release import steps
from dialoguellm_release.cli import command
from dialoguellm_release.cli.command import BUILD, DatasetFolder, Json, say, show_result
from dialoguellm_release.render import numbers
from dialoguellm_release.render.tables import Column, Table

if TYPE_CHECKING:
    from dialoguellm_release.schemas.video import RecordCounts, VideoStatus

app = command.group("Describe the video clips of the corpora.")

MAX_NAMED = 10

Recipe = Annotated[str, typer.Argument(help="A bundled video recipe (openai, vllm, demo) or a path.")]
Videos = Annotated[
    Path, typer.Option(help="Folder with one sub-folder of videos a corpus; see docs/video.md.")
]
Settings = Annotated[list[str] | None, command.setting("frames.count=4")]


@app.command()
def check(
    recipe: Recipe,
    videos: Videos,
    dataset: DatasetFolder = BUILD / "dataset",
    settings: Settings = None,
    json: Json = False,
) -> None:
    """Check which records have a usable clip.

    Every clip is opened and its frames are taken; no model is asked and nothing is written.

    Example: dlm-release video check openai --videos corpora
    """
    survey = steps.video.survey_clips(recipe, videos, dataset, overrides=settings or ())
    show_result(check_data(survey), check_text(survey), json=json)


@app.command()
def describe(
    recipe: Recipe,
    videos: Videos,
    dataset: DatasetFolder = BUILD / "dataset",
    out: Annotated[Path, typer.Option(help="The video folder, with the ledgers.")] = BUILD / "video",
    limit: Annotated[int | None, typer.Option(min=1, help="Ask at most so many questions.")] = None,
    max_cost: Annotated[
        float | None,
        typer.Option(min=0, metavar="USD", help="Stop before the ledger comes to more than this."),
    ] = None,
    shard: Annotated[
        str, typer.Option(metavar="I/N", help="Only part I of N; each part has its own ledger.")
    ] = "1/1",
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Ask again where an answer could not be used.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Take the frames and estimate the cost; ask nobody.")
    ] = False,
    settings: Settings = None,
    json: Json = False,
) -> None:
    """Describe the clips of a dataset with a model.

    An answered question is never asked again, so a stopped run continues. Then:
    dlm-release dataset build ... --video build/video

    Example: dlm-release video describe openai --videos corpora --max-cost 20
    """
    if dry_run:
        survey = steps.video.survey_clips(recipe, videos, dataset, out, shard=shard, overrides=settings or ())
        show_result(dry_run_data(survey), dry_run_text(survey), json=json)
        note_prices(recipe, settings)
        return
    stopped = steps.video.describe_clips(
        recipe,
        videos,
        dataset,
        out,
        shard=shard,
        limits=steps.video.Limits(limit, max_cost),
        retry_failed=retry_failed,
        overrides=settings or (),
    )
    if stopped:
        say(f"Stopped: {stopped}.")
    status = steps.video.video_status(out)
    show_result(status.model_dump(mode="json"), status_text(status), json=json)
    note_prices(recipe, settings)


@app.command()
def status(
    folder: Annotated[Path, typer.Argument(help="The video folder.")] = BUILD / "video",
    failed: Annotated[bool, typer.Option("--failed", help="Name every record that failed, and why.")] = False,
    json: Json = False,
) -> None:
    """Show what is described, what failed and what it cost.

    Example: dlm-release video status build/video --failed
    """
    found = steps.video.video_status(folder)
    failures = steps.video.video_failures(folder) if failed else {}
    data = found.model_dump(mode="json") | ({"failures": failures} if failed else {})
    named = [f"{name}: {reason}" for name, reason in failures.items()]
    show_result(data, "\n".join([status_text(found), *named]), json=json)


def note_prices(recipe: str, settings: list[str] | None) -> None:
    """Prints the date of the prices, and whether their source was read."""
    prices = steps.video.video_prices(recipe, settings or ())
    if prices is not None:
        known = "as of" if prices.verified else "UNVERIFIED, as of"
        say(f"prices {known} {prices.date}: {prices.source}")


def check_data(survey: steps.video.Survey) -> dict[str, Any]:
    """What a check found, as data."""
    found = survey.found
    return {
        "with_clip": len(found.clips),
        "without_clip": list(found.without_clip),
        "several_clips": {name: list(files) for name, files in found.several.items()},
        "left_out": found.left_out,
        "without_record": list(found.without_record),
        "unreadable": survey.faults,
        "skipped_pictures": survey.skipped,
    }


def check_text(survey: steps.video.Survey) -> str:
    """What a check found, as text."""
    found = survey.found
    lines = [f"records with a clip: {len(found.clips):,}"]
    for title, names in (
        ("records without a clip", list(found.without_clip)),
        ("records with several clips", [f"{n}: {', '.join(files)}" for n, files in found.several.items()]),
        ("records left out by the recipe", [f"{n}: {why}" for n, why in found.left_out.items()]),
        ("clips without a record", list(found.without_record)),
        ("clips that give no frames", [f"{n}: {fault}" for n, fault in survey.faults.items()]),
        ("clips with pictures that cannot be decoded", [f"{n}: {c:,}" for n, c in survey.skipped.items()]),
    ):
        lines.append(f"{title}: {len(names):,}")
        lines += [f"  {name}" for name in names[:MAX_NAMED]]
        if len(names) > MAX_NAMED:
            lines.append(f"  and {len(names) - MAX_NAMED:,} more (all of them: --json)")
    return "\n".join(lines)


def dry_run_data(survey: steps.video.Survey) -> dict[str, Any]:
    """What a run would ask, as data."""
    return {
        "answered": survey.answered,
        "questions": survey.questions,
        "without_clip": len(survey.found.without_clip),
        "unreadable": len(survey.faults),
        "estimated_usd": survey.cost_usd,
    }


def dry_run_text(survey: steps.video.Survey) -> str:
    """What a run would ask, as text."""
    lines = [
        f"answered already: {survey.answered:,}",
        f"would be asked: {survey.questions:,} (equal frames once)",
        f"no clip: {len(survey.found.without_clip):,}; no frames: {len(survey.faults):,}",
    ]
    if survey.cost_usd is not None:
        lines.append(f"estimated cost: {numbers.dollars(survey.cost_usd)}")
    return "\n".join(lines)


def status_text(found: VideoStatus) -> str:
    """A status as a table of records, and lines for requests and money."""
    names = ("described", "refused", "failed", "missing", "left out", "waiting")
    rows = [(name, *_cells(counts)) for name, counts in {**found.by_corpus, "all": found.records}.items()]
    records = Table(["corpus", *(Column(name, "right") for name in names)], rows)
    failed = ", ".join(f"{name} {count:,}" for name, count in found.records.failed.items())
    requests, spending = found.requests, found.spending
    declined = ", ".join(f"{reason} {count:,}" for reason, count in requests.declined.items())
    lines = [
        records.text(),
        *([f"failed: {failed}"] if failed else []),
        f"model {found.model}: {', '.join(f'{v} {n:,}' for v, n in found.models.items()) or 'no answer yet'}",
        f"prompt {found.prompt}, {found.prompt_sha256}",
        f"requests: {requests.answered:,} answered, {requests.unknown:,} of unknown fate, "
        f"{requests.open:,} open" + (f"; declined: {declined}" if declined else ""),
        *([f"pictures not decoded: {found.pictures_skipped:,}"] if found.pictures_skipped else []),
        f"tokens: {spending.input_tokens:,} in, {spending.output_tokens:,} out",
    ]
    if spending.spent_usd is not None:
        lines.append(
            f"spent {numbers.dollars(spending.spent_usd)}, "
            f"of unknown fate at most {numbers.dollars(spending.unknown_usd)}, "
            f"to come {numbers.dollars(spending.to_come_usd)} (estimates)"
        )
    return "\n".join(lines)


def _cells(counts: RecordCounts) -> Iterator[str]:
    failed = sum(counts.failed.values())
    row = (counts.described, counts.refused, failed, counts.missing, counts.left_out, counts.waiting)
    return map(numbers.count, row)
