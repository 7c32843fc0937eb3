"""`dlm-release publish`: the folders of a release become repositories."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dialoguellm_release.cli.options import Json
from dialoguellm_release.cli.output import say, show, show_json, table

if TYPE_CHECKING:
    from dialoguellm_release.hub.planned import PublishedRepository


def publish(
    recipe: Annotated[str, typer.Argument(help="A bundled release recipe (demo) or a path.")],
    to: Annotated[str, typer.Option(help="A folder; each repository is a git repository below it.")],
    build: Annotated[Path, typer.Option("--from", help="Holds the folders that the recipe names.")] = Path(
        "build"
    ),
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be done; write nothing.")
    ] = False,
    json: Json = False,
) -> None:
    """Publish a release: every repository is committed and read back, and only then tagged.

    What leaves of each corpus is what the dataset recipe says (distribution); where that is more than its
    licences allow, nothing is published.

    Example: dlm-release publish demo --from build --to release
    """
    from dialoguellm_release import steps

    repositories = steps.publish(recipe, build, to, dry_run=dry_run)
    say("Nothing was written (--dry-run)." if dry_run else f"Published to {to}.")
    if json:
        show_json(
            [
                {
                    "repo_type": one.repo_type,
                    "repo_id": one.repo_id,
                    "path": str(one.path),
                    "tag": one.tag,
                    "commit": one.commit,
                    "state": one.state,
                    "changed_files": list(one.changed_files),
                }
                for one in repositories
            ]
        )
    else:
        show(as_text(repositories))


def as_text(repositories: Sequence[PublishedRepository]) -> str:
    """The repositories of a release as a table."""
    rows: list[tuple[str, ...]] = [("repository", "type", "tag", "state", "changed files")]
    rows += [
        (one.repo_id, one.repo_type, one.tag, one.state, str(len(one.changed_files))) for one in repositories
    ]
    return table(rows)
