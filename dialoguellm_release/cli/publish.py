"""`dlm-release card`, `publish` and `verify`: cards, and the repositories that folders become."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from dialoguellm_release import steps
from dialoguellm_release.cli.command import (
    BUILD,
    BackbonesFolder,
    Json,
    group,
    problem_data,
    say,
    show,
    show_json,
)
from dialoguellm_release.errors import CardError, Problem, PublishError
from dialoguellm_release.render import numbers
from dialoguellm_release.render.tables import Table

app = group("Check and render cards.")


@app.command()
def check(
    paths: Annotated[
        list[Path], typer.Argument(metavar="PATH...", help="A README.md, or a folder that holds one.")
    ],
    json: Json = False,
) -> None:
    """Check cards offline by the rules of the Hub.

    Metadata, configs and the files that they name, links, pictures, placeholders, .eval_results. A card of
    this package has to keep more: see docs/cards.md.

    Example: dlm-release card check build/dataset some/clone/README.md
    """
    checked = steps.release.check_cards(paths)
    if json:
        cards = [
            {"path": str(one.path), "is_ours": one.is_ours, "problems": problem_data(one.problems)}
            for one in checked
        ]
        show_json({"cards": cards})
    if problems := [problem for one in checked for problem in one.problems]:
        raise CardError(problems, outcome="nothing was changed")
    for one in checked:
        say(f"{one.path}: nothing is wrong{'' if one.is_ours else ' by the rules of the Hub'}.")


@app.command()
def render(
    folder: Annotated[
        Path, typer.Argument(help="Folder of a dataset, adapter, backbone or score that this package made.")
    ],
    out: Annotated[
        Path | None,
        typer.Option(help="Write it there, and keep what others wrote into that file. [default: stdout]"),
    ] = None,
    dataset: Annotated[
        Path | None,
        typer.Option(
            help="Of an adapter: the dataset it was trained on. [default: build/dataset, if it is that]"
        ),
    ] = None,
    scores: Annotated[
        list[Path] | None,
        typer.Option("--score", help="Of an adapter: a score folder to show; may be repeated."),
    ] = None,
    backbones: BackbonesFolder = BUILD / "backbones",
    json: Json = False,
) -> None:
    """Render the card of a folder from its manifest.

    Nothing is built, and the folder is not changed. The card of a repository says more: `publish` adds the
    commits that it is linked to.

    Example: dlm-release card render build/dataset | diff build/dataset/README.md -
    """
    card = steps.release.render_card(folder, dataset=dataset, backbones=backbones, scores=scores or ())
    if card.absent:
        say(f"note: it would tell more with {' and '.join(card.absent)}")
    if out:
        steps.release.write_card(card, folder, out)
        say(f"{out} is written.")
    if json:
        show_json({"kind": card.kind, "out": str(out) if out else None, "card": card.text})
    elif not out:
        typer.echo(card.text, nl=False)


STATED = "repo_type repo_id where tag commit state is_new visibility gated license"
"""What is said of each repository as data: names of its attributes."""

HUB = "hub"
"""The `--to` of the Hugging Face Hub; a folder of this name is `./hub`."""


def publish(
    recipe: Annotated[str, typer.Argument(help="A bundled release recipe (demo, v1) or a path.")],
    to: Annotated[str, typer.Option(help="hub, or a folder that gets a git repository for each.")],
    build: Annotated[Path, typer.Option("--from", help="Holds the folders that the recipe names.")] = Path(
        "build"
    ),
    only: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Publish this alone: dataset, backbones, adapters, spaces, or owner/name. May be repeated.",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be done and every gate; write nothing.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Publish to the Hub without being asked.")] = False,
    json: Json = False,
) -> None:
    """Publish a release to the Hub or to a folder.

    Every repository is committed and read back, and only then tagged.

    The dataset recipe says what of each corpus is published (distribution); where that is more than its
    licences allow, nothing is. Whatever stops a run, the same command continues it. The Hub is
    the one that HF_ENDPOINT names, with the token of `hf auth login`.

    With --only the other repositories are not changed; what the named ones were made from must be published
    already, under the same tag.

    Example: dlm-release publish demo --from build --to release

    Example: dlm-release publish v1 --to hub --only dataset --dry-run
    """
    asks = to == HUB and not (dry_run or yes)
    if asks and not sys.stdin.isatty():
        what = "there is no terminal to ask on before the Hub is changed"
        problem = Problem("--yes", what, fix="add --yes", code="publish.not_confirmed")
        raise PublishError(problem, outcome="nothing was changed")
    try:
        publication = steps.release.publish(
            recipe, build, to, only=only or (), dry_run=dry_run, approve=_ask if asks else None
        )
    except KeyboardInterrupt:
        outcome = "nothing was changed" if dry_run else steps.release.UNFINISHED
        say(f"Stopped by Ctrl-C; {outcome}.")
        raise typer.Exit(130) from None
    if json:
        show_json(as_data(publication))
    else:
        show(as_plan(publication) if dry_run else as_text(publication))
    if problems := steps.release.problems_of(publication.checks):
        raise PublishError(problems, outcome="nothing was written (--dry-run)")
    for note in publication.notes:
        say(f"Note: {note}.")
    say("Nothing was written (--dry-run)." if dry_run else f"Published to {to}.")


def as_text(publication: steps.release.Publication) -> str:
    """The repositories of a release as a table."""
    rows = [
        (one.repo_id, one.repo_type, one.tag, one.state, str(len(one.changes)))
        for one in publication.repositories
    ]
    return Table(("repository", "type", "tag", "state", "changed files"), rows).text()


def as_plan(publication: steps.release.Publication) -> str:
    """What would be done in each repository, file by file, and every check."""
    parts = ["\n".join(_planned(one)) for one in publication.repositories]
    if publication.upstream:
        left = f"left as it is, {publication.tag} at commit"
        parts.append("\n".join(f"{link.repository}: {left} {link.commit}" for link in publication.upstream))
    if publication.collection:
        parts.append(_collection(publication.collection))
    return "\n\n".join([*parts, check_table("gate", publication.checks)])


def as_data(publication: steps.release.Publication) -> dict[str, Any]:
    """A release as data."""
    return {
        "tag": publication.tag,
        "repositories": [
            {
                **{name: getattr(one, name) for name in STATED.split()},
                "bytes": one.size,
                "changes": [
                    {"path": file.path, "change": file.change, "bytes": file.size} for file in one.changes
                ],
            }
            for one in publication.repositories
        ],
        "upstream": [link.model_dump(mode="json") for link in publication.upstream],
        "collection": asdict(publication.collection) if publication.collection else None,
        "notes": list(publication.notes),
        "gates": [
            {
                "name": one.name,
                "verdict": one.outcome,
                "note": one.note,
                "problems": [str(problem) for problem in one.problems],
            }
            for one in publication.checks
        ],
    }


def _ask(publication: steps.release.Publication) -> bool:
    say(as_text(publication))
    sent = [file for one in publication.repositories for file in one.changes if file.change != "deleted"]
    where = ", ".join(one.where for one in publication.repositories)
    say(f"{len(sent)} files, {numbers.size(sum(file.size for file in sent))}, go to {where}.")
    if publication.collection:
        say(_collection(publication.collection))
    return typer.confirm(f"Publish {publication.tag}?", err=True)


def _planned(one: steps.release.Published) -> Iterator[str]:
    state = "no change, the tag alone" if one.state == "unchanged" else "one commit"
    facts = [state, one.visibility, f"licence {one.license or 'not stated'}", numbers.size(one.size)]
    if one.is_new:
        facts.insert(0, "new")
    if one.gated:
        facts.append(f"gated: {one.gated}")
    yield f"{one.where}: {', '.join(facts)}"
    if one.changes:
        rows = [(f"  {file.change}", file.path, numbers.size(file.size)) for file in one.changes]
        yield Table(("  change", "file", "size"), rows).text()


def _collection(collection: steps.release.Collected) -> str:
    """What becomes of a collection."""
    state = f"gets {len(collection.added)} more" if collection.added else "no change"
    state = "new" if collection.is_new else state
    lines = [f"collection {collection.title}: {state}, {collection.where}"]
    return "\n".join([*lines, *(f"  listed  {name}" for name in collection.added)])


def verify(
    what: Annotated[
        str, typer.Argument(help="owner/name@v1.0.0, a folder, or a release recipe for all of it.")
    ],
    at: Annotated[str, typer.Option(help="Where it was published: hub, or the folder.")] = "hub",
    release: Annotated[
        Path | None, typer.Option(help="A release.json that was saved before, to compare with.")
    ] = None,
    sample: Annotated[
        int, typer.Option(min=0, help="How many records of each score are scored again; 0 for none.")
    ] = 32,
    json: Json = False,
) -> None:
    """Verify a published repository, or a whole release.

    Hashes, records, card, licences, links, loading, and a sample of the scores.

    Example: dlm-release verify dialoguellm/instructions@v1.0.0
    """
    found = steps.release.verify_release(what, at, sample=sample, saved=release)
    if json:
        show_json({"repositories": [_verified_data(one) for one in found]})
    else:
        show("\n\n".join(map(verified_text, found)))
    if problems := [problem for one in found for problem in one.problems]:
        raise PublishError(problems, outcome="nothing was changed")
    say(f"{what}: nothing is wrong in what was checked.")


def verified_text(verified: steps.release.Verified) -> str:
    """The checks on a repository as a table."""
    at = f" at {verified.revision} ({verified.commit})" if verified.revision else ""
    return f"{verified.where}{at}\n{check_table('item', verified.checks)}"


def check_table(title: str, checks: Sequence[steps.release.Check]) -> str:
    """Checks as a table: what was checked, its outcome, and a note or why it was not."""
    return Table((title, "verdict", ""), [(one.name, one.outcome, one.note) for one in checks]).text()


def _verified_data(verified: steps.release.Verified) -> dict[str, Any]:
    return {
        "repository": verified.where,
        "revision": verified.revision,
        "commit": verified.commit,
        "checks": [asdict(one) for one in verified.checks],
    }
