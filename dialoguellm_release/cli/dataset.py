"""`dlm-release dataset`: build the dataset folder, hydrate a published one, check and audit it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dialoguellm_release import steps
from dialoguellm_release.cli import command
from dialoguellm_release.cli.command import (
    BUILD,
    Again,
    Json,
    Replace,
    Skip,
    problem_data,
    say,
    say_made,
    show_json,
    show_result,
)
from dialoguellm_release.errors import DataError
from dialoguellm_release.render import numbers
from dialoguellm_release.render.tables import Column, Table

if TYPE_CHECKING:
    from dialoguellm_release.schemas.audit import Agreement, Audit, Overlap, RepeatCounts
    from dialoguellm_release.schemas.dataset_manifest import DatasetManifest

app = command.group("Build, check, audit and complete datasets.")

BuiltDataset = Annotated[Path, typer.Argument(help="Folder that `dataset build` made, or a published copy.")]


@app.command()
def build(
    recipe: Annotated[str, typer.Argument(help="A bundled dataset recipe (paper, demo) or a path.")],
    sources: Annotated[
        Path | None,
        typer.Option(
            help="Folder with one sub-folder a corpus; the synthetic corpora where the recipe says so."
        ),
    ] = None,
    out: Annotated[Path | None, command.output("build/dataset")] = None,
    skip: Skip = None,
    video: Annotated[
        Path | None, typer.Option(help="Folder that `video describe` made; fills video_description.")
    ] = None,
    settings: Annotated[list[str] | None, command.setting("context_k=3")] = None,
    again: Again = False,
    replace: Replace = False,
    json: Json = False,
) -> None:
    """Build a dataset folder from the files of the corpora.

    Example: dlm-release dataset build paper --sources corpora --skip my-corpus
    """
    made = steps.dataset.build_dataset(
        recipe,
        sources,
        out,
        skip=skip or (),
        video=video,
        overrides=settings or (),
        again=again,
        replace=replace,
    )
    manifest = made.manifest
    warn_of_unknown_files(manifest)
    say_made(made, "built")
    note_missing_figures(manifest)
    show_result(summary(manifest), counts(manifest), json=json)


@app.command()
def check(dataset: BuiltDataset, json: Json = False) -> None:
    """Check every file and record of a dataset folder.

    Counts, hashes, contexts, the sft table and the card.

    Example: dlm-release dataset check build/dataset
    """
    problems = steps.dataset.check_dataset(dataset)
    if json:
        show_json({"problems": problem_data(problems)})
    if problems:
        raise DataError(problems, outcome="nothing was changed")
    say(f"{dataset}: nothing is wrong.")


@app.command()
def hydrate(
    published: Annotated[
        str,
        typer.Argument(
            metavar="REPO_OR_DIR",
            help="A published dataset: its folder, or owner/name[@revision] on the Hub.",
        ),
    ],
    sources: Annotated[
        Path, typer.Option(help="Folder with one sub-folder for each corpus that was published without text.")
    ],
    out: Annotated[Path, typer.Option(help="The dataset folder.")] = BUILD / "dataset",
    skip: Skip = None,
    again: Again = False,
    replace: Replace = False,
    json: Json = False,
) -> None:
    """Complete a published dataset from your own corpora.

    It is written only where content_sha256 proves that it is the dataset that was built; every record of your
    copies that differs is named, with --json all of them.

    Example: dlm-release dataset hydrate dialoguellm/instructions@v1.0.0 --sources corpora --out build/full
    """
    try:
        made = steps.dataset.hydrate_dataset(
            published, sources, out, skip=skip or (), again=again, replace=replace
        )
    except DataError as error:
        if json:
            show_json({"problems": problem_data(error.problems)})
        raise
    warn_of_unknown_files(made.manifest)
    done = "is current; nothing was done." if made.was_current else "is hydrated."
    proven = f"It has no {', '.join(skip)}." if skip else "Its content is that of the build."
    say(f"{out} {done} {proven}")
    note_missing_figures(made.manifest)
    show_result(summary(made.manifest), counts(made.manifest), json=json)


@app.command(name="audit")
def audit_dataset(
    dataset: BuiltDataset,
    everything: Annotated[
        bool, typer.Option("--all", help="Show every pair of splits and every column.")
    ] = False,
    against: Annotated[
        Path | None, typer.Option(help="Another dataset folder: show only what the two share.")
    ] = None,
    json: Json = False,
) -> None:
    """Show what held-out and training splits share.

    And duplicates, conflicts, and how far corpora agree on labels. The folder is not changed.

    Example: dlm-release dataset audit build/dataset
    """
    found = steps.dataset.audit_dataset(dataset, against)
    show_result(found.model_dump(mode="json"), audit_text(found, everything=everything), json=json)


def warn_of_unknown_files(manifest: DatasetManifest) -> None:
    """Names the files that are not the public ones; synthetic sources are meant not to be."""
    if manifest.recipe.resolved["synthetic"]:
        return
    for corpus in manifest.figures.corpora.values():
        command.warn_of_unknown(corpus.unknown_files)


def note_missing_figures(manifest: DatasetManifest) -> None:
    """Says how to come by the figures of a dataset that has none."""
    if not any(file.path.startswith("figures/") for file in manifest.outputs):
        say("note: no figures, as matplotlib is not installed: pip install 'dialoguellm-release[figures]'")


def summary(manifest: DatasetManifest) -> dict[str, Any]:
    """The figures of a build as data."""
    figures = manifest.figures
    corpora = {name: corpus.model_dump() for name, corpus in figures.corpora.items()}
    return {
        "content_sha256": manifest.content_sha256,
        "dialogues": dict(figures.dialogues),
        "records": dict(figures.records),
        "corpora": {name: corpus["splits"] for name, corpus in corpora.items()},
        "parts": {name: corpus["parts"] for name, corpus in corpora.items()},
        "repairs": {name: corpus["repairs"] for name, corpus in corpora.items() if corpus["repairs"]},
        "unused": {
            name: corpus["unused"] for name, corpus in corpora.items() if corpus["unused"]["dialogues"]
        },
        "unknown_files": [path for corpus in corpora.values() for path in corpus["unknown_files"]],
        "skipped": list(figures.skipped),
    }


def counts(manifest: DatasetManifest) -> str:
    """The figures of a build: dialogues / records per corpus and split, and the parts of training."""
    figures = manifest.figures
    splits = tuple(figures.records)
    rows = []
    for name, corpus in figures.corpora.items():
        cells = (corpus.splits.get(split) for split in splits)
        rows.append((name, *map(numbers.sizes, cells)))
    rows.append(("all", *(f"{figures.dialogues[split]:,} / {figures.records[split]:,}" for split in splits)))
    training = [corpus.parts["train"] for corpus in figures.corpora.values() if "train" in corpus.parts]
    return (
        f"{Table(('corpus', *splits), rows)}\n"
        f"clean: {sum(one.clean for one in training):,} training records; left out: "
        f"{sum(one.leaked for one in training):,} leak, "
        f"{sum(one.duplicates for one in training):,} duplicates, "
        f"{sum(one.conflicts for one in training):,} lose a conflict\n"
        f"content {manifest.content_sha256}"
    )


AUDIT_LEGEND = """\
found: utterances of 5 words or more that the training split has word for word; with run: dialogues that
share 3 or more consecutive utterances with it; 8-grams: share of the word 8-grams that it has"""


def audit_text(audit: Audit, *, everything: bool) -> str:
    """The pairs of splits that share text, then duplicates, conflicts and agreement in numbers."""
    figures = audit.figures
    shown = [row for row in audit.overlaps if everything or not row.shares_nothing]
    rest = len(audit.overlaps) - len(shown)
    parts = [
        _overlap_table(shown, everything=everything).text(),
        AUDIT_LEGEND,
        *([f"{rest:,} more pairs share nothing; --all shows them, and every column"] if rest else []),
        f"duplicates (same text, context and label, in training): {_repeats(figures.duplicates)}",
        f"conflicts (same text and context, other labels): {_repeats(figures.conflicts)}",
    ]
    if audit.agreement:
        heading = "agreement on the utterances that two corpora share"
        parts.append("\n".join([heading, *map(_agreement_line, audit.agreement)]))
    return "\n\n".join(parts)


def _overlap_table(overlaps: Sequence[Overlap], *, everything: bool) -> Table:
    rows = []
    for row in overlaps:
        found, runs = numbers.count(row.utterances_found), numbers.count(row.dialogues_with_run)
        share = numbers.percent(row.ngram_share, 2)
        if everything:
            counts = (row.dialogues_covered, row.dialogues_identical)
            in_runs, dialogues = numbers.count(row.utterances_in_runs), numbers.count(row.dialogues)
            cells = (numbers.count(row.utterances), found, in_runs, dialogues, runs)
            rows.append((row.held_out, row.training, *cells, *map(numbers.count, counts), share))
        else:
            if row.utterances_found is not None:
                found += f" ({numbers.percent_of(row.utterances_found, row.utterances)})"
            rows.append((row.held_out, row.training, found, runs, share))
    all_names = ("utterances", "found", "in runs", "dialogues", "with run", "covered", "identical", "8-grams")
    names = all_names if everything else ("found", "with run", "8-grams")
    return Table(["held out", "training", *(Column(name, "right") for name in names)], rows)


def _repeats(counts: RepeatCounts) -> str:
    return (
        f"{counts.records:,} records in {counts.groups:,} groups; {counts.groups_of_5_words:,} groups of "
        f"5 words or more, {counts.groups_across_corpora:,} across corpora"
    )


def _agreement_line(row: Agreement) -> str:
    pair = f"  {row.first} and {row.second}: "
    if row.observed is None:
        return f"{pair}none"
    kappa = "not defined" if row.kappa is None else f"{row.kappa:.3f}"
    return (
        f"{pair}{row.utterances:,}, of which {numbers.percent(row.observed)} have the same label, "
        f"kappa {kappa}; {row.ambiguous:,} ambiguous ones left out"
    )
