"""`dlm-release card`: check any card offline, and render the card of a folder again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dialoguellm_release.cli.command import BUILD, BackbonesFolder, Json, group, problem_data, say, show_json

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
    from dialoguellm_release.errors import CardError
    from dialoguellm_release.steps.card import check_cards

    checked = check_cards(paths)
    if json:
        cards = [
            {"path": str(one.path), "is_ours": one.is_ours, "problems": problem_data(one.problems)}
            for one in checked
        ]
        show_json({"cards": cards})
    problems = [problem for one in checked for problem in one.problems]
    if problems:
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
    from dialoguellm_release.steps import card as steps

    card = steps.render_card(folder, dataset=dataset, backbones=backbones, scores=scores or ())
    if card.absent:
        say(f"note: it would tell more with {' and '.join(card.absent)}")
    if out:
        steps.write_card(card, folder, out)
        say(f"{out} is written.")
    if json:
        show_json({"kind": card.kind, "out": str(out) if out else None, "card": card.text})
    elif not out:
        typer.echo(card.text, nl=False)
