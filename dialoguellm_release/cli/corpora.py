"""`dlm-release corpora`: list, fetch and check the corpora."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dialoguellm_release import steps
from dialoguellm_release.cli.command import Json, group, problem_data, say, show_result, warn_of_unknown
from dialoguellm_release.errors import DataError
from dialoguellm_release.render import numbers
from dialoguellm_release.render.tables import Table

if TYPE_CHECKING:
    from dialoguellm_release.schemas.corpus import CorpusLicense

app = group("List, download and check the corpora.")


@app.command(name="list")
def list_corpora(
    sources: Annotated[
        Path | None, typer.Option(help="Folder with one sub-folder a corpus: say what of them is there.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Show licences, sources and files too.")] = False,
    json: Json = False,
) -> None:
    """List the corpora, their licences, files and sources.

    Example: dlm-release corpora list --sources corpora
    """
    listed = steps.dataset.list_corpora(sources)
    text = "\n\n".join(map(_listed_text, listed)) if everything else _listed_table(listed)
    show_result({"corpora": [_listed_data(one) for one in listed]}, text, json=json)


@app.command()
def fetch(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="Of `corpora list`.")],
    to: Annotated[Path, typer.Option("--out", help="Folder that gets one sub-folder a corpus.")],
    mirror: Annotated[
        str | None, typer.Option(metavar="URL", help="Your own mirror: URL/CORPUS/FILE is tried first.")
    ] = None,
    json: Json = False,
) -> None:
    """Download corpora from their official addresses.

    A file is accepted only with its known hash. Existing files are never replaced, and an interrupted
    download is resumed.

    Example: dlm-release corpora fetch NAME --out corpora
    """
    files = steps.dataset.fetch_corpora(names, to, mirror=mirror, warn=say)
    fetched = sum(not file.was_there for file in files)
    say(f"{fetched} fetched, {len(files) - fetched} were there.")
    data = [{"corpus": one.corpus, "path": str(one.path), "was_there": one.was_there} for one in files]
    show_result({"files": data}, "\n".join(str(file.path) for file in files), json=json)


@app.command()
def check(
    sources: Annotated[Path, typer.Argument(help="Folder with one sub-folder a corpus.")],
    recipe: Annotated[
        str, typer.Option(help="The dataset recipe whose counts are expected, by name or path.")
    ] = "paper",
    json: Json = False,
) -> None:
    """Check the corpora in a folder.

    Hashes, faults of the files, and the counts that a recipe expects.

    Example: dlm-release corpora check corpora
    """
    checked = steps.dataset.check_corpora(sources, recipe)
    for corpus in checked:
        warn_of_unknown(corpus.unknown_files)
    show_result({"corpora": [_checked_data(one) for one in checked]}, _checked_text(checked), json=json)
    if problems := [problem for one in checked for problem in one.problems]:
        raise DataError(problems, outcome="nothing was changed")
    say(f"{sources}: nothing is wrong.")


def _listed_data(listed: steps.dataset.ListedCorpus) -> dict[str, Any]:
    entry = listed.entry
    names = {"name", "title", "homepage", "text_license", "label_license", "downloads", "request"}
    found = {"is_there": listed.is_there, "files": [asdict(file) for file in listed.files]}
    return {**entry.model_dump(mode="json", include=names), "allowed": entry.allowed, **found}


def _listed_table(listed: Sequence[steps.dataset.ListedCorpus]) -> str:
    """One row a corpus: what it is, what may leave, how to get it, and whether it is there."""
    rows = [
        (
            one.entry.name,
            one.entry.title,
            one.entry.text_license.id,
            one.entry.allowed,
            "ask" if one.entry.request else "fetch",
            "-" if one.is_there is None else "yes" if one.is_there else "no",
        )
        for one in listed
    ]
    header = ("corpus", "title", "licence of the text", "may publish", "get it", "found")
    return f"{Table(header, rows).text()}\n\nLicences, sources and files: --all"


def _listed_text(listed: steps.dataset.ListedCorpus) -> str:
    entry = listed.entry
    rows = [
        (entry.name, entry.title),
        ("homepage", entry.homepage or "-"),
        ("text", _licence(entry.text_license)),
        ("labels", _licence(entry.label_license)),
        ("may publish", entry.allowed),
    ]
    if entry.request:
        rows += [("ask", entry.request.whom), ("for", entry.request.what)]
    else:
        rows.append(("get it", f"dlm-release corpora fetch {entry.name} --out DIR"))
    if listed.is_there is not None and not listed.files:
        rows.append(("found", f"{'yes' if listed.is_there else 'no'} (no hash of its files is known)"))
    for file in listed.files:
        state = f", {file.state}" if file.state else ""
        rows.append(("file", f"{file.path} ({numbers.size(file.bytes)}{state})"))
    return Table(("", ""), rows).text().strip("\n")


def _licence(licence: CorpusLicense) -> str:
    doubt = "" if licence.verified else " (not verified)"
    return f"{licence.id}, may be passed on: {licence.redistribute}; stated in {licence.stated_in}{doubt}"


def _checked_data(checked: steps.dataset.CheckedCorpus) -> dict[str, Any]:
    return {
        "name": checked.corpus,
        "source": checked.source,
        "files": [
            file.model_dump() | {"known": file.path not in checked.unknown_files} for file in checked.files
        ],
        "splits": [
            {
                "split": one.split,
                "found": one.found.model_dump(),
                "expected": one.expected and one.expected.model_dump(include={"dialogues", "utterances"}),
            }
            for one in checked.splits
        ],
        "repairs": checked.repairs,
        "problems": problem_data(checked.problems),
    }


def _checked_text(checked: list[steps.dataset.CheckedCorpus]) -> str:
    rows, lines = list[tuple[str, ...]](), list[str]()
    for one in checked:
        name = f"{one.corpus} ({one.source})" if one.source else one.corpus
        for split in one.splits:
            expected, found = split.counts
            rows.append((name, split.split or "none", found, expected, "<- misses" if split.misses else ""))
        known = len(one.files) - len(one.unknown_files)
        lines.append(
            f"{name}: {known} of {len(one.files)} files known by their hashes, "
            f"repairs: {sum(one.repairs.values()):,}, problems: {len(one.problems)}"
        )
        lines += [f"  {rule}: {count:,}" for rule, count in one.repairs.items()]
    return "\n".join([Table(("corpus", "split", "found", "expected", ""), rows).text(), *lines])
