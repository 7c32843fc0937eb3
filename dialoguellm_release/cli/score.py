"""`dlm-release score`: score adapters, backbones, baselines and predictions, and set scores side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dialoguellm_release.cli import choices, scores
from dialoguellm_release.cli.options import Again, BackbonesFolder, DatasetFolder, Json, Settings
from dialoguellm_release.cli.output import say, say_made, show, show_json

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Score adapters, backbones, baselines and predictions; set scores side by side.",
)


@app.command()
def run(
    recipe: Annotated[
        str,
        typer.Argument(
            help="A bundled score recipe (meld, emorynlp, dailydialog, meisd, iemocap) or a path."
        ),
    ],
    dataset: DatasetFolder = Path("build/dataset"),
    adapter: Annotated[
        Path | None,
        typer.Option(help="Folder that `adapter train` made; without it, --backbone is scored alone."),
    ] = None,
    backbone: Annotated[
        str | None, typer.Option(help="A backbone recipe. [default: the one of the adapter]")
    ] = None,
    baseline: Annotated[
        str | None,
        typer.Option(
            help="Instead of a model: majority, random (its expected value), tfidf or tfidf-context."
        ),
    ] = None,
    predictions: Annotated[
        Path | None,
        typer.Option(help="Instead of a model: a CSV, JSON lines or Parquet file with id and prediction."),
    ] = None,
    served: Annotated[
        str | None,
        typer.Option(help="Instead of a model here: the name of one that the server at --base-url has."),
    ] = None,
    base_url: Annotated[
        str,
        typer.Option(help="With --served: an OpenAI-compatible API, as vLLM and llama.cpp have one."),
    ] = "https://api.openai.com/v1",
    api: Annotated[
        str,
        typer.Option(help="With --served: chat, or completions for a model that is not tuned for chat."),
    ] = "chat",
    key_variable: Annotated[
        str, typer.Option(help="With --served: the environment variable that holds the key.")
    ] = "OPENAI_API_KEY",
    concurrency: Annotated[int, typer.Option(min=1, help="With --served: requests under way at once.")] = 8,
    scorers: Annotated[
        str | None,
        typer.Option(
            help="Several ways of reading the model's answer, with commas, or all: a score folder each."
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="The score folder, or that of several. [default: build/scores/RECIPE-ADAPTER]"),
    ] = None,
    backbones: BackbonesFolder = Path("build/backbones"),
    cache: Annotated[
        Path, typer.Option(help="Keeps what a model says, so that a run that was cut off goes on.")
    ] = Path("build/cache"),
    settings: Settings = None,
    again: Again = False,
    json: Json = False,
) -> None:
    """Score records, with intervals and the protocol.

    A model is scored by the probability of every label, without free generation; --scorers all also
    generates, and says how many points each choice is worth.

    Example: dlm-release score run meld --adapter build/adapters/tiny
             dlm-release score run meld --served my-model --base-url http://127.0.0.1:8000/v1
    """
    from dialoguellm_release.steps import score as steps

    named = {
        "--adapter or --backbone": adapter or backbone,
        "--baseline": baseline,
        "--predictions": predictions,
        "--served": served,
    }
    given = [name for name, value in named.items() if value is not None]
    if len(given) > 1:
        raise typer.BadParameter(f"choose one of {', '.join(given)}")
    if scorers and (baseline or predictions or served):
        raise typer.BadParameter(f"--scorers is for a model that runs here, not for {given[0]}")
    overrides = settings or ()
    if scorers:
        made_by_scorer = steps.score_each_way(
            recipe,
            choices.scorer_names(scorers),
            dataset,
            adapter,
            out,
            backbone=backbone,
            backbones=backbones,
            cache=cache,
            overrides=overrides,
            again=again,
        )
        for one in made_by_scorer.values():
            say_made(one, "scored")
        against_first = scores.against_first(made_by_scorer)
        if json:
            show_json(scores.scorers_summary(made_by_scorer, against_first))
        else:
            show(scores.scorers_text(made_by_scorer, against_first))
        return
    if baseline:
        name = choices.baseline_name(baseline)
        made = steps.score_baseline(recipe, name, dataset, out, overrides=overrides, again=again)
    elif served:
        from dialoguellm_release.scoring.server import ServedModel
        from dialoguellm_release.steps.served import score_served

        model = ServedModel(base_url, served, choices.server_api(api), key_variable, concurrency)
        made = score_served(recipe, model, dataset, out, cache=cache, overrides=overrides, again=again)
    elif predictions:
        made = steps.score_predictions(recipe, predictions, dataset, out, overrides=overrides)
    else:
        made = steps.score(
            recipe,
            dataset,
            adapter,
            out,
            backbone=backbone,
            backbones=backbones,
            cache=cache,
            overrides=overrides,
            again=again,
        )
    say_made(made, "scored")
    if json:
        show_json(scores.summary(made.manifest))
    else:
        show(scores.as_text(made.manifest))


@app.command()
def compare(
    first: Annotated[Path, typer.Argument(help="A score folder.")],
    second: Annotated[Path, typer.Argument(help="Another one, of the same records.")],
    json: Json = False,
) -> None:
    """Compare two runs on the same records: differences with intervals, paired bootstrap and McNemar's test.

    Example: dlm-release score compare build/scores/meld-majority build/scores/meld-tiny
    """
    from dialoguellm_release.steps.compare import compare_scores

    found = compare_scores(first, second)
    if json:
        show_json(scores.comparison_summary(found))
    else:
        show(scores.comparison_text(found, str(first), str(second)))


@app.command()
def table(
    folders: Annotated[list[Path] | None, typer.Argument(help="Score folders.")] = None,
    metric: Annotated[
        str | None, typer.Option(help="The metric to show. [default: the headline of each corpus]")
    ] = None,
    mixed: Annotated[
        bool, typer.Option("--mixed", help="Set unlike protocols in one column all the same, and mark them.")
    ] = False,
    paper: Annotated[
        bool,
        typer.Option("--claims", help="Instead: each claim of the paper, and what manifests say of it."),
    ] = False,
    build: Annotated[
        Path, typer.Option("--from", help="With --claims: the folder whose manifests are looked at.")
    ] = Path("build"),
    paper_table: Annotated[
        str | None, typer.Option(help="With --claims: a table of the paper instead of the claims, 3 or 4.")
    ] = None,
    form: Annotated[
        str, typer.Option("--format", help="With --claims: text, markdown, latex or csv.")
    ] = "text",
    json: Json = False,
) -> None:
    """Set scores side by side: a row a system, its seeds averaged, and a column a corpus.

    Scores whose protocols differ are not set in one column unless --mixed says so. --claims holds what the
    paper says against what was built: each claim is reproduced, contradicted, or not yet testable.

    Example: dlm-release score table build/scores/meld-majority build/scores/meld-tiny
             dlm-release score table --claims --from build --paper-table 3 --format latex
    """
    if paper:
        if folders:
            raise typer.BadParameter("--claims looks at every manifest below --from; name no score folders")
        _claims(build, paper_table, form, json=json)
        return
    if not folders:
        raise typer.BadParameter("name score folders, or --claims")

    from dialoguellm_release.steps.compare import score_table

    found = score_table(folders, choices.metric_name(metric), mixed=mixed)
    if json:
        show_json(scores.table_summary(found))
    else:
        show(scores.table_text(found))


def _claims(build: Path, paper_table: str | None, form: str, *, json: bool) -> None:
    from dialoguellm_release.cli import claims
    from dialoguellm_release.cli.formats import check_format
    from dialoguellm_release.steps.claims import check_claims

    check_format(form)
    report = check_claims(build)
    if paper_table is not None and paper_table not in report.tables:
        raise typer.BadParameter(f"--paper-table: {paper_table} is none of {', '.join(report.tables)}")
    if json:
        show_json(claims.summary(report))
    elif paper_table is not None:
        table = report.tables[paper_table]
        say(f"{table.title}. {table.note}")
        show(claims.table_text(table, form))
    else:
        show(claims.claims_text(report, form))
    say(claims.counts_text(report))
