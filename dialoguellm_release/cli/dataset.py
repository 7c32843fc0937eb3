"""`dlm-release dataset`: build the dataset folder, hydrate a published one, check and audit it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dialoguellm_release.cli.options import Again, Json, Replace, Settings
from dialoguellm_release.cli.output import say, say_made, show, show_json, table

if TYPE_CHECKING:
    from dialoguellm_release.schemas.dataset_manifest import DatasetManifest

app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Build, hydrate, check and audit datasets."
)


@app.command()
def build(
    recipe: Annotated[str, typer.Argument(help="A bundled dataset recipe (paper, demo) or a path.")],
    sources: Annotated[
        Path | None,
        typer.Option(
            help="Folder with one sub-folder a corpus; the synthetic corpora where the recipe says so."
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The dataset folder. [default: build/dataset]")] = None,
    skip: Annotated[list[str] | None, typer.Option(help="A corpus to leave out; may be repeated.")] = None,
    video: Annotated[
        Path | None, typer.Option(help="Folder that `video describe` made; fills video_description.")
    ] = None,
    settings: Settings = None,
    again: Again = False,
    replace: Replace = False,
    json: Json = False,
) -> None:
    """Build the dataset folder from the native files of the corpora.

    Example: dlm-release dataset build paper --sources corpora --skip iemocap
    """
    from dialoguellm_release.steps.dataset import build_dataset

    made = build_dataset(
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
    if json:
        show_json(summary(manifest))
    else:
        show(counts(manifest))


@app.command()
def check(
    dataset: Annotated[Path, typer.Argument(help="Folder that `dataset build` made, or a published copy.")],
    json: Json = False,
) -> None:
    """Check a dataset folder: files, every record, counts, hashes, contexts, the sft table and the card.

    Example: dlm-release dataset check build/dataset
    """
    from dialoguellm_release.errors import DataError
    from dialoguellm_release.steps.dataset import check_dataset

    problems = check_dataset(dataset)
    if json:
        show_json({"problems": [asdict(problem) for problem in problems]})
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
    out: Annotated[Path, typer.Option(help="The dataset folder.")] = Path("build/dataset"),
    skip: Annotated[list[str] | None, typer.Option(help="A corpus to leave out; may be repeated.")] = None,
    again: Again = False,
    replace: Replace = False,
    json: Json = False,
) -> None:
    """Make the full dataset again from its published copy and your own copies of the withheld corpora.

    It is written only where content_sha256 proves that it is the dataset that was built; every record of your
    copies that differs is named, with --json all of them.

    Example: dlm-release dataset hydrate dialoguellm/instructions@v1.0.0 --sources corpora --out build/full
    """
    from dialoguellm_release.errors import DataError
    from dialoguellm_release.steps.dataset import hydrate_dataset

    try:
        made = hydrate_dataset(published, sources, out, skip=skip or (), again=again, replace=replace)
    except DataError as error:
        if json:
            show_json({"problems": [asdict(problem) for problem in error.problems]})
        raise
    warn_of_unknown_files(made.manifest)
    done = "is current; nothing was done." if made.was_current else "is hydrated."
    proven = f"It has no {', '.join(skip)}." if skip else "Its content is that of the build."
    say(f"{out} {done} {proven}")
    note_missing_figures(made.manifest)
    if json:
        show_json(summary(made.manifest))
    else:
        show(counts(made.manifest))


@app.command(name="audit")
def audit_dataset(
    dataset: Annotated[Path, typer.Argument(help="Folder that `dataset build` made.")],
    json: Json = False,
) -> None:
    """Audit a dataset: what held-out splits share with training splits, duplicates, conflicts, agreement.

    Text is compared in lower case and without punctuation. The folder is read and not changed.

    Example: dlm-release dataset audit build/dataset
    """
    from dialoguellm_release.cli import audit
    from dialoguellm_release.steps import dataset as steps

    found = steps.audit_dataset(dataset)
    if json:
        show_json(found.model_dump(mode="json"))
    else:
        show(audit.as_text(found))


def warn_of_unknown_files(manifest: DatasetManifest) -> None:
    """Names the files that are not the public ones; synthetic sources are meant not to be."""
    if manifest.recipe.resolved["synthetic"]:
        return
    for corpus in manifest.figures.corpora.values():
        for path in corpus.unknown_files:
            say(f"warning: {path} is not the public file (its hash differs); it was read all the same")


def note_missing_figures(manifest: DatasetManifest) -> None:
    """Says how to come by the figures of a dataset that has none."""
    if not any(file.path.startswith("figures/") for file in manifest.outputs):
        say("note: no figures, as matplotlib is not installed: pip install 'dialoguellm-release[figures]'")


def summary(manifest: DatasetManifest) -> dict[str, Any]:
    """The figures of a build as data."""
    figures = manifest.figures
    return {
        "content_sha256": manifest.content_sha256,
        "dialogues": dict(figures.dialogues),
        "records": dict(figures.records),
        "corpora": {
            name: {split: sizes.model_dump() for split, sizes in corpus.splits.items()}
            for name, corpus in figures.corpora.items()
        },
        "parts": {
            name: {split: parts.model_dump() for split, parts in corpus.parts.items()}
            for name, corpus in figures.corpora.items()
        },
        "repairs": {name: corpus.repairs for name, corpus in figures.corpora.items() if corpus.repairs},
        "unused": {
            name: corpus.unused.model_dump()
            for name, corpus in figures.corpora.items()
            if corpus.unused.dialogues
        },
        "unknown_files": [path for corpus in figures.corpora.values() for path in corpus.unknown_files],
        "skipped": list(figures.skipped),
    }


def counts(manifest: DatasetManifest) -> str:
    """The figures of a build as a table: dialogues / records per corpus and split."""
    figures = manifest.figures
    splits = tuple(figures.records)
    rows = [("corpus", *splits)]
    for name, corpus in figures.corpora.items():
        cells = (corpus.splits.get(split) for split in splits)
        rows.append((name, *(f"{one.dialogues:,} / {one.utterances:,}" if one else "-" for one in cells)))
    rows.append(("all", *(f"{figures.dialogues[split]:,} / {figures.records[split]:,}" for split in splits)))
    return f"{table(rows)}\n{_clean_line(manifest)}\ncontent {manifest.content_sha256}"


def _clean_line(manifest: DatasetManifest) -> str:
    """What became of the training records."""
    corpora = manifest.figures.corpora.values()
    training = [corpus.parts["train"] for corpus in corpora if "train" in corpus.parts]
    return (
        f"clean: {sum(one.clean for one in training):,} training records; left out: "
        f"{sum(one.leaked for one in training):,} leak, "
        f"{sum(one.duplicates for one in training):,} duplicates, "
        f"{sum(one.conflicts for one in training):,} lose a conflict"
    )
